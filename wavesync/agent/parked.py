"""One connection of a server at a relay: asked for, parked, taken by a client (docs/relay)."""

from typing import Any, Protocol

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from wavesync.session.bridge import send_at_once
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.relay_answers import AnswerReader, RelayAnswer
from wavesync.signalling.relay_heads import HeadError
from wavesync.signalling.relay_lines import Idle, Line, LineReader, Move, Open, Ping, Pong, Ready
from wavesync.tunnel.watch import blame, cut_short

__all__ = [
    "ANSWER_TIMEOUT",
    "LINES_AT_ONCE",
    "LINES_A_SECOND",
    "MAX_KEEP_ALIVE",
    "MIN_KEEP_ALIVE",
    "PARTING",
    "SILENT_FOR",
    "LegOwner",
    "ParkedLeg",
]

ANSWER_TIMEOUT = 10.0
"""Seconds from the connection to the relay's answer, TLS included."""

MIN_KEEP_ALIVE, MAX_KEEP_ALIVE = 1.0, 600.0
"""Seconds between PINGs that are believed at least and at most, whatever a relay says."""

SILENT_FOR = 1.9
"""Intervals between PINGs without one, after which the relay is gone: 28.5 s as relays come."""

LINES_A_SECOND, LINES_AT_ONCE = 100.0, 200.0
"""Lines that a relay may say over one connection, on average and at once: each PING is answered, and
a relay that does not read would have the answers pile up."""

PARTING = 5.0
"""Seconds that a relay has to close a connection whose client was turned away."""


class LegOwner(Protocol):
    """Who parks: told of all that happens, in this order and never after ``leg_over``."""

    def leg_request(self, leg: "ParkedLeg") -> bytes:
        """The connection stands: give the request to park, signed now."""

    def leg_parked(self, leg: "ParkedLeg", answer: RelayAnswer, round_trip: float) -> None:
        """The relay took the connection; the round trip is in seconds."""

    def leg_refused(self, leg: "ParkedLeg", answer: RelayAnswer) -> None:
        """The relay did not; the leg is over."""

    def leg_told(self, leg: "ParkedLeg", line: Idle | Move) -> None:
        """The relay says something about all connections."""

    def leg_taken(self, leg: "ParkedLeg", client: Open) -> tuple[IProtocol, IAddress] | None:
        """A client comes: give what speaks with it and its address, or None to turn it away.

        The leg counts no more.
        """

    def leg_over(self, leg: "ParkedLeg", why: str) -> None:
        """The connection ended before a client came, or never stood."""


class _ClientTransport:
    """A leg's transport once a client has taken it: the same, but for who is at its other end."""

    def __init__(self, transport: ITransport, peer: IAddress) -> None:
        self._transport = transport
        self._peer = peer
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def getPeer(self) -> IAddress:
        """Where the client is, on the relay's word (ITransport)."""
        return self._peer


