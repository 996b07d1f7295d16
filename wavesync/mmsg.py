"""``recvmmsg(2)`` and ``sendmmsg(2)``, which Python does not have: many datagrams by one system call."""

import ctypes
import sys
from typing import Any

__all__ = ["Header", "Message", "Piece", "libc"]


class Piece(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Header(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Message(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = (("header", Header), ("size", ctypes.c_uint))


def _load() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None
    if not (hasattr(library, "recvmmsg") and hasattr(library, "sendmmsg")):
        return None
    arguments: list[Any] = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    library.recvmmsg.argtypes = [*arguments, ctypes.c_void_p]
    library.sendmmsg.argtypes = arguments
    library.recvmmsg.restype = library.sendmmsg.restype = ctypes.c_int
    return library


libc = _load()
"""The C library, if it has both calls and this is Linux; ctypes keeps the error of a call that gave -1."""
