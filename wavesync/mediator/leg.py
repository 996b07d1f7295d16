"""One connection to the mediator, without its socket: a server's leg, or a client's."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.logger import Logger

from wavesync.identity.verify import Reason
from wavesync.interfaces import Address
from wavesync.mediator.admission import Refused
from wavesync.mediator.channel import Channel
from wavesync.mediator.core import KNOWN_ATTRIBUTES, Mediator
from wavesync.mediator.fetching import Fetching
from wavesync.mediator.registration import ServerLeg, build_server_leg
from wavesync.mediator.registry import Registration, new_registration_id, parked_at
from wavesync.signalling.messages import (
    Bind,
    Bound,
    Listen,
    Refusal,
    Registered,
    RegistrationEnded,
    SignallingError,
    keep_alive_indication,
    registration_key,
)
from wavesync.signalling.numbers import SILENCE_FACTOR, ErrorCode, Method, Purpose
from wavesync.stun.binding import answer_binding
from wavesync.stun.buckets import Bucket
from wavesync.stun.message import BINDING, Message, MessageClass, encode, unknown_required
from wavesync.stun.responses import unknown_attributes_response

__all__ = [
    "IDLE_LIFE",
    "PIECE_COST",
    "PROOF_BURST",
    "PROOF_RATE",
    "SERVER_BURST",
    "SERVER_RATE",
    "UPDATE_COST",
    "Leg",
]

IDLE_LIFE = 30.0
"""Seconds of silence after which a leg that no server is registered on is closed."""

SERVER_RATE = 5.0
"""Messages a second that a registered server may send over its leg on average."""

SERVER_BURST = 50.0
"""Messages that a registered server may send over its leg at once."""

UPDATE_COST = 0.01
"""What a ``connectionUpdate`` that a registered server returns costs of those: clients cause them,
and must not be able to have a server's leg closed."""

PIECE_COST = 0.1
"""What a piece of a revocation list costs of those: the longest list has 86."""

PROOF_RATE = 2.0
"""Proofs a second that are checked for one leg on average; a revocation list counts as up to 33."""

PROOF_BURST = 40.0
"""Proofs that are checked for one leg at once."""

# A registered server returns updates too; over a byte stream nobody waits for them.
_UPDATE = (Method.CONNECTION_UPDATE, MessageClass.INDICATION)
_PUSH = (Method.CRL_PUSH, MessageClass.REQUEST)
_FETCH = (Method.CRL_FETCH, MessageClass.REQUEST)
_COSTS: dict[tuple[int, MessageClass], float] = {
    _UPDATE: UPDATE_COST,
    _PUSH: PIECE_COST,
    _FETCH: PIECE_COST,
}
_FROM_CLIENTS = (
    _UPDATE,
    (Method.CONNECTION_RESULT, MessageClass.INDICATION),
)


