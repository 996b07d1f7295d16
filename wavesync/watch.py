"""Descriptors that are watched past Twisted's way from an event to its handler.

That way costs some five microseconds an event, which is more than passing a few bytes on does.  Here
are an epoll of our own and a table of who is told.  The reactor sees one descriptor: the epoll, which
is ready when any of its is.  :meth:`Watch.lead` has the reactor wait the other way round, with its own
epoll as one of ours, so that only what is Twisted's goes Twisted's way.

Where a system has no epoll (or a test no real reactor) there is no watch: use Twisted's.
"""

import functools
import select
from typing import Protocol, cast

from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = [
    "MAX_EVENTS",
    "READS",
    "WRITES",
    "IWatchReactor",
    "Watch",
    "Watched",
    "leading",
    "take_lead",
    "watch_of",
]

READS = 1
"""Tell when there is something to read (EPOLLIN); also what is told."""
WRITES = 4
"""Tell when bytes are taken (EPOLLOUT); also what is told."""

MAX_EVENTS = 256
"""Descriptors that are served in one turn; timers wait so long, and others come in the next."""


class IWatchReactor(IReactorFDSet, IReactorTime):
    """The parts of Twisted's reactor that are used; it has no such name itself."""


class Watched(Protocol):
    """What belongs to a descriptor."""

    def ready(self, events: int) -> None:
        """The descriptor is ready for :data:`READS`, :data:`WRITES`, or has an error to be found.

        It may also be ready for nothing: another descriptor had this number a moment before.
        """

    def fail(self, failure: Failure) -> None:
        """:meth:`ready` raised this, which is our own bug: close."""


@implementer(IReadDescriptor)
class Watch:
    """An epoll.

    :param reactor: whose turns it takes part in.
    :ivar reactor: the same.
    """

    log = Logger()

    def __init__(self, reactor: IWatchReactor) -> None:
        self.reactor = reactor
        self._poll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._inner = -1  # the reactor's epoll, where that is one of ours

    def __len__(self) -> int:
        """Count the descriptors."""
        return len(self._watched)

    def change(self, descriptor: int, watched: Watched, before: int, after: int) -> None:
        """Tell of other events.

        :param before: :data:`READS` and :data:`WRITES`, as they were wanted until now: 0 for neither.
        :param after: likewise, from now on.
        """
        if not before:
            if not self._watched and self._inner < 0:
                self.reactor.addReader(self)
            self._watched[descriptor] = watched
            self._poll.register(descriptor, after)
        elif after:
            self._poll.modify(descriptor, after)
        else:
            self._poll.unregister(descriptor)
            self.forget(descriptor)

    def replace(self, descriptor: int, watched: Watched) -> None:
        """Tell somebody else from now on."""
        self._watched[descriptor] = watched

    def forget(self, descriptor: int) -> None:
        """Tell nobody: the descriptor is being closed, with which the kernel forgets it as well."""
        del self._watched[descriptor]
        if not self._watched and self._inner < 0:
            self.reactor.removeReader(self)

    def lead(self) -> bool:
        """Have the reactor wait here from now on, for a process that is ours alone.

        :return: whether it does: only Twisted's epoll reactor can, before anything is watched.
        """
        inner = getattr(self.reactor, "_poller", None)  # it has no public name
        if not isinstance(inner, select.epoll) or self._watched or self._inner >= 0:
            return False
        self._inner = inner.fileno()
        self._poll.register(self._inner, READS)
        self.reactor.doIteration = self._turn  # type: ignore[attr-defined]
        return True

    def _turn(self, timeout: float | None) -> None:
        """What the reactor does once its timers are seen to.

        :param timeout: seconds to wait at most; None for as long as it takes.
        """
        self._serve(-1 if timeout is None else timeout)

    def _serve(self, timeout: float) -> None:
        watched = self._watched
        for descriptor, events in self._poll.poll(timeout, MAX_EVENTS):
            found = watched.get(descriptor)
            if found is None:
                if descriptor == self._inner:
                    self.reactor.doPoll(0)  # type: ignore[attr-defined]
                continue
            try:
                found.ready(events)
            except Exception:
                failure = Failure()
                self.log.failure("an event was not handled", failure)
                found.fail(failure)

    # What the reactor sees where it does not wait here.

    def doRead(self) -> None:
        """Some are ready (IReadDescriptor)."""
        self._serve(0)

    def fileno(self) -> int:
        """:return: the epoll's descriptor (IFileDescriptor)."""
        return self._poll.fileno()

    def logPrefix(self) -> str:
        """:return: how log lines begin (ILoggingContext)."""
        return "watch"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has no use for it any more (IFileDescriptor)."""


def leading(reactor: object) -> Watch | None:
    """:return: where the reactor waits, if it does not wait as Twisted has it (:meth:`Watch.lead`)."""
    watch = getattr(getattr(reactor, "doIteration", None), "__self__", None)
    return watch if isinstance(watch, Watch) else None


def take_lead(reactor: object) -> None:
    """Have the reactor of a process that is ours alone wait in its watch, if it can."""
    watch = watch_of(reactor)
    if watch is not None:
        watch.lead()


@functools.cache
def watch_of(reactor: object) -> Watch | None:
    """:return: the one watch of a reactor; None where there can be none."""
    if not hasattr(select, "epoll") or not IReactorFDSet.providedBy(reactor):
        return None
    return Watch(cast(IWatchReactor, reactor))
