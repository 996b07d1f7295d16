"""One small question at a time to a router over UDP, asked again until it is answered."""

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wavesync.interfaces import Address
from wavesync.portmap.sockets import Datagrams, Received
from wavesync.portmap.words import PortMapError, Reason

__all__ = ["WAITS", "Asker", "OpenLink"]

WAITS = (0.25, 0.5, 1.0, 2.0)
"""Seconds after each sending until the next; after the last there is no answer (RFC 6886 section 3.1,
which would go on for a minute: a router is near, and who is silent now is asked again later)."""

OpenLink: TypeAlias = Callable[[Received, Callable[[], None]], Datagrams]
"""Opens a way to the router; raises :class:`PortMapError` where there is none."""

T = TypeVar("T")


class Asker:
    """Asks one router.

    :param clock: gives timers.
    :param open_link: opens the way there (:func:`wavesync.portmap.sockets.link_to`).
    :param who: the router, for sentences.
    """

    def __init__(self, clock: IReactorTime, open_link: OpenLink, who: str) -> None:
        self._clock = clock
        self._open_link = open_link
        self._who = who
        self._asked: set[_Question[object]] = set()

    def ask(self, request: bytes, read: Callable[[bytes], T | None]) -> Deferred[T]:
        """Ask.

        :param read: makes the answer of a datagram, or None of one that answers something else;
            raises :class:`PortMapError` to end the asking.
        :returns: fires with the answer, or fails with :class:`PortMapError`.
        """
        question: _Question[T] = _Question(self._clock, request, read, self._who)
        self._asked.add(question)  # type: ignore[arg-type]
        question.done.addBoth(self._over, question)
        try:
            question.begin(self._open_link)
        except PortMapError as error:
            question.fail(error)
        return question.done

    def close(self) -> None:
        """Ask nothing more: whoever waits is told so."""
        for question in list(self._asked):
            question.fail(PortMapError(Reason.NO_ANSWER, "nobody waits for the answer any more"))

    def _over(self, result: T, question: "_Question[T]") -> T:
        self._asked.discard(question)
        return result


class _Question(Generic[T]):
    """One question on its way."""

    def __init__(
        self,
        clock: IReactorTime,
        request: bytes,
        read: Callable[[bytes], T | None],
        who: str,
    ) -> None:
        self.done: Deferred[T] = Deferred(lambda _: self._end())
        self._clock = clock
        self._request = request
        self._read = read
        self._who = who
        self._sent = 0
        self._link: Datagrams | None = None
        self._timer: IDelayedCall | None = None
        self._ended = False

    def begin(self, open_link: OpenLink) -> None:
        self._link = open_link(self._received, self._refused)
        self._send()

    def fail(self, error: PortMapError) -> None:
        if not self._ended:
            self._end()
            self.done.errback(error)

    def _send(self) -> None:
        self._timer = None
        if self._sent == len(WAITS):
            self.fail(PortMapError(Reason.NO_ANSWER, f"{self._who} does not answer"))
            return
        self._timer = self._clock.callLater(WAITS[self._sent], self._send)
        self._sent += 1
        assert self._link is not None, "it was opened"
        self._link.send(self._request)

    def _received(self, data: bytes, source: Address) -> None:
        if self._ended:
            return
        try:
            answer = self._read(data)
        except PortMapError as error:
            self.fail(error)
            return
        if answer is not None:
            self._end()
            self.done.callback(answer)

    def _refused(self) -> None:
        self.fail(PortMapError(Reason.NO_ANSWER, f"{self._who} does not map ports"))

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link is not None:
            self._link.close()
