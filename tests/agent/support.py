"""A mediator that says what the test wants, and an endpoint that leads to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.signalling.provers import AUDIENCE
from wavesync.identity.proofs import CheckedProof, check_proof
from wavesync.identity.verify import Role
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    Bind,
    Listen,
    Refusal,
    Registered,
    covered,
    registration_key,
)
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import BINDING, Message, MessageClass

__all__ = [
    "MEDIATOR_HOST",
    "NONCE",
    "REGISTRATION",
    "Dialled",
    "LogListener",
    "MemoryEndpoint",
    "ScriptedMediator",
]

MEDIATOR_HOST = "192.0.2.1"
NONCE = b"n" * 16
REGISTRATION = 0x1122334455667788


@dataclass
class Dialled:
    """One attempt to connect."""

    factory: IProtocolFactory
    result: Deferred[IProtocol]
    cancelled: bool = False


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Leads nowhere until the test says so.

    :ivar dialled: every attempt, the newest last.
    """

    def __init__(self) -> None:
        self.dialled: list[Dialled] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Begin an attempt (IStreamClientEndpoint)."""

        def cancel(deferred: Deferred[IProtocol]) -> None:
            attempt.cancelled = True
            # As Twisted's own endpoints do.
            deferred.errback(ConnectingCancelledError(IPv4Address("TCP", MEDIATOR_HOST, 3345)))

        attempt = Dialled(protocolFactory, Deferred(cancel))
        self.dialled.append(attempt)
        return attempt.result


@implementer(ILogObserver)
class LogListener:
    """Keeps the warnings and errors of one package, as a person would read them.

    :ivar said: the lines so far.
    """

    def __init__(self, package: str) -> None:
        self.said: list[str] = []
        self._package = package
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Take an event (ILogObserver)."""
        ours = str(event.get("log_namespace", "")).startswith(self._package)
        if ours and event["log_level"] > LogLevel.info:
            self.said.append(formatEvent(event))

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)


class ScriptedMediator:
    """One connection as the mediator sees it: reads requests, answers as it is told.

    :param now: the mediator's clock, seconds since the epoch.
    """

    def __init__(self, dialled: Dialled, *, now: float) -> None:
        self.now = now
        self.exchange = X25519PrivateKey.generate()
        self.key = b""
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", MEDIATOR_HOST, 3345))
        self._decoder = StreamDecoder()
        self._held: list[Message] = []
        address = IPv4Address("TCP", MEDIATOR_HOST, 3345)
        protocol = dialled.factory.buildProtocol(address)
        assert protocol is not None
        self.protocol = protocol
        protocol.makeConnection(self.transport)
        dialled.result.callback(protocol)

    @property
    def closed(self) -> bool:
        """The other side has closed or aborted the connection."""
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def received(self) -> list[Message]:
        """What came since the last look, keep-alives left out."""
        data = self.transport.value()
        self.transport.clear()
        return [message for message in self._decoder.feed(data) if message.method != BINDING]

    def one(self, method: int) -> Message:
        """The one message that came since the last look."""
        (message,) = self.received()
        assert message.method == method, message
        assert message.message_class is MessageClass.REQUEST
        return message

    def send(self, data: bytes) -> None:
        """Have the other side receive this."""
        self.protocol.dataReceived(data)

    def lose(self, reason: Failure | None = None) -> None:
        """The connection ends; by default it breaks."""
        self.protocol.connectionLost(reason or Failure(ConnectionLost()))

    def refuse(self, request: Message, refusal: Refusal) -> None:
        """Answer with an error."""
        self.send(refusal.encode(request.method, request.transaction_id))

    def challenge(self) -> None:
        """Take the first ``listen`` and answer it with 401 and a nonce."""
        request = self.one(Method.LISTEN)
        assert covered(request) is None
        refusal = Refusal(ErrorCode.UNAUTHENTICATED, "", NONCE, AUDIENCE, self.now)
        self.refuse(request, refusal)

    def proof_of(self, request: Message, purpose: str) -> CheckedProof:
        """Check the proof of a server's request by the mediator's clock and nonce."""
        found = covered(request)
        assert found is not None
        return check_proof(
            found[0],
            purpose=purpose,
            audience=AUDIENCE,
            message=found[1],
            role=Role.SERVER,
            now=self.now,
            nonce_ok=lambda nonce: nonce == NONCE,
        )

    def accept(self, keep_alive: float = 15.0) -> None:
        """Take the proved ``listen`` and answer it with success."""
        request = self.one(Method.LISTEN)
        self.proof_of(request, Listen.PURPOSE)
        public = self.exchange.public_key().public_bytes_raw()
        self.key = registration_key(
            self.exchange, Listen.decode(request).exchange_key, REGISTRATION
        )
        answer = Registered(REGISTRATION, public, keep_alive, self.now)
        self.send(answer.encode(request.transaction_id))

    def bound(self) -> tuple[int, Sequence[Address], Sequence[Address]]:
        """Take the ``bind`` that came, its proof checked: sequence, TCP and UDP addresses."""
        request = self.one(Method.BIND)
        self.proof_of(request, Bind.PURPOSE)
        bind = Bind.decode(request)
        return bind.sequence, bind.tcp, bind.udp
