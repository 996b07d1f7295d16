"""Tests for :mod:`wavesync.signalling.relay_endpoint`."""

from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.signalling.authority import Authority
from wavesync.interfaces import IReactor
from wavesync.signalling.relay_endpoint import relay_endpoint
from wavesync.signalling.relay_urls import Relay

reactor = cast(IReactor, _reactor)


class _Speaker(Protocol):
    """Says something, and keeps the first answer or how it ended."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Speak."""
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nobody answered."""
        if not self.heard.called:
            self.heard.errback(reason)


class RelayEndpointTests(TestCase):
    """Relays are dialled by name or number, with TLS or without."""

    timeout = 20

    def setUp(self) -> None:
        self.ports: list[IListeningPort] = []
        self.spoke: list[IProtocol] = []

    async def tidy(self) -> None:
        """Close everything."""
        for protocol in self.spoke:
            cast(Any, protocol).transport.abortConnection()
        for port in self.ports:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped

    def listen(self, authority: Authority | None, *names: str) -> int:
        """Start an echo, with a certificate for those names, and give its port."""
        factory = Factory.forProtocol(Echo)
        if authority is None:
            port = reactor.listenTCP(0, cast(Any, factory), interface="127.0.0.1")
        else:
            options = PrivateCertificate.loadPEM(authority.certify(*names)).options()
            port = cast(Any, _reactor).listenSSL(0, factory, options, interface="127.0.0.1")
        self.ports.append(port)
        number: int = cast(Any, port.getHost()).port
        return number

    async def echo(self, relay: Relay, trust_root: Any = None) -> bytes:
        """Say something to a relay and give its answer."""
        endpoint = relay_endpoint(reactor, relay, trust_root=trust_root)
        speaker = _Speaker()
        protocol = await endpoint.connect(Factory.forProtocol(lambda: speaker))
        heard = await speaker.heard
        self.spoke.append(protocol)
        return heard

    def test_plain(self) -> Deferred[None]:
        """Without TLS the bytes go as they are."""

        async def test() -> None:
            self.assertEqual(
                await self.echo(Relay("localhost", self.listen(None), False)), b"hello"
            )
            await self.tidy()

        return Deferred.fromCoroutine(test())

    def test_tls(self) -> Deferred[None]:
        """With TLS the certificate must be good for the host in the URL, name or number."""

        async def test() -> None:
            authority = Authority()
            roots = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
            port = self.listen(authority, "localhost", "127.0.0.1")
            for host in ("localhost", "127.0.0.1"):
                self.assertEqual(await self.echo(Relay(host, port, True), roots), b"hello")
            other = self.listen(authority, "other.example")
            for relay, root in (
                (Relay("localhost", other, True), roots),
                (Relay("localhost", port, True), None),
            ):
                try:
                    heard = await self.echo(relay, root)
                except Exception:
                    continue
                self.fail(f"{relay} was believed: {heard!r}")
            await self.tidy()

        return Deferred.fromCoroutine(test())
