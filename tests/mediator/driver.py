"""A mediator without sockets, and servers and clients that speak to it with real proofs."""

import random
from collections.abc import Callable
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.mediator.keeping import KeptLists
from wavesync.mediator.leg import Leg
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling.messages import (
    Bind,
    Connect,
    ConnectAnswer,
    ConnectionAck,
    ConnectionRequested,
    ConnectionUpdate,
    Listen,
    Refusal,
    Registered,
    WarmUp,
    registration_key,
)
from wavesync.signalling.numbers import Method
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.stun.message import Message, MessageClass, decode

__all__ = [
    "CLIENT_UDP",
    "CONNECTION",
    "SERVER_UDP",
    "Client",
    "MemoryChannel",
    "MemoryPort",
    "Server",
    "World",
]

SERVER_UDP: Address = ("198.51.100.1", 4100)
CLIENT_UDP: Address = ("203.0.113.1", 5100)
CONNECTION = "c0" * 16

T = TypeVar("T")


class MemoryChannel:
    """The socket of a leg: keeps what is sent.

    :ivar sent: the messages, decoded.
    :ivar closed: ``close`` was called.
    :ivar aborted: ``abort`` was called.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.closed = False
        self.aborted = False

    def send(self, data: bytes) -> None:
        """Keep a message."""
        if not self.closed:
            self.sent.append(decode(data))

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Note it."""
        self.aborted = True

    def take(self, method: int, message_class: MessageClass) -> list[Message]:
        """Return, and forget, the messages of one kind."""
        kind = method, message_class
        found = [m for m in self.sent if (m.method, m.message_class) == kind]
        self.sent = [m for m in self.sent if (m.method, m.message_class) != kind]
        return found