@implementer(IHandshakeListener)
class ParkedLeg(BaseProtocol):
    """Asks to be parked, answers PING, and becomes the path of a client.

    :param clock: gives the time and timers.
    :ivar parked_at: when the relay took it; ``None`` before.
    """

    def __init__(self, clock: IReactorTime, owner: LegOwner) -> None:
        self.parked_at: float | None = None
        self._clock = clock
        self._owner: LegOwner | None = owner
        self._answer = AnswerReader()
        self._lines = LineReader()
        self._client: IProtocol | None = None
        self._asked_at = self._heard_at = 0.0
        self._patience = ANSWER_TIMEOUT
        self._watch: IDelayedCall | None = None
        self._gone = self._told_to_move = False
        self._lines_left, self._lines_at = LINES_AT_ONCE, 0.0

    def connectionMade(self) -> None:
        """Ask (IProtocol)."""
        owner, transport = self._owner, self.transport
        assert transport is not None
        if owner is None:
            self._close()
            return
        send_at_once(transport)
        self._asked_at = self._heard_at = self._clock.seconds()
        self._watch = self._clock.callLater(self._patience, self._look)
        transport.write(owner.leg_request(self))

    def handshakeCompleted(self) -> None:
        """Over TLS the request leaves now: the round trip begins (IHandshakeListener)."""
        self._asked_at = self._clock.seconds()

    def dataReceived(self, data: bytes) -> None:
        """The answer, then lines, then what a client says (IProtocol)."""
        if self._client is not None:
            self._client.dataReceived(data)
            return
        self._heard_at = self._clock.seconds()
        try:
            if self.parked_at is None:
                data = self._take_answer(data)
            if self._owner is not None and self.parked_at is not None:
                for line in self._lines.feed(data):
                    self._take_line(line)
        except (HeadError, SignallingError) as error:
            blame(self.transport, f"something answered that is no relay: {error}")
            self._end(f"it makes no sense: {error}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The relay, or the client behind it, is gone (IProtocol)."""
        self._gone = True
        client, self._client = self._client, None
        if self._owner is not None and self.parked_at is not None and not self._told_to_move:
            cut_short(self.transport)  # it would have waited for a client for as long as it takes
        self._end(_why(reason))
        if client is not None:
            client.connectionLost(reason)

    def abandon(self) -> None:
        """Close it, unless a client has it; the owner hears no more of it."""
        if self._client is None:
            self._owner = None
            self._close()

    def _take_answer(self, data: bytes) -> bytes:
        """Read the relay's answer; what follows it is returned."""
        answer = self._answer.feed(data)
        if answer is None:
            return b""
        owner = self._owner
        if answer.status != 101:
            self._owner = None
            self._close()
            if owner is not None:
                owner.leg_refused(self, answer)
            return b""
        if answer.parking is None:
            raise SignallingError("no word on how many connections are wanted")
        now = self._clock.seconds()
        self.parked_at = now
        every = min(max(answer.parking.keep_alive, MIN_KEEP_ALIVE), MAX_KEEP_ALIVE)
        self._patience = SILENT_FOR * every
        self._restart_watch()
        if owner is not None:
            owner.leg_parked(self, answer, now - self._asked_at)
        return self._answer.rest

    def _take_line(self, line: Line) -> None:
        owner = self._owner
        if owner is None:
            return
        self._count_line(self._heard_at)
        match line:
            case Ping():
                self._write(Pong().encode())
            case Idle() | Move():
                self._told_to_move |= isinstance(line, Move)
                owner.leg_told(self, line)
            case Open():
                self._take_client(owner, line)
            case _:
                raise SignallingError(f"{type(line).__name__} is no word of a relay")

    def _count_line(self, now: float) -> None:
        more = (now - self._lines_at) * LINES_A_SECOND
        self._lines_left = min(LINES_AT_ONCE, self._lines_left + more) - 1.0
        self._lines_at = now
        if self._lines_left < 0:
            raise SignallingError("more lines than a relay has to say")

    def _take_client(self, owner: LegOwner, line: Open) -> None:
        """A client's bytes follow; ours may, too, behind READY."""
        self._stop_watch()
        self._owner = None
        taken = owner.leg_taken(self, line)
        # Whoever is turned away is answered, too: silence would have the relay try the next leg.
        self._write(Ready().encode())
        if taken is None or self.transport is None:
            if self.transport is not None and not self._gone:
                self.transport.loseConnection()
                # Over TLS the relay has to close, too.
                self._watch = self._clock.callLater(PARTING, self._close)
            return
        self._client, peer = taken
        self._client.makeConnection(_ClientTransport(self.transport, peer))  # type: ignore[arg-type]
        if self._lines.rest and self._client is not None:
            self._client.dataReceived(self._lines.rest)
        self._lines.rest = b""

    def _look(self) -> None:
        """See whether anything came lately."""
        left = self._heard_at + self._patience - self._clock.seconds()
        if left > 0:
            self._watch = self._clock.callLater(left, self._look)
        else:
            self._end("it fell silent" if self.parked_at is not None else "no answer came")

    def _restart_watch(self) -> None:
        self._stop_watch()
        self._watch = self._clock.callLater(self._patience, self._look)

    def _stop_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None and watch.active():
            watch.cancel()

    def _end(self, why: str) -> None:
        """It is of no use any more."""
        owner, self._owner = self._owner, None
        self._close()
        if owner is not None:
            owner.leg_over(self, why)

    def _write(self, data: bytes) -> None:
        if self.transport is not None and not self._gone:
            self.transport.write(data)

    def _close(self) -> None:
        self._stop_watch()
        # Twisted's TLS does not bear to be aborted once it is lost.
        if self.transport is not None and not self._gone:
            self.transport.abortConnection()  # type: ignore[attr-defined]


def _why(reason: Failure) -> str:
    """A few words on how a connection ended."""
    if reason.check(VerificationError):
        return "its certificate is for another host"
    if reason.check(TLSError):
        # OpenSSL's queue of errors, each a tuple of texts; other subclasses have other arguments.
        queue: Any = getattr(reason.value, "args", None) or [()]
        details = [str(each[-1]) for each in queue[0]] if isinstance(queue[0], list) else []
        return f"TLS fails: {', '.join(details) or 'it is cut off'}"
    return "the connection was closed"
