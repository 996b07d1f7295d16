"""A timer finer than a millisecond, which is what ``epoll`` and so a reactor's ``callLater`` can tell.

At a gigabit a second eighty packets leave in a millisecond.  To pace them in smaller bursts takes a timer of the kernel
(``timerfd_create(2)``), which is a descriptor that turns readable.  The standard library has it from Python 3.13
on; here it is called through ``ctypes``.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["FineTimer", "fine_timer"]

_CLOCK_MONOTONIC = 1


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: the interval, and the first time; seconds and nanoseconds each."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


def _library() -> Any:
    """Give the C library if it has timers."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    try:
        library.timerfd_create.argtypes = [ctypes.c_int, ctypes.c_int]
        library.timerfd_settime.argtypes = [
            *(ctypes.c_int, ctypes.c_int),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
    except AttributeError:
        return None
    return library


_libc = _library()


def fine_timer(reactor: object, callback: Callable[[], None]) -> "FineTimer | None":
    """Give a timer on *reactor*; ``None`` where there are none, as on a virtual clock."""
    if _libc is None or not IReactorFDSet.providedBy(reactor):
        return None
    descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    return None if descriptor < 0 else FineTimer(reactor, descriptor, callback)


@implementer(IReadDescriptor)
class FineTimer:
    """One timer; made by :func:`fine_timer`.

    :param reactor: watches it.
    :param descriptor: of the kernel's timer; is closed by :meth:`stop`.
    :param callback: called when the time has come, once for each :meth:`set`.
    """

    __slots__ = ("_address", "_callback", "_descriptor", "_reactor", "_spec")

    def __init__(
        self, reactor: IReactorFDSet, descriptor: int, callback: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._callback = callback
        self._spec = _TimerSpec()
        self._address = ctypes.addressof(self._spec)
        reactor.addReader(self)

    def set(self, seconds: float) -> None:
        """Call back in so many seconds, more than 0 and less than 1, and not when was said before."""
        # What is all 0 would switch it off.
        self._spec.nanoseconds = min(max(int(seconds * 1e9), 1), 999_999_999)
        _libc.timerfd_settime(self._descriptor, 0, self._address, None)

    def stop(self) -> None:
        """Call back no more.  Idempotent."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    def doRead(self) -> None:
        """The time has come, unless it was put off since."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        self._callback()

    def fileno(self) -> int:
        """:return: the descriptor, -1 once closed."""
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives it up."""
        self.stop()

    def logPrefix(self) -> str:
        """:return: how log lines of this reader begin."""
        return "UDT"
