"""Sees what comes of a connection that a way has brought."""

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from wavesync.tunnel.way import RAW, Way

__all__ = [
    "GIVEN_UP_AFTER",
    "SHORT_LIFE",
    "SILENT_AFTER",
    "Observer",
    "Watch",
    "blame",
    "cut_short",
    "way_of",
]

SILENT_AFTER = 5.0
"""Seconds from its first write after which a raw connection that has brought no byte has failed."""

GIVEN_UP_AFTER = 2.0
"""The same where its user has not waited longer: a client has not got five seconds."""

SHORT_LIFE = 90.0
"""Seconds that a connection which is meant to last lasts at least."""


class Observer(Protocol):
    """Is told what comes of a connection."""

    def works(self, watch: "Watch") -> None:
        """Bytes have come back; for a tunnel that was so before it was open."""

    def fails(self, watch: "Watch", why: str) -> None:
        """It brings nothing, or garbage."""

    def opened(self, watch: "Watch") -> None:
        """It stands."""

    def cut(self, watch: "Watch", lasted: float) -> None:
        """Its user says that it was to last, and that something has ended it after so many seconds."""

    def ended(self, watch: "Watch", lasted: float, by_peer: bool) -> None:
        """It is over.

        :param lasted: seconds that it stood.
        :param by_peer: the other end, or something on the way, has ended it, not whoever uses it.
        """


class _Nobody:
    """What :class:`ProtocolWrapper` takes for its factory."""

    def registerProtocol(self, protocol: ProtocolWrapper) -> None:
        """Count it not."""

    def unregisterProtocol(self, protocol: ProtocolWrapper) -> None:
        """Count it not."""


class Watch(ProtocolWrapper):
    """Stands between a connection's transport and its protocol, and is the latter's transport.

    :param clock: gives the time and timers.
    :param way: what has brought the connection.
    :param observer: is told.
    :param took: seconds until it was open.
    """

    def __init__(
        self, clock: IReactorTime, way: Way, wrapped: IProtocol, observer: Observer, took: float
    ) -> None:
        super().__init__(_Nobody(), wrapped)  # type: ignore[arg-type]
        self.way = way
        self.took = took
        self._clock = clock
        self._observer = observer
        self._over = False
        self._heard = self._written = way.method != RAW
        self._ending = False
        self._silence: IDelayedCall | None = None
        self._since = 0.0
        self._lasted: float | None = None

    def makeConnection(self, transport: Any) -> None:
        """It stands (IProtocol)."""
        self._since = self._clock.seconds()
        self._observer.opened(self)
        if self._heard:
            self._observer.works(self)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come (IProtocol)."""
        if not self._heard:
            self._heard = True
            self._stop()
            self._observer.works(self)
        if self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """It is over (IProtocol)."""
        self._stop()
        observer, over, self._over = self._observer, self._over, True
        if not over:
            if not self._heard and not self._ending:
                how = "was closed" if reason.check(ConnectionDone) else "broke off"
                observer.fails(self, f"the connection {how} before a byte had come")
            self._lasted = self._clock.seconds() - self._since
            observer.ended(self, self._lasted, by_peer=not self._ending)
        super().connectionLost(reason)

    def write(self, data: bytes) -> None:
        """Send (ITransport)."""
        if not self._written:
            self._begin()
        self.transport.write(data)  # type: ignore[union-attr]

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces of bytes (ITransport)."""
        if not self._written:
            self._begin()
        self.transport.writeSequence(data)  # type: ignore[union-attr]

    def loseConnection(self) -> None:
        """Close once everything written has left (ITransport)."""
        self._ending = True
        super().loseConnection()

    def abortConnection(self) -> None:
        """Close at once (ITCPTransport)."""
        self._ending = True
        silence = self._silence
        if silence is not None:
            self._stop()
            if silence.getTime() - SILENT_AFTER + GIVEN_UP_AFTER <= self._clock.seconds():
                self._silent()
        self.transport.abortConnection()  # type: ignore[union-attr]

    def blame(self, why: str) -> None:
        """Whoever uses it says that what came is not what the way should bring."""
        self._stop()
        self._heard = self._written = True
        self._observer.fails(self, why)

    def cut_short(self) -> None:
        """Whoever uses it says that it was meant to last, and is over."""
        lasted = self._lasted
        self._observer.cut(self, self._clock.seconds() - self._since if lasted is None else lasted)

    def _begin(self) -> None:
        self._written = True
        if not self._heard and not self._over:
            self._silence = self._clock.callLater(SILENT_AFTER, self._silent)

    def _silent(self) -> None:
        self._silence = None
        self._observer.fails(self, "no byte came back")

    def _stop(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.cancel()


def _watch_of(transport: object) -> Watch | None:
    """The watch that a protocol has for its transport, or that lies below TLS or the like."""
    while transport is not None and not isinstance(transport, Watch):
        transport = vars(transport).get("transport") if hasattr(transport, "__dict__") else None
    return transport


def way_of(transport: object) -> Way | None:
    """Tell which way has brought a connection; None for one that no way has.

    :param transport: the protocol's.
    """
    watch = _watch_of(transport)
    return None if watch is None else watch.way


def blame(transport: object, why: str) -> None:
    """Say that a connection is of no use: garbage came, or it is cut again and again.

    Its way sinks.  Other connections, which no way has brought, are left alone.

    :param transport: the protocol's, also when the connection is over.
    :param why: for people; nothing secret.
    """
    watch = _watch_of(transport)
    if watch is not None:
        watch.blame(why)


def cut_short(transport: object) -> None:
    """Say that a connection was meant to last, and was ended by the other end or something on the way.

    When that comes again and again, after less than :data:`SHORT_LIFE`, its way is avoided.  For users whose
    connections are meant to last only at times; see ``lasting`` for others.

    :param transport: the protocol's, also when the connection is over.
    """
    watch = _watch_of(transport)
    if watch is not None:
        watch.cut_short()
