"""Two legs at a relay, on loopback, with plain sockets at their far ends."""

import datetime
import ssl
import struct
from collections.abc import Callable
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET, create_connection, socket
from typing import Any, TypeAlias, cast
from typing import Protocol as TypingProtocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import ContextFactory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory

from wavesync.relay.half_closing import HalfClosingTLS
from wavesync.relay.legs import bottom
from wavesync.relay.pair import ILegTransport

__all__ = [
    "LATER",
    "PATIENCE",
    "Certificate",
    "Far",
    "FarEnd",
    "Legs",
    "far_reset",
    "far_tls",
    "pause",
    "receive",
    "receive_all",
    "send",
    "until",
]

Far: TypeAlias = socket
"""The far end of a leg."""

PATIENCE = 20.0
"""Seconds after which something that should come does not."""


def pause(seconds: float) -> Deferred[None]:
    """Let time pass."""
    return deferLater(IReactorTime(reactor), seconds, lambda: None)


async def until(question: Callable[[], object]) -> None:
    """Let time pass until the answer is yes."""
    end = reactor.seconds() + PATIENCE
    while not question():
        if reactor.seconds() > end:
            raise AssertionError("it never came true")
        await pause(0.005)


LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


async def send(far: Far, data: bytes) -> None:
    """Send all of it, as fast as it is taken."""
    rest = memoryview(data)
    end = reactor.seconds() + PATIENCE
    while rest:
        try:
            rest = rest[far.send(rest[: 1 << 18]) :]
        except LATER:
            if reactor.seconds() > end:
                raise AssertionError("nobody takes it") from None
            await pause(0)


async def receive(far: Far, size: int) -> bytes:
    """Receive so many bytes, or all up to the end where that comes before."""
    got = bytearray()
    end = reactor.seconds() + PATIENCE
    while len(got) < size:
        try:
            data = far.recv(min(size - len(got), 1 << 18))
        except LATER:
            if reactor.seconds() > end:
                raise AssertionError(f"only {len(got)} of {size} bytes came") from None
            await pause(0)
            continue
        if not data:
            break
        got += data
    return bytes(got)


async def receive_all(far: Far) -> bytes:
    """Receive up to the end."""
    return await receive(far, 1 << 40)


def far_reset(far: Far) -> None:
    """Break a connection, as a crashed machine's kernel does."""
    far.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


async def far_tls(far: Far) -> ssl.SSLSocket:
    """Speak TLS at a far end; a far end takes anybody's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    secured = context.wrap_socket(far, do_handshake_on_connect=False, suppress_ragged_eofs=False)
    while True:
        try:
            secured.do_handshake()
        except LATER:
            await pause(0)
        else:
            return secured


class Certificate(ContextFactory):
    """A server's context with a fresh certificate."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
        today = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(today - datetime.timedelta(days=1))
        certificate = builder.not_valid_after(today + datetime.timedelta(days=1)).sign(
            key, SHA256()
        )
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.use_certificate(certificate)
        self._context.use_privatekey(key)

    def getContext(self) -> SSL.Context:
        """Give it (ContextFactory)."""
        return self._context


class Leg(Protocol):
    """What a relay's protocol is to a join: it has paused its reading.

    :ivar heard: what it got all the same.
    """

    heard = b""
    ended = False

    def connectionMade(self) -> None:
        """Read nothing (IProtocol)."""
        cast(ILegTransport, self.transport).pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Keep it (IProtocol)."""
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        """Note it (IProtocol)."""
        self.ended = True


class TalkativeLeg(Leg):
    """A leg over TLS reads until the handshake is done."""

    def connectionMade(self) -> None:
        """Read on (IProtocol)."""


class _Legs(Factory):
    noisy = False

    def __init__(self, kind: type[Leg]) -> None:
        self.made: list[Leg] = []
        self._kind = kind

    def buildProtocol(self, addr: IAddress | None) -> Leg:
        leg = self._kind()
        self.made.append(leg)
        return leg


class FarEnd(TypingProtocol):
    """A far end of another kind."""

    def connect(self, port: int) -> None:
        """Connect to a port of this host."""

    def handshake(self) -> bool:
        """Go on with the handshake, and tell whether it is done."""


class Legs:
    """Makes legs.

    :param cleanup: a test case's ``addCleanup``.
    :ivar legs: the protocols of all, before they were joined.
    """

    def __init__(self, cleanup: Callable[..., object]) -> None:
        self._cleanup = cleanup
        self.legs: list[Leg] = []
        self._listen()

    def _listen(self) -> None:
        self._plain = _Legs(Leg)
        self._tls = _Legs(TalkativeLeg)
        secured = TLSMemoryBIOFactory(Certificate(), False, self._tls)
        secured.protocol = HalfClosingTLS
        self._ports = {}
        for tls, factory in ((False, self._plain), (True, secured)):
            port = reactor.listenTCP(0, cast(Any, factory), interface="127.0.0.1")
            self._cleanup(port.stopListening)
            self._ports[tls] = cast(IPv4Address, port.getHost()).port

    async def make(
        self, *, tls: bool = False, receive_buffer: int = 0, send_buffer: int = 0
    ) -> tuple[ITransport, Far]:
        """Make a leg.

        :param receive_buffer: bytes of the far end's receive buffer, 0 for the system's default.
        :param send_buffer: bytes of its send buffer.
        :return: the relay's transport, and the far end.
        """
        far = create_connection(("127.0.0.1", self._ports[tls]))
        before = len(self._made(tls))
        if receive_buffer:
            far.setsockopt(SOL_SOCKET, SO_RCVBUF, receive_buffer)
        if send_buffer:
            far.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
        far.setblocking(False)
        if tls:
            far = await far_tls(far)
        self._cleanup(far.close)
        return await self._leg(tls, before), far

    async def make_for(self, far: "FarEnd", *, tls: bool) -> ITransport:
        """Make a leg for a far end of the test's own.

        :return: the relay's transport.
        """
        before = len(self._made(tls))
        far.connect(self._ports[tls])
        await until(far.handshake)
        return await self._leg(tls, before)

    def _made(self, tls: bool) -> list[Leg]:
        return (self._tls if tls else self._plain).made

    async def _leg(self, tls: bool, before: int) -> ITransport:
        made = self._made(tls)
        await until(lambda: len(made) > before)
        leg = made[-1]
        assert leg.transport is not None
        self.legs.append(leg)
        if tls:
            await pause(0.01)
            cast(ILegTransport, leg.transport).pauseProducing()
        self._cleanup(self._close, leg)
        return leg.transport

    def _close(self, leg: Leg) -> Deferred[None]:
        assert leg.transport is not None
        cast(ILegTransport, bottom(leg.transport)).abortConnection()
        return pause(0)
