"""What ties a session core to TLS, a clock and an application's protocol, for both roles.

It takes no decision about the protocol: it hands stimuli to the core and carries out the answers.
"""

from typing import cast

from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.alarm import Alarm
from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.verify import Peer
from wavesync.interfaces import Address
from wavesync.session.bridge import send_at_once
from wavesync.session.core import SessionCore, Side, Timing
from wavesync.session.delivery import Delivery
from wavesync.session.errors import PeerNotTrusted, Refusal, SessionLost, path_lost
from wavesync.session.events import (
    DataReceived,
    EndAcknowledged,
    EndReceived,
    Event,
    Finished,
    Lost,
)
from wavesync.session.liveness import SILENCE
from wavesync.session.path import peer_is_known
from wavesync.session.sealing import Outbox
from wavesync.session.tls import ALPN, Verdict, handshake_error, verdict_of
from wavesync.session.transport import SessionTransport

__all__ = ["CLOSE_PATH_WITHIN", "HANDSHAKE_WITHIN", "TURN_OUT_WITHIN", "SessionShell"]

HANDSHAKE_WITHIN = 10.0
"""Seconds from the path's connection to the end of the TLS handshake."""

CLOSE_PATH_WITHIN = 5.0
"""Seconds that a path has to carry our last bytes and close, before it is aborted."""

TURN_OUT_WITHIN = 1.0
"""The same for the path of a peer whose certificate was revoked."""


