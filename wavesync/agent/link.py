"""One mediator as the agent sees it: registered, told the addresses, its UDP mapping kept warm."""

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.registration import Registration, Wait, build_registration
from wavesync.agent.waits import Waits
from wavesync.agent.warm import WarmMapping
from wavesync.identity.credentials import Credentials
from wavesync.interfaces import Address
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.messages import (
    Bind,
    Listen,
    Prover,
    Refusal,
    Registered,
    RegistrationEnded,
    SignallingError,
    registration_key,
)
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, MessageClass
from wavesync.stun.transactions import Answer

__all__ = ["IntroductionTaker", "Link", "Listed"]

Listed = tuple[tuple[Address, ...], tuple[Address, ...]]
"""Where this server accepts: TCP addresses, and own addresses of its UDP port."""

_BUSY = (ErrorCode.QUOTA_REACHED, ErrorCode.SERVER_ERROR, ErrorCode.INSUFFICIENT_CAPACITY)


class IntroductionTaker(Protocol):
    """Who is told what a mediator says of clients."""

    def requested(self, link: "Link", message: Message) -> None:
        """A ``connectionRequested`` indication came."""

    def updated(self, link: "Link", message: Message) -> None:
        """A ``connectionUpdate`` indication came."""


class Link:
    """Keeps this server registered with one mediator; the hands of the registration machine.

    :param clock: gives the time and timers.
    :param mediator: which one.
    :param endpoint: leads to its TCP port.
    :param credentials: the server's.
    :param send_udp: sends a datagram from the port that punches.
    :param addresses: gives the addresses to publish.
    :param taker: is told of clients.
    :param wall_clock: seconds since the epoch.
    :param waits: decides pauses between attempts.
    :param resolve: finds the mediator's addresses, when UDP can be had in both families: the port
        is then shown to the mediator in both.
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
    ) -> None:
        self.mediator = mediator
        self.time_offset = 0.0
        """The mediator's clock minus ours, seconds."""
        self.warm = WarmMapping(clock, send_udp)
        """The UDP side of the registration."""
        self.registered = False
        self._clock = clock
        self._endpoint = endpoint
        self._credentials = credentials
        self._addresses = addresses
        self._taker = taker
        self._wall_clock = wall_clock
        self._waits = waits if waits is not None else Waits()
        self._resolve = resolve
        self._machine: Registration = build_registration(self)
        self._leg: Leg | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._timer: IDelayedCall | None = None
        self._udp_address: Address | None = None
        self._nonce = b""
        self._exchange = X25519PrivateKey.generate()
        self._registration_id = 0
        self._key = b""
        self._sequence = 0
        self._published: Listed | None = None
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

    def refresh(self) -> None:
        """Publish the addresses again if they have changed."""
        if self.registered and self._addresses() != self._published:
            self._bind()

    def echo(self, message: bytes) -> None:
        """Send an indication back over the leg."""
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.write(message)

    # The registration machine's hands.

    def dial(self) -> None:
        """Connect to the mediator's TCP port."""
        factory = Factory.forProtocol(
            lambda: Leg(self._clock, self._leg_connected, self._indication, self._leg_lost)
        )
        factory.noisy = False
        connecting = self._connecting = self._endpoint.connect(factory)
        connecting.addErrback(self._unreachable)

    def hang_up(self) -> None:
        """Close the leg, or stop connecting."""
        self.registered = False
        self.warm.end()
        connecting, self._connecting = self._connecting, None
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.abandon()
        if connecting is not None:
            connecting.cancel()

    def greet(self) -> None:
        """Ask to be challenged."""
        self._exchange = X25519PrivateKey.generate()
        self._listen(None)

    def prove(self) -> None:
        """Answer the challenge."""
        self._listen(self._prover(self._nonce))

    def publish(self) -> None:
        """Registered: tell the addresses and keep everything alive."""
        self.registered = True
        self._waits.reset()
        self._sequence = 0
        self.log.info("registered with {mediator}", mediator=self.mediator)
        self._bind()
        if self._udp_address is not None:
            self.warm.begin(self._udp_address, self._registration_id, self._key)
            if self._resolve is not None:
                self._resolve(self.mediator.host).addCallback(self._resolved, self._udp_address)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _resolved(self, hosts: Sequence[str], known: Address) -> None:
        """Show the UDP port to the mediator in the family that the leg has not."""
        if not self.registered or self._udp_address != known:
            return
        for host in hosts:
            if (":" in host) != (":" in known[0]):
                self.warm.also((host, known[1]))
                return

    def wait(self, why: Wait) -> None:
        """Set the timer for the next attempt."""
        seconds = self._waits.next(why)
        self.log.debug("next attempt in {seconds:.1f} s ({why})", seconds=seconds, why=why.value)
        self._timer = self._clock.callLater(seconds, self._due)

    def stop_waiting(self) -> None:
        """Cancel that timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # What happens to the leg.

    def _due(self) -> None:
        self._machine.due()

    def _leg_connected(self, leg: Leg) -> None:
        self._connecting = None
        self._leg = leg
        peer = leg.transport.getPeer() if leg.transport is not None else None
        host = getattr(peer, "host", None)
        if host is not None and self.mediator.udp_port is not None:
            self._udp_address = (host, self.mediator.udp_port)
        self._machine.connected()

    def _unreachable(self, failure: Failure) -> IProtocol | None:
        self._connecting = None
        if failure.check(CancelledError, ConnectingCancelledError):
            return None
        self.log.warn(
            "cannot reach the mediator {mediator}: {why}",
            mediator=self.mediator,
            why=failure.getErrorMessage(),
        )
        self._machine.lost()
        return None

    def _leg_lost(self, leg: Leg, why: str) -> None:
        """The leg broke, or its mediator behaves so that it is better given up."""
        if leg is self._leg:
            self.log.warn("lost the mediator {mediator}: {why}", mediator=self.mediator, why=why)
            self._machine.lost()  # hangs up

    def _indication(self, message: Message) -> None:
        if message.method == Method.CONNECTION_REQUESTED:
            self._taker.requested(self, message)
        elif message.method == Method.CONNECTION_UPDATE:
            self._taker.updated(self, message)
        elif message.method == Method.LISTEN:
            self._ended(message)

    def _ended(self, message: Message) -> None:
        try:
            ended = RegistrationEnded.decode(message)
        except SignallingError:
            return
        if ended.code == ErrorCode.SUPERSEDED:
            self.log.warn(
                "another agent has registered {server} with {mediator}: are these credentials"
                " installed twice? This agent stays away for some minutes",
                server=self._credentials.target,
                mediator=self.mediator,
            )
            self._machine.superseded()
        else:
            self._machine.lost()

    # Registering.

    def _prover(self, nonce: bytes = b"") -> Prover:
        # Never by the mediator's clock: a lying one would collect proofs dated in the future.
        return Prover(self._credentials, self.mediator.audience, self._wall_clock(), nonce)

    def _listen(self, prover: Prover | None) -> None:
        assert self._leg is not None
        leg = self._leg
        public = self._exchange.public_key().public_bytes_raw()
        request = Listen(self._credentials.target, public).encode(os.urandom(12), prover)
        leg.ask(request).addCallbacks(
            self._listen_answered, self._listen_failed, callbackArgs=(leg,), errbackArgs=(leg,)
        )

    def _listen_failed(self, failure: Failure, leg: Leg) -> None:
        failure.trap(NoAnswer)
        if leg is self._leg:
            self._leg_lost(leg, "it does not answer")

    def _listen_answered(self, answer: Answer, leg: Leg) -> None:
        if leg is not self._leg:
            return
        try:
            if answer.message.message_class is MessageClass.ERROR:
                self._listen_refused(Refusal.decode(answer.message))
                return
            registered = Registered.decode(answer.message)
            key = registration_key(
                self._exchange, registered.exchange_key, registered.registration_id
            )
        except SignallingError as error:
            self._leg_lost(leg, f"it answers nonsense ({error})")
            return
        self._registration_id, self._key = registered.registration_id, key
        self.time_offset = registered.time - self._wall_clock()
        leg.keep_alive(max(1.0, registered.keep_alive))
        self._machine.accepted()

    def _listen_refused(self, refusal: Refusal) -> None:
        if refusal.code in (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE) and refusal.nonce:
            self._nonce = refusal.nonce
            if refusal.time:
                self.time_offset = refusal.time - self._wall_clock()
            self._machine.challenged()
            return
        if refusal.code in _BUSY:
            self.log.warn("the mediator {mediator} is busy", mediator=self.mediator)
            self._machine.lost()
            return
        audience, expected = refusal.audience, self.mediator.audience
        if audience and audience != expected:
            why = f"it calls itself {audience!r}, the credentials name it {expected!r}"
        else:
            why = refusal.reason or f"code {refusal.code}"
        self.log.error(
            "the mediator {mediator} refuses this server: {why}", mediator=self.mediator, why=why
        )
        self._machine.refused()

    # Being findable.

    def _bind(self, nonce: bytes = b"") -> None:
        assert self._leg is not None
        self._published = self._addresses()
        self._sequence += 1
        tcp, udp = self._published
        bind = Bind(self._sequence, tcp, udp)
        asked = self._leg.ask(bind.encode(os.urandom(12), self._prover(nonce)))
        asked.addCallbacks(self._bound, _unanswered, callbackArgs=(self._leg, nonce))

    def _bound(self, answer: Answer, leg: Leg, nonce: bytes) -> None:
        if answer.message.message_class is not MessageClass.ERROR or leg is not self._leg:
            return
        fresh = _nonce_of(answer.message)
        if fresh and not nonce:
            self._bind(fresh)  # the two clocks disagree
            return
        self._published = None  # the next refresh tries again
        self.log.warn("the mediator {mediator} refuses the addresses", mediator=self.mediator)


def _nonce_of(message: Message) -> bytes:
    """The NONCE of an answer that asks for another signature; empty for any other answer."""
    try:
        refusal = Refusal.decode(message)
    except SignallingError:
        return b""
    asked = refusal.code in (ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE)
    return refusal.nonce if asked else b""


def _unanswered(failure: Failure) -> None:
    # The leg notices by itself when its mediator is gone.
    failure.trap(NoAnswer)
