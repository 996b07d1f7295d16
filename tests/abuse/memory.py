"""Memory of this process."""

import ctypes
import os

__all__ = ["memory"]

# glibc's; elsewhere allocators give back by themselves, or not at all.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def memory() -> int:
    """Bytes of this process in RAM.

    What was freed is given back first: else large buffers that lie below a small one which is still
    in use count as held, by the chance of what was allocated between them.
    """
    if _trim is not None:
        _trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