class Leg:
    """What came over one connection, and what becomes of it; the hands of its machine.

    :param mediator: what the leg belongs to.
    :param channel: its socket.
    :param source: where it comes from.
    :param now: seconds, as :meth:`.core.Mediator.datagram` has them.
    :param tunnelled: it comes through a tunnel over HTTP: its source is good for counting, and is
        nobody's own address.
    :ivar reliable: true, since a byte stream.
    """

    log = Logger()
    reliable = True

    __slots__ = (
        "_bucket",
        "_challenged_at",
        "_channel",
        "_fetching",
        "_heard",
        "_keep_alive_at",
        "_machine",
        "_mediator",
        "_now",
        "_proofs",
        "_registration",
        "_serial",
        "source",
        "tunnelled",
    )

    def __init__(
        self,
        mediator: Mediator,
        channel: Channel,
        source: Address,
        now: float,
        *,
        tunnelled: bool = False,
    ) -> None:
        self.source = source
        self.tunnelled = tunnelled
        self._mediator = mediator
        self._channel = channel
        self._serial = mediator.next_serial()
        self._heard = self._now = now
        self._keep_alive_at = 0.0
        self._challenged_at = now
        self._registration: Registration | None = None
        self._bucket: Bucket | None = None
        self._proofs = Bucket(PROOF_RATE, PROOF_BURST)
        self._fetching: Fetching | None = None
        self._machine: ServerLeg = build_server_leg(self)

    @property
    def _holder(self) -> str:  # a nonce for listening is good for this connection only
        return f"{self.source[0]} {self.source[1]} {self._serial}"

    def send(self, data: bytes) -> None:
        """Send a message; nothing happens when the leg is closed."""
        self._channel.send(data)

    def receive(self, message: Message, now: float) -> None:
        """Take the next message."""
        self._heard = self._now = now
        kind = message.method, message.message_class
        if not self._within_bucket(_COSTS.get(kind, 1.0), now):
            self._mediator.drop(self.source[0], "too much", now)
            self._machine.silent()
            self._channel.abort()
            return
        if message.method == BINDING:
            answer = answer_binding(message, self.source)
            if answer is not None:
                self.send(answer)
        elif self._not_understood(message):
            pass
        elif kind == (Method.LISTEN, MessageClass.REQUEST):
            self._listen(message)
        elif kind == (Method.BIND, MessageClass.REQUEST):
            self._bind(message)
        elif kind == _PUSH and self._registration is not None:
            self.send(self._mediator.revoking.push(message, self._registration, self._afford_now))
        elif kind == _FETCH:
            self._fetch(message)
        elif kind == (Method.CONNECT, MessageClass.REQUEST):
            self.send(self._mediator.connect(message, self, now))
        elif kind == (Method.OPEN_STREAM, MessageClass.REQUEST):
            self.send(self._mediator.open_stream(message, self, now))
        elif kind in _FROM_CLIENTS and self._registration is None:
            self._mediator.indication(message, self.source[0], now)
        elif message.message_class is MessageClass.REQUEST:
            self.out_of_turn(message)

    def deadline(self) -> float:
        """Return when :meth:`timer` wants to be called next."""
        if self._registration is None:
            return self._heard + IDLE_LIFE
        silent_at = self._heard + SILENCE_FACTOR * self._mediator.settings.keep_alive
        return min(self._keep_alive_at, silent_at)

    def timer(self, now: float) -> None:
        """A time that was asked for has come."""
        self._now = now
        if self._registration is None:
            if now >= self._heard + IDLE_LIFE:
                self._machine.silent()
            return
        interval = self._mediator.settings.keep_alive
        if now >= self._heard + SILENCE_FACTOR * interval:
            self.log.info(
                "{server} has been silent for {seconds} s",
                server=self._registration.server,
                seconds=round(now - self._heard),
            )
            self._machine.silent()
            self._channel.abort()
        elif now >= self._keep_alive_at:
            self._keep_alive_at = now + interval
            self.send(keep_alive_indication(self._mediator.random(12)))
            # Whoever could not be told of the newest list, or could not fetch it, hears again.
            news = self._mediator.revoking.reminder(self._registration)
            if news:
                self.send(news)

    def lost(self) -> None:
        """The connection is gone."""
        self._machine.lost()

    def leave(self) -> None:
        """The mediator is shutting down."""
        self._machine.leaving()

    def supersede(self) -> None:
        """A newer registration took over: say so and close."""
        if self._registration is not None:
            self.log.info(
                "{server} is superseded at {host} by its newer registration",
                server=self._registration.server,
                host=self.source[0],
            )
        self._machine.superseded()

    def expel(self) -> None:
        """The server's certificate was revoked: say so and close."""
        self._machine.revoked()

    def afford(self, now: float, cost: float = 1.0) -> bool:
        """Charge this leg, then its source, for the checking of a signature."""
        sources = self._mediator.stream_proofs
        return self._proofs.allow(now, cost) and sources.allow(self.source[0], now, cost)

    def _afford_now(self, cost: float) -> bool:
        return self.afford(self._now, cost)

    def _within_bucket(self, cost: float, now: float) -> bool:
        """A registered server has a bucket of its own: its neighbours cannot empty it."""
        if self._bucket is not None:
            return self._bucket.allow(now, cost)
        return self._mediator.sources.allow(self.source[0], now)

    def _not_understood(self, message: Message) -> bool:
        """Answer 420 to a request with an attribute that must be understood and is not."""
        unknown = unknown_required(message, KNOWN_ATTRIBUTES)
        if unknown and message.message_class is MessageClass.REQUEST:
            self.send(encode(unknown_attributes_response(message, unknown)))
        return bool(unknown)

    def _fetch(self, message: Message) -> None:
        if self._fetching is None:
            mine = self._mediator
            self._fetching = Fetching(mine.admission, mine.revoking, self.source[0], self.afford)
        try:
            self.send(self._fetching.receive(message, self._registration, self._now))
        except Refused as refused:
            self.refuse(message, refused.refusal)

    def _listen(self, message: Message) -> None:
        if self._registration is not None:
            self.out_of_turn(message)
            return
        admission = self._mediator.admission
        try:
            listen = Listen.decode(message)
            proof = admission.check(
                message, Purpose.LISTEN, self._holder, self._now, nonce=True, afford=self.afford
            )
        except SignallingError:
            self.out_of_turn(message)
            return
        except Refused as refused:
            if refused.refusal.nonce:
                self._challenged_at = self._now
                self._machine.challenge(message, refused.refusal)
            else:
                self._machine.listen_refused(message, refused.refusal)
            return
        problem = None
        if (proof.peer.system, proof.peer.server) != (listen.server.system, listen.server.server):
            problem = Refusal(ErrorCode.FORBIDDEN, "other-server")
        elif not admission.allows(listen.server.system):
            problem = Refusal(ErrorCode.FORBIDDEN, "system-not-allowed")
        elif not self._mediator.registry.has_room(listen.server):
            problem = Refusal(ErrorCode.INSUFFICIENT_CAPACITY)
        elif listen.standby and self._mediator.registry.holds(listen.server):
            problem = Refusal(ErrorCode.SUPERSEDED, "registered")
        if problem is not None:
            self._machine.listen_refused(message, problem)
            return
        exchange = X25519PrivateKey.from_private_bytes(self._mediator.random(32))
        registration_id = new_registration_id(self._mediator.random, self._mediator.registry)
        try:
            key = registration_key(exchange, listen.exchange_key, registration_id)
        except SignallingError:
            self._machine.listen_refused(message, Refusal(ErrorCode.BAD_REQUEST))
            return
        registration = Registration(
            registration_id,
            listen.server,
            key,
            self,
            serial=proof.peer.serial,
            system_key=proof.system_key,
        )
        registration.leg_time.measured(self._now - self._challenged_at)
        public_key = exchange.public_key().public_bytes_raw()
        self._machine.listen_proved(message, registration, public_key)

    def _bind(self, message: Message) -> None:
        registration = self._registration
        if registration is None:
            self.out_of_turn(message)
            return
        try:
            bind = Bind.decode(message, allow_loopback=True)
            proof = self._mediator.admission.check(
                message, Purpose.BIND, self._holder, self._now, afford=self.afford
            )
        except SignallingError:
            self._machine.bind_refused(message, Refusal(ErrorCode.BAD_REQUEST))
            return
        except Refused as refused:
            self._machine.bind_refused(message, refused.refusal)
            return
        if (proof.peer.system, proof.peer.server) != (
            registration.server.system,
            registration.server.server,
        ):
            self._machine.bind_refused(message, Refusal(ErrorCode.FORBIDDEN, "other-server"))
            return
        self._machine.bind_proved(message, bind)

    # The hands of the machine.

    def refuse(self, request: Message, refusal: Refusal) -> None:
        """Answer *request* with an error."""
        self._mediator.statistics.refused[refusal.code] += 1
        self.send(refusal.encode(request.method, request.transaction_id))

    def out_of_turn(self, request: Message) -> None:
        """Answer a *request* that has no place here with 400."""
        self.refuse(request, Refusal(ErrorCode.BAD_REQUEST))

    def register(self, request: Message, registration: Registration, public_key: bytes) -> None:
        """Enter the server into the registry, and answer with its registration."""
        self._mediator.revoking.registered(registration, Listen.decode(request).crl_number)
        mediator, interval = self._mediator, self._mediator.settings.keep_alive
        self._registration = registration
        older = mediator.registry.add(registration)
        self._bucket = Bucket(SERVER_RATE, SERVER_BURST)
        self._keep_alive_at = self._now + interval
        mediator.statistics.registrations += 1
        self.log.info(
            "{server} registered from {host}", server=registration.server, host=self.source[0]
        )
        number = mediator.revoking.lists.number(registration.server.system)
        date = mediator.wall(self._now)
        relays = mediator.introductions.relays
        answer = Registered(registration.id, public_key, interval, date, number, relays)
        self.send(answer.encode(request.transaction_id))
        if older is not None:
            mediator.statistics.superseded += 1
            older.channel.supersede()

    def publish(self, request: Message, bind: Bind) -> None:
        """Keep the server's signed addresses, and answer."""
        registration = self._registration
        if registration is None or bind.sequence <= registration.sequence:
            self.out_of_turn(request)
            return
        registration.sequence = bind.sequence
        registration.signed_addresses = request.raw
        registration.parked = parked_at(tuple(each.relay for each in bind.relays))
        self.send(Bound().encode(request.transaction_id))

    def unregister(self) -> None:
        """Take the server out of the registry."""
        if self._registration is None:
            return
        self._mediator.revoking.forget(self._registration)
        if self._mediator.registry.remove(self._registration):
            self.log.info("{server} is not registered any more", server=self._registration.server)

    def say_superseded(self) -> None:
        """Tell the server that a newer registration of it took over."""
        ended = RegistrationEnded(ErrorCode.SUPERSEDED, "superseded")
        self.send(ended.encode(self._mediator.random(12)))

    def say_revoked(self) -> None:
        """Tell the server that its certificate was revoked."""
        ended = RegistrationEnded(ErrorCode.FORBIDDEN, str(Reason.REVOKED))
        self.send(ended.encode(self._mediator.random(12)))

    def say_leaving(self) -> None:
        """Tell the server that the mediator is shutting down."""
        ended = RegistrationEnded(ErrorCode.SERVER_ERROR, "shutting-down")
        self.send(ended.encode(self._mediator.random(12)))

    def hang_up(self) -> None:
        """Close the leg once everything written has left."""
        self._channel.close()