@implementer(IHandshakeListener, IPushProducer)
class SessionShell(Protocol):
    """One end of a session; the protocol above a TLS transport.

    :ivar peer: who the other side is, None before authentication.
    :ivar path_kind: what carries the session; set by whoever made the path.
    :ivar path_address: where the path leads to, if that is not where its transport does.
    :ivar path_words: what to call the path when it breaks, if there is more to say of it.
    :ivar congested: the path takes no bytes now.
    """

    transport: TLSMemoryBIOProtocol

    def __init__(self, side: Side, clock: IReactorTime, timing: Timing) -> None:
        self._side = side
        self._clock = clock
        self._timing = timing
        self._core: SessionCore | None = None
        self._alarm = Alarm(clock, self._alarm_came)
        self._outbox = Outbox(clock)
        self._verdict = Verdict()
        self._handshake_by: float | None = None
        self._abort_path_by: float | None = None
        self._refusal: WavesyncError | None = None
        self._lost_error: WavesyncError | None = None
        self._path_lost = self._path_paused = self._turning = self.congested = False
        self._delivery = Delivery(self.error_for)
        self.peer: Peer | None = None
        self.path_kind = self.path_words = ""
        self.path_address: Address | None = None
        self._since = 0.0

    # Hooks of the two roles.

    def authenticated_as(self, peer: Peer) -> None:
        """The handshake is done and the peer's certificate good."""

    def path_ended(self, error: WavesyncError) -> None:
        """The path is gone; called once, at the very end."""

    def happened(self, event: Event) -> None:
        """An event came that is not about the stream."""

    def holds_too_much(self) -> bool:
        """Whether the path is to be paused although the application did not ask for it."""
        return False

    # The path and TLS.

    def connectionMade(self) -> None:
        """The path is there; TLS begins (IProtocol)."""
        self._verdict = verdict_of(self.transport)
        send_at_once(self.transport)
        if self._refusal is not None:
            self.transport.abortConnection()
            return
        self._handshake_by = self._clock.seconds() + HANDSHAKE_WITHIN
        self._arm()

    def handshakeCompleted(self) -> None:
        """TLS is set up (IHandshakeListener)."""
        self._handshake_by = None
        peer = self._verdict.peer
        if peer is None or self.transport.negotiatedProtocol != ALPN:
            # TLS is in the middle of its work: it is ended from the timer.
            self._refusal = PeerNotTrusted("the other side does not speak wavesync", "no-alpn")
            self._abort_path_by = self._clock.seconds()
            self._arm()
            return
        self.peer = peer
        peer_is_known(self.transport.transport)
        self._since = self._clock.seconds()
        self._core = SessionCore(self._side, self._since, self._timing)
        self._outbox.transport = self.transport
        self.transport.registerProducer(self, True)
        self.authenticated_as(peer)
        self._turn()

    def dataReceived(self, data: bytes) -> None:
        """Bytes came out of TLS (IProtocol)."""
        self.view_received(data)

    def view_received(self, data: bytes | memoryview) -> None:
        """Bytes came out of TLS, to be looked at now (wavesync.session.records)."""
        if self._core is not None:
            self._core.receive(data, self._clock.seconds())
            self._turn()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The path is gone (IProtocol)."""
        self._path_lost = True
        self._outbox.drop()
        self._handshake_by = self._abort_path_by = None
        tls_spoken = self._verdict.ended(reason)
        error = self._refusal
        if error is None and self._core is None:
            error = handshake_error(self._verdict, tls_spoken)
        if error is None:
            error = self.why_lost(reason)
        self._lost_error = error
        if self._core is not None:
            self._core.lose(str(error))
            self._turn()
        self._arm()
        self.path_ended(error)

    def why_lost(self, reason: Failure) -> WavesyncError:
        """The error for a path that ended after authentication, before the session did."""
        return path_lost(self.path_words, self._clock.seconds() - self._since, reason)

    def _give_up(self, error: WavesyncError) -> None:
        """End a path that never got to a session."""
        if self._refusal is None:
            self._refusal = error
            if self.transport is not None:
                self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The path takes no bytes now (IPushProducer)."""
        self.congested = True
        if self._core is not None:
            self._core.pause_writing(self._clock.seconds())
        if self._delivery.transport is not None:
            self._delivery.transport.path_full()

    def resumeProducing(self) -> None:
        """The path takes bytes again (IPushProducer)."""
        self.congested = False
        if self._core is not None:
            self._core.resume_writing(self._clock.seconds())
        if self._delivery.transport is not None:
            self._delivery.transport.path_free()
        self._stirred()

    def stopProducing(self) -> None:
        """The path is about to be lost (IPushProducer)."""

    def path_peer(self) -> IAddress:
        """The path's other end."""
        return cast(IAddress, self.transport.getPeer())

    def path_host(self) -> IAddress:
        """The path's own end."""
        return cast(IAddress, self.transport.getHost())

    # What the application's transport asks for.

    def attach(self, app: IProtocol) -> None:
        """Connect the application's protocol; its first bytes go out with what is queued."""
        self._delivery.attach(app, SessionTransport(self, self._clock))

    @property
    def app_gone(self) -> bool:
        """The application's protocol has had its ``connectionLost``."""
        return self._delivery.gone

    def write(self, data: bytes) -> None:
        """Send the application's bytes."""
        if self._core is not None and not self.app_gone:
            self._core.write(data, self._clock.seconds())
            if not self._path_lost:
                self._outbox.put(self._core.pieces_to_send())
            if not self._turning:
                self._outbox.settle()

    def end(self) -> None:
        """End our direction."""
        if self._core is not None:
            self._core.end(self._clock.seconds())
            self._stirred()

    def close(self) -> None:
        """End the session in order, reading nothing any more."""
        if self._core is None:
            self._give_up(ConnectFailed("the connection was closed before it was set up"))
            return
        if self._core.service is None:
            self._core.reset(Refusal.CLOSED, "nothing was opened", self._clock.seconds())
        else:
            self._core.close(self._clock.seconds())
        self._delivery.drop_held()
        self._stirred()

    def abort(self, why: str = "the application gave up", code: int = Refusal.CLOSED) -> None:
        """End the session at once; the peer is told *why*, with a code of :class:`Refusal`."""
        if self._core is None:
            self._give_up(ConnectFailed("the connection was given up before it was set up"))
            return
        self._core.reset(code, why, self._clock.seconds())
        self._delivery.abort()
        self._stirred()

    def turn_out(self, sentence: str) -> None:
        """End the session at once because a certificate was revoked; both sides are told *sentence*.

        Nothing more is delivered, and the path is gone within :data:`TURN_OUT_WITHIN`, whatever the
        peer takes.
        """
        if self._core is None:
            self._give_up(NotAllowed(sentence))
            return
        self._core.fail(Refusal.NOT_ALLOWED, sentence, self._clock.seconds())
        self._stirred()
        by = self._clock.seconds() + TURN_OUT_WITHIN
        if self._abort_path_by is not None and self._abort_path_by > by:
            self._abort_path_by = by
            self._arm()

    def guard(self, on: bool) -> None:
        """Leave silence to a control session, or not any more (session.guard.Guarded)."""
        if self._core is not None:
            self._core.liveness.guard(on)
            self._arm()

    def watch(self, on: bool) -> None:
        """As a control session, look closely, or not any more."""
        if self._core is not None:
            self._core.liveness.watch(on)
            self._arm()

    def fell_silent(self) -> None:
        """The control session beside this one has found the path dead."""
        if self._core is not None:
            self._core.fail(Refusal.TIMEOUT, SILENCE, self._clock.seconds())
            self._turn()

    def pause_app(self) -> None:
        """Deliver nothing for a while."""
        self._delivery.paused = True
        self._stirred()

    def resume_app(self) -> None:
        """Deliver again."""
        self._delivery.paused = False
        self._stirred()

    # The turn after each stimulus.

    def _turn(self) -> None:
        """Carry out everything the core wants now."""
        if self._turning:
            return
        self._turning = True
        try:
            self._exchange()
            while self._delivery.ready:
                self._delivery.tell()
                self._exchange()
        finally:
            self._turning = False
        self._outbox.flush()
        self._settle()

    def _stirred(self) -> None:
        """After a call by the application: send, but call it back only from a later turn."""
        if not self._turning:
            self._turning = True
            try:
                self._exchange()
            finally:
                self._turning = False
            self._outbox.settle()
            self._settle()

    def _exchange(self) -> None:
        """Write what is to be sent, and sort what happened."""
        core = self._core
        while core is not None and core.stirs:
            pieces = core.pieces_to_send()
            if pieces and not self._path_lost:
                self._outbox.put(pieces)
            for event in core.events():
                match event:
                    case DataReceived() | EndReceived() | Finished():
                        self._delivery.put(event)
                    case Lost():
                        self._delivery.put(event)
                        self.happened(event)
                    case EndAcknowledged():
                        self._delivery.end_acknowledged()
                    case _:
                        self.happened(event)

    def error_for(self, lost: Lost) -> WavesyncError:
        """What the application is told when a session did not end in order."""
        if self._lost_error is not None and lost.sentence == str(self._lost_error):
            return self._lost_error
        return SessionLost(lost.sentence, lost.code)

    def _settle(self) -> None:
        """Bring the path and the timer in line with what the turn came to."""
        core = self._core
        if core is not None and not self._path_lost:
            if core.over:
                self._close_path()
            else:
                self._pause_path(
                    core.takes_more and (self._delivery.paused or self.holds_too_much())
                )
        self._arm()

    def _pause_path(self, wanted: bool) -> None:
        core = self._core
        if core is None or wanted is self._path_paused:
            return
        self._path_paused = wanted
        if wanted:
            core.pause_reading(self._clock.seconds())
            self.transport.pauseProducing()
        else:
            core.resume_reading(self._clock.seconds())
            self.transport.resumeProducing()

    def _close_path(self) -> None:
        if self._path_lost or self._abort_path_by is not None:
            return
        self._pause_path(False)
        self._outbox.flush()
        self._abort_path_by = self._clock.seconds() + CLOSE_PATH_WITHIN
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._arm()

    def _arm(self) -> None:
        """Have the one timer run at the earliest time anything is due."""
        earliest = None
        if self._delivery.ready:
            earliest = self._clock.seconds()
        elif self._core is not None and not self._path_lost:
            earliest = self._core.deadline()
        for due in (self._handshake_by, self._abort_path_by):
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        self._alarm.set(earliest)

    def _alarm_came(self) -> None:
        now = self._clock.seconds()
        if self._handshake_by is not None and now >= self._handshake_by:
            self._handshake_by = None
            self._give_up(ConnectFailed("the TLS handshake was not done in time"))
        elif self._abort_path_by is not None and now >= self._abort_path_by:
            self._abort_path_by = None
            self.transport.abortConnection()
        if self._core is not None and not self._path_lost:
            self._core.timer(now)
        self._turn()