class MemoryPort:
    """A UDP port of the mediator: keeps what is sent without being an answer."""

    def __init__(self) -> None:
        self.sent: list[tuple[Message, Address]] = []

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Keep a datagram."""
        self.sent.append((decode(data), address))

    def updates(self) -> list[tuple[ConnectionUpdate, Address]]:
        """Return, and forget, what was sent."""
        sent, self.sent = self.sent, []
        return [(ConnectionUpdate.decode(message), address) for message, address in sent]


class World:
    """One mediator at a moment of its own.

    :ivar now: seconds since the epoch; move it with :meth:`advance`.
    :ivar set_by: seconds by which somebody has set the clock of the mediator's host.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        systems: str | tuple[str, ...] = "any",
        relays: tuple[str, ...] = (),
        seed: int = 1,
        kept: KeptLists | None = None,
        started: float = 0.0,
    ) -> None:
        self.now = NOW
        self.set_by = 0.0
        self.port = MemoryPort()
        self._random = random.Random(seed)
        settings = MediatorSettings(
            name=AUDIENCE,
            systems=systems,
            relays=relays,
            limits=limits if limits is not None else Limits(),
        )
        self.mediator = Mediator(
            settings,
            self._random.randbytes,
            wall=lambda now: now + self.set_by,
            kept=kept,
            started=started,
        )

    def random(self, size: int) -> bytes:
        """Return random bytes, the same in every run."""
        return self._random.randbytes(size)

    def advance(self, seconds: float) -> None:
        """Let time pass, with every timer of the core at its moment."""
        end = self.now + seconds
        while (at := self.mediator.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.mediator.timer(self.now)
        self.now = end

    def datagram(self, data: bytes, source: Address) -> Message | None:
        """Send a datagram to the mediator and return its answer, checking the rule of sizes."""
        answer = self.mediator.datagram(data, source, self.port, self.now)
        if answer is None:
            return None
        assert data[:2] == b"\0\1" or len(answer) <= len(data), "an answer outgrew its request"
        return decode(answer)

    def leg(
        self, source: Address = ("198.51.100.1", 33000), *, tunnelled: bool = False
    ) -> tuple[Leg, MemoryChannel]:
        """Connect over TCP, or through a tunnel over HTTP."""
        channel = MemoryChannel()
        return Leg(self.mediator, channel, source, self.now, tunnelled=tunnelled), channel


class Server:
    """One server and its leg.

    :ivar channel: the leg's socket.
    :ivar registered: the answer to ``listen``.
    :ivar key: the key of the registration.
    """

    def __init__(
        self,
        world: World,
        credentials: Credentials | None = None,
        *,
        source: Address = ("198.51.100.1", 33000),
        clock_error: float = 0.0,
        crl_number: int = 0,
    ) -> None:
        self.world = world
        self._crl_number = crl_number
        self.credentials = credentials if credentials is not None else server()
        self.leg, self.channel = world.leg(source)
        self._clock_error = clock_error
        self._exchange = X25519PrivateKey.from_private_bytes(world.random(32))
        self._sequence = 0
        self.registered: Registered | None = None
        self.key = b""

    @property
    def target(self) -> Target:
        """The server's name."""
        return self.credentials.target

    def say(self, data: bytes) -> Message:
        """Send a request over the leg and return the answer."""
        request = decode(data)
        self.leg.receive(request, self.world.now)
        for message in self.channel.sent:
            if message.transaction_id == request.transaction_id:
                self.channel.sent.remove(message)
                return message
        raise AssertionError("no answer")

    def proving(self, nonce: bytes = b"") -> Callable[[str, bytes], bytes]:
        """Return what signs this server's messages by its own clock."""
        return prover(self.credentials, now=self.world.now + self._clock_error, nonce=nonce)

    def listen(
        self,
        nonce: bytes | None = None,
        *,
        as_server: Target | None = None,
        standby: bool = False,
    ) -> Message:
        """Send ``listen`` and return the answer."""
        target = as_server if as_server is not None else self.target
        public = self._exchange.public_key().public_bytes_raw()
        listen = Listen(target, public, standby=standby, crl_number=self._crl_number)
        tid = self.world.random(12)
        return self.say(listen.encode(tid, None if nonce is None else self.proving(nonce)))

    def register(self) -> "Server":
        """Register as an agent does."""
        return self.registered_with(Refusal.decode(self.listen()))

    def registered_with(self, challenge: Refusal) -> "Server":
        """Answer the challenge to the first ``listen``."""
        assert challenge.code == 401, challenge
        self.registered = Registered.decode(self.listen(challenge.nonce))
        self.key = registration_key(
            self._exchange, self.registered.exchange_key, self.registered.registration_id
        )
        return self

    @property
    def id(self) -> int:
        """The registration's id."""
        assert self.registered is not None
        return self.registered.registration_id

    def bind_bytes(
        self,
        tcp: tuple[Address, ...] = (("192.168.1.2", 7001),),
        relays: tuple[ParkedAt, ...] = (),
    ) -> bytes:
        """Return the next ``bind``."""
        self._sequence += 1
        bind = Bind(self._sequence, tcp, (("192.168.1.2", 4100),), relays)
        return bind.encode(self.world.random(12), self.proving())

    def warm_up(self, source: Address = SERVER_UDP, sequence: int = 1) -> Message | None:
        """Send ``bind`` over UDP and return the answer."""
        raw = WarmUp(self.id, sequence).encode(self.world.random(12), self.key)
        return self.world.datagram(raw, source)

    def ack_bytes(self, connection: str = CONNECTION) -> bytes:
        """Return a ``connectionAck``."""
        return ConnectionAck(connection, self.id).encode(self.world.random(12), self.key)

    def ready(self) -> "Server":
        """Register, bind, and warm up."""
        self.register()
        self.say(self.bind_bytes())
        self.warm_up()
        return self

    def requested(self) -> list[ConnectionRequested]:
        """Return the ``connectionRequested`` that came, and forget them."""
        found = self.channel.take(Method.CONNECTION_REQUESTED, MessageClass.INDICATION)
        return [ConnectionRequested.decode(message) for message in found]

    def updates(self) -> list[ConnectionUpdate]:
        """Return the ``connectionUpdate`` that came, and forget them."""
        found = self.channel.take(Method.CONNECTION_UPDATE, MessageClass.INDICATION)
        return [ConnectionUpdate.decode(message) for message in found]


class Client:
    """One client."""

    def __init__(
        self, world: World, credentials: Credentials | None = None, *, clock_error: float = 0.0
    ) -> None:
        self.world = world
        self.credentials = credentials if credentials is not None else client()
        self._clock_error = clock_error

    def connect_bytes(
        self,
        target: Target,
        connection: str = CONNECTION,
        *,
        nonce: bytes = b"",
        audience: str = AUDIENCE,
        transaction_id: bytes | None = None,
        crl_number: int = 0,
    ) -> bytes:
        """Return a ``connect``, proved by this client's clock."""
        connect = Connect(connection, target, (("192.168.7.7", 5000),), crl_number)
        now = self.world.now + self._clock_error
        signing = prover(self.credentials, now=now, nonce=nonce, audience=audience)
        tid = transaction_id if transaction_id is not None else self.world.random(12)
        return connect.encode(tid, signing)

    def ask(self, data: bytes, source: Address = CLIENT_UDP) -> Message:
        """Send a request over UDP and return the answer."""
        answer = self.world.datagram(data, source)
        assert answer is not None, "no answer"
        return answer

    def connect(
        self, target: Target, connection: str = CONNECTION, source: Address = CLIENT_UDP
    ) -> ConnectAnswer:
        """Ask over UDP to be introduced."""
        return ConnectAnswer.decode(self.ask(self.connect_bytes(target, connection), source))

    def refused(
        self, target: Target, connection: str = CONNECTION, source: Address = CLIENT_UDP
    ) -> Refusal:
        """Ask over UDP to be introduced, and be refused."""
        return Refusal.decode(self.ask(self.connect_bytes(target, connection), source))

    def over_tcp(self, data: bytes, source: Address = ("203.0.113.1", 44000)) -> Message:
        """Send a request over a leg of its own and return the answer."""
        leg, channel = self.world.leg(source)
        leg.receive(decode(data), self.world.now)
        return channel.sent[0]
