"""One mediator as the agent sees it: registered, told the addresses, its UDP mapping kept warm."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.change_over import ChangeOver
from wavesync.agent.doubt import Doubt
from wavesync.agent.enrolment import Enrolment, Granted
from wavesync.agent.publishing import Listed, Publishing
from wavesync.agent.registration import Registration, Wait, build_registration
from wavesync.agent.revoking import CrlExchange
from wavesync.agent.takers import IntroductionTaker, RelayTaker, StreamTaker
from wavesync.agent.troubles import Troubles
from wavesync.agent.udp_side import UdpSide
from wavesync.agent.waits import Waits
from wavesync.agent.warm import WarmMapping
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations
from wavesync.identity.verify import Reason
from wavesync.interfaces import Address
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import Prover, Refusal, RegistrationEnded, SignallingError
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message
from wavesync.stun.pace import Pace
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.way import Way

__all__ = ["STEADY", "Link", "Listed"]

STEADY = 10.0
"""Seconds after which a registration has worked: the next one is tried for at once again."""

_BUSY = (ErrorCode.QUOTA_REACHED, ErrorCode.SERVER_ERROR, ErrorCode.INSUFFICIENT_CAPACITY)


class Link:
    """Keeps this server registered with one mediator; the hands of the registration machine.

    :param clock: gives the time and timers.
    :param mediator: which one.
    :param endpoint: leads there, by whatever way.
    :param credentials: the server's.
    :param send_udp: sends a datagram from the port that punches.
    :param addresses: gives the addresses to publish.
    :param taker: is told of clients.
    :param wall_clock: seconds since the epoch.
    :param waits: decides pauses between attempts.
    :param resolve: finds the mediator's addresses, when UDP is to be shown to it in both families.
    :param locate: finds them where a proxy hides them.
    :param streams: is told of clients that dial over TCP the port that the leg comes from.
    :param pace: how often the UDP mapping is used; carefully when None.
    :param revocations: what this agent knows of revoked certificates; nothing when None.
    :param relays: is told of the mediator's relays, and knows where this server has parked.
    :param network: gives what is known of this server's network.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        mediator: Mediator,
        endpoint: IStreamClientEndpoint,
        credentials: Credentials,
        send_udp: Callable[[bytes, Address], None],
        addresses: Callable[[], Listed],
        taker: IntroductionTaker,
        *,
        wall_clock: Callable[[], float],
        waits: Waits | None = None,
        resolve: Callable[[str], Deferred[Sequence[str]]] | None = None,
        locate: Callable[[str], Deferred[Sequence[str]]] | None = None,
        streams: StreamTaker | None = None,
        pace: Pace | None = None,
        revocations: Revocations | None = None,
        relays: RelayTaker | None = None,
        network: Callable[[], NetworkSummary | None] = lambda: None,
    ) -> None:
        self.mediator = mediator
        self.warm = WarmMapping(clock, send_udp, pace if pace is not None else Pace(), self.doubt)
        """The UDP side of the registration."""
        self.registered = False
        self._clock = clock
        self._endpoint, self._credentials = endpoint, credentials
        self._addresses, self._taker = addresses, taker
        self._wall_clock = wall_clock
        self._waits = waits if waits is not None else Waits()
        self._udp = UdpSide(mediator, self.warm, resolve, locate)
        self._streams, self._relays = streams, relays
        if relays is not None:
            self.warm.on_moved = relays.doubt
        self._machine: Registration = build_registration(self)
        self._leg: Leg | None = None
        self._other_leg: Leg | None = None
        self._doubt: Doubt | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._change = ChangeOver(self._make_leg, self._better)
        self._timer: IDelayedCall | None = None
        self._dialled_at = self._registered_at = 0.0
        self._mediator_ahead: float | None = None  # of our reactor's clock
        self._standby = False  # superseded, and not registered again yet
        self._troubles = Troubles(self.log, mediator=mediator, server=credentials.target)
        self._complain = self._troubles.complain
        self._enrolment: Enrolment | None = None
        self._granted: Granted | None = None
        self._publishing: Publishing | None = None
        self._crls: CrlExchange | None = None
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self._revocations = revocations
        self._network = network
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Register, and stay registered from now on."""
        self._machine.start()

    def stop(self) -> None:
        """Leave the mediator."""
        self._machine.stop()

    def when_registered(self) -> Deferred[None]:
        """Fires once this server is registered; at once when it is."""
        waiting: Deferred[None] = Deferred()
        if self.registered:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    @property
    def time_offset(self) -> float:
        """The mediator's clock minus ours, seconds; whoever sets our clock changes it."""
        if self._mediator_ahead is None:
            return 0.0
        return self._clock.seconds() + self._mediator_ahead - self._wall_clock()

    def refresh(self) -> None:
        """Publish the addresses again if they have changed."""
        if self._publishing is not None:
            self._publishing.refresh()

    @property
    def ends(self) -> tuple[Address, Address] | None:
        """The leg's own address and the mediator's; ``None`` without a leg."""
        return self._leg.ends if self._leg is not None else None

    def better(self, way: Way) -> None:
        """A better way than the leg's works: go over to it."""
        if self.registered and isinstance(self._endpoint, AnyWayEndpoint):
            self._change.begin(self._endpoint, way)

    def doubt(self) -> None:
        """Something may have happened to the network: see whether the leg is still good."""
        if self._doubt is not None:
            self._doubt.begin()

    def revocations_changed(self) -> None:
        """Pass a newer revocation list on."""
        if self._crls is not None:
            self._crls.sync()

    def echo(self, message: bytes) -> None:
        """Send an indication back over the leg."""
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.write(message)

    # The registration machine's hands.

    def dial(self) -> None:
        """Connect to the mediator's TCP port."""
        self._dialled_at = self._clock.seconds()
        factory = Factory.forProtocol(lambda: self._make_leg(self._leg_connected, self._leg_lost))
        factory.noisy = False
        connecting = self._connecting = self._endpoint.connect(factory)
        connecting.addErrback(self._unreachable)

    def hang_up(self) -> None:
        """Close the leg, or stop connecting."""
        if self.registered and self._clock.seconds() >= self._registered_at + STEADY:
            self._waits.reset()
        self.registered = False
        self._udp.end()
        for ending in (self._publishing, self._enrolment, self._crls, self._doubt):
            if ending is not None:
                ending.end()
        self._publishing = self._enrolment = self._crls = self._doubt = None
        connecting, self._connecting = self._connecting, None
        leg, self._leg = self._leg, None
        if leg is None or not self._change.keeps(leg):
            self._change.end()
            if leg is not None:
                leg.abandon()
        if connecting is not None:
            connecting.cancel()

    def change_legs(self) -> None:
        """Go on over the leg that was made beside the one that does not answer, or costs more."""
        self.log.info(
            "registering anew over another connection to {mediator}", mediator=self.mediator
        )
        leg, self._other_leg = self._other_leg, None
        assert leg is not None
        self._leg = leg

    def greet(self) -> None:
        """Ask to be challenged."""
        assert self._leg is not None
        self._enrolment = Enrolment(
            self._credentials.target,
            self._leg,
            self._prover,
            self,
            standby=self._standby,
            crl_number=self._revocations.number,
        )
        self._enrolment.greet()

    def prove(self) -> None:
        """Answer the challenge."""
        assert self._enrolment is not None
        self._enrolment.prove()

    def publish(self) -> None:
        """Registered: tell the addresses and keep everything alive."""
        self.registered = True
        self._registered_at = self._clock.seconds()
        self._troubles.clear()
        self._change.end()
        self._standby = False
        assert self._leg is not None and self._granted is not None
        self.log.info("registered with {mediator}", mediator=self.mediator)
        self._publishing = Publishing(
            self.mediator, self._leg, self._prover, self._addresses, self._relays, self._network
        )
        self._publishing.refresh()
        self._crls = CrlExchange(
            self.mediator, self._leg, self._revocations, self._granted.crl_number
        )
        self._crls.sync()
        self._doubt = Doubt(self._clock, self._endpoint, self._leg, self._make_leg, self._better)
        self._udp.begin(self._leg, self._granted)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def wait(self, why: Wait) -> None:
        """Set the timer for the next attempt."""
        seconds = self._waits.next(why, self._clock.seconds() - self._dialled_at)
        self.log.debug("next attempt in {seconds:.1f} s ({why})", seconds=seconds, why=why.value)
        self._timer = self._clock.callLater(seconds, self._machine.due)

    def stop_waiting(self) -> None:
        """Cancel that timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # What happens to the leg.

    def _make_leg(self, connected: Callable[[Leg], None], lost: Callable[[Leg, str], None]) -> Leg:
        def indication(message: Message) -> None:
            # What is under way over the leg before counts, but for the word that it is superseded.
            if leg is self._leg or (leg is self._change.old and message.method != Method.LISTEN):
                self._indication(message)

        def gone(leg: Leg, why: str) -> None:
            (self._leg_lost if leg is self._leg else lost)(leg, why)

        leg = Leg(self._clock, connected, indication, gone)
        return leg

    def _better(self, leg: Leg) -> None:
        self._other_leg = leg
        if self._relays is not None:
            self._relays.doubt()
        self._machine.replaced()

    def _leg_connected(self, leg: Leg) -> None:
        self._connecting = None
        self._leg = leg
        self._machine.connected()

    def _unreachable(self, failure: Failure) -> IProtocol | None:
        self._connecting = None
        if failure.check(CancelledError, ConnectingCancelledError):
            return None
        self._complain("cannot reach the mediator {mediator}: {why}", failure.getErrorMessage())
        self._machine.lost()
        return None

    def _leg_lost(self, leg: Leg, why: str) -> None:
        """The leg broke, or its mediator behaves so that it is better given up."""
        if leg is self._leg:
            if not self.registered and isinstance(self._endpoint, AnyWayEndpoint):
                why = "; ".join(filter(None, (why, self._endpoint.ailments())))
            self._complain("lost the mediator {mediator}: {why}", why)
            if leg.closed_by_mediator:
                self._machine.dismissed()
            else:
                self._machine.lost()

    def _indication(self, message: Message) -> None:
        if message.method == Method.CONNECTION_REQUESTED:
            self._taker.requested(self, message)
        elif message.method == Method.CONNECTION_UPDATE:
            self._taker.updated(self, message)
        elif message.method == Method.CRL_PUSH:
            if self._crls is not None:
                self._crls.told(message)
        elif message.method == Method.LISTEN:
            self._ended(message)
        elif message.method == Method.STREAM_REQUESTED and self._streams is not None:
            self._streams.requested(self, message)

    def _ended(self, message: Message) -> None:
        try:
            ended = RegistrationEnded.decode(message)
        except SignallingError:
            return
        if ended.code == ErrorCode.SUPERSEDED:
            self._superseded()
        elif ended.code == ErrorCode.FORBIDDEN:
            self._refused(ended.reason)
        else:
            self._complain("the mediator {mediator} says good-bye: {why}", ended.reason)
            self._machine.dismissed()

    def _superseded(self) -> None:
        """Another agent has the registration.

        It cannot be this one: there is never more than one leg that is listened to.
        """
        self._complain(
            "another agent has registered {server} with {mediator}: are these credentials"
            " installed twice? This agent stays away for some minutes, and longer while the other"
            " one is there"
        )
        self._standby = True
        self._machine.superseded()

    # What the mediator says to ``listen``.

    def enrolment_challenged(self) -> None:
        """It wants a proof over a nonce."""
        self._machine.challenged()

    def enrolment_granted(self, granted: Granted) -> None:
        """This server is registered."""
        assert self._leg is not None
        self._granted = granted
        self._mediator_ahead = granted.time - self._clock.seconds()
        self._leg.keep_alive(max(1.0, granted.keep_alive))
        if self._relays is not None:
            self._relays.told(self.mediator, granted.relays)
        self._machine.accepted()

    def enrolment_failed(self, why: str) -> None:
        """It does not answer, or answers nonsense."""
        self._complain("lost the mediator {mediator}: {why}", why)
        self._machine.lost()  # hangs up

    def enrolment_refused(self, refusal: Refusal) -> None:
        """It does not register this server."""
        if refusal.code == ErrorCode.SUPERSEDED and self._standby:
            self._superseded()
            return
        if refusal.code in _BUSY:
            self._complain("the mediator {mediator} is busy")
            self._machine.lost()
            return
        audience, expected = refusal.audience, self.mediator.audience
        if audience and audience != expected:
            why = f"it calls itself {audience!r}, the credentials name it {expected!r}"
        else:
            why = refusal.reason or f"code {refusal.code}"
        self._refused(why)

    def _refused(self, why: str) -> None:
        """Nothing but a person can change it."""
        if why == Reason.REVOKED:
            why = "its certificate was revoked"
        self.log.error(
            "the mediator {mediator} refuses this server: {why}", mediator=self.mediator, why=why
        )
        self._machine.refused()

    def _prover(self, nonce: bytes = b"") -> Prover:
        # Never by the mediator's clock: a lying one would collect proofs dated in the future.
        return Prover(self._credentials, self.mediator.audience, self._wall_clock(), nonce)
