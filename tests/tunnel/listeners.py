"""Servers of a few lines on loopback, for tests of dialling."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure

from wavesync.interfaces import IReactor

__all__ = ["HOST", "Listeners", "Scripted", "Speaker", "port_of", "reactor"]

HOST = "127.0.0.1"
reactor = cast(IReactor, _reactor)


class Scripted(Protocol):
    """Reads one head, answers as told, then echoes.

    :param answer: what to say; None to say nothing, "" to close.
    :param heads: heads that came are put there.
    """

    def __init__(self, answer: bytes | None, heads: list[bytes]) -> None:
        self._answer = answer
        self._heads = heads
        self._got = b""
        self._done = False
        self.lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember it (IProtocol)."""
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        """Take what comes (IProtocol)."""
        assert self.transport is not None
        if self._done:
            self.transport.write(data)
            return
        self._got += data
        head, end, rest = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        self._heads.append(head)
        if self._answer == b"":
            self.transport.loseConnection()
        elif self._answer is not None:
            self._done = True
            self.transport.write(self._answer + rest)


class Speaker(Protocol):
    """Says something, and keeps the first answer or how it ended."""

    def __init__(self, say: bytes = b"hello") -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.lost = False
        self._say = say

    def connectionMade(self) -> None:
        """Speak (IProtocol)."""
        assert self.transport is not None
        self.transport.write(self._say)

    def dataReceived(self, data: bytes) -> None:
        """Listen (IProtocol)."""
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody answered (IProtocol)."""
        self.lost = True
        if not self.heard.called:
            self.heard.errback(reason)


class Listeners:
    """Listens on loopback; close them all in the end."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._ports: list[IListeningPort] = []
        self._made: list[Protocol] = []

    def listen(self, make: Callable[[], Protocol], certificate: bytes | None = None) -> int:
        """Listen, over TLS with a certificate (PEM), and give the port."""

        def made() -> Protocol:
            protocol = make()
            self._made.append(protocol)
            return protocol

        factory: Any = Factory.forProtocol(made)
        factory.noisy = False
        if certificate is None:
            port = reactor.listenTCP(0, factory, interface=HOST)
        else:
            options = PrivateCertificate.loadPEM(certificate).options()
            port = cast(Any, reactor).listenSSL(0, factory, options, interface=HOST)
        return self.keep(port)

    def script(self, answer: bytes | None, certificate: bytes | None = None) -> int:
        """Listen with one that answers as told."""
        return self.listen(lambda: Scripted(answer, self.heads), certificate)

    def serve(self, factory: IProtocolFactory) -> int:
        """Listen with a factory."""
        return self.keep(reactor.listenTCP(0, cast(Any, factory), interface=HOST))

    def keep(self, port: IListeningPort) -> int:
        """Close a port in the end, too; give its number."""
        self._ports.append(port)
        return port_of(port)

    async def say(self, endpoint: IStreamClientEndpoint, words: bytes = b"hello") -> bytes:
        """Say something through an endpoint, and give the first answer."""
        speaker = Speaker(words)
        await endpoint.connect(Factory.forProtocol(lambda: speaker))
        try:
            return await speaker.heard
        finally:
            transport: Any = speaker.transport
            if not speaker.lost:
                transport.abortConnection()

    async def close(self) -> None:
        """Close everything."""
        for protocol in self._made:
            if protocol.transport is not None and not getattr(protocol, "lost", False):
                cast(Any, protocol.transport).abortConnection()
        for port in self._ports:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped


def port_of(port: IListeningPort) -> int:
    """A listening port's number."""
    number: int = cast(Any, port.getHost()).port
    return number
