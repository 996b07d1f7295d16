"""Memory of this process."""

import os

__all__ = ["memory"]


def memory() -> int:
    """Bytes of this process in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
