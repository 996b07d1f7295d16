"""Tunnels over real sockets: every method, plain and over TLS, and an HTTP client that is not ours."""

import os
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.signalling.authority import Authority
from tests.tunnel.world import HELLO, SIZE, STREAMS, Gusher
from wavesync.tunnel.connection import CLOSE_LIFE
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.methods import Place, open_tunnel
from wavesync.tunnel.place import PATH
from wavesync.tunnel.server import TunnelServer

reactor: Any = _reactor

_HOST = "127.0.0.1"
_LOAD = os.urandom(1_000_003)
_PATIENCE = 30.0


class _End(Protocol):
    """Notes what comes, and when it is over."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.over: Deferred[Failure] = Deferred()
        self.reason: Failure | None = None
        self.wanted = 0
        self.enough: Deferred[None] | None = None

    @property
    def tunnel(self) -> Any:
        """The transport."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        """Note bytes."""
        self.received += data
        if self.enough is not None and len(self.received) >= self.wanted:
            enough, self.enough = self.enough, None
            enough.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self.reason = reason
        self.over.callback(reason.value)  # type: ignore[arg-type]

    def hear(self, size: int) -> Deferred[None]:
        """Fires once that many bytes have come."""
        heard: Deferred[None] = Deferred()
        if len(self.received) >= size:
            heard.callback(None)
        else:
            self.wanted, self.enough = size, heard
        return heard.addTimeout(_PATIENCE, reactor)


class _Curl(ProcessProtocol):
    """A run of curl."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.ended: Deferred[None] = Deferred()
        self.enough: Deferred[None] = Deferred()
        self.wanted = b""

    def outReceived(self, data: bytes) -> None:
        """Note what it says."""
        self.out += data
        if self.wanted and self.wanted in self.out and not self.enough.called:
            self.enough.callback(None)

    def hear(self, wanted: bytes) -> Deferred[None]:
        """Fires once it has said this."""
        self.wanted = wanted
        self.outReceived(b"")
        return self.enough.addTimeout(_PATIENCE, reactor)

    def processEnded(self, reason: Failure) -> None:
        """Note the end."""
        self.ended.callback(None)


class SocketCase(TestCase):
    """A server on a port of loopback."""

    def listen(self, certificate: bytes | None = None) -> int:
        """Start it, over TLS where there is a certificate, and give its port."""
        self.guests: list[_End] = []

        def guest() -> _End:
            self.guests.append(_End())
            return self.guests[-1]

        self.server = TunnelServer(Factory.forProtocol(cast(Any, guest)), reactor)
        self.front = FrontFactory(self.server, reactor)
        if certificate is None:
            port = reactor.listenTCP(0, self.front, interface=_HOST)
        else:
            options = PrivateCertificate.loadPEM(certificate).options()
            port = reactor.listenSSL(0, self.front, options, interface=_HOST)

        async def stop() -> None:
            await port.stopListening()
            empty = self.front.when_empty()
            self.front.abort_all()
            await empty

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        number: int = port.getHost().port
        return number

    async def open(self, method: str, port: int, roots: Any = None) -> tuple[_End, _End]:
        """A tunnel's two ends."""
        dial: IStreamClientEndpoint = TCP4ClientEndpoint(reactor, _HOST, port)
        if roots is not None:
            dial = wrapClientTLS(optionsForClientTLS("localhost", trustRoot=roots), dial)
        client = await open_tunnel(
            reactor,
            method,
            Place(f"localhost:{port}", roots is not None),
            dial,
            Factory.forProtocol(_End),
            timeout=_PATIENCE,
            random=os.urandom,
        )
        return cast(_End, client), self.guests[-1]


class LoopbackTests(SocketCase):
    """Both ends are ours."""

    async def exchange(self, port: int, roots: Any = None) -> None:
        """A megabyte each way, and the end, by every method."""
        for method in STREAMS:
            client, guest = await self.open(method, port, roots)
            client.tunnel.write(_LOAD)
            guest.tunnel.write(_LOAD[::-1])
            await guest.hear(len(_LOAD))
            await client.hear(len(_LOAD))
            self.assertEqual((guest.received, client.received), (_LOAD, _LOAD[::-1]), method)
            ending, other = (client, guest) if method in STREAMS[::2] else (guest, client)
            ending.tunnel.write(_LOAD)
            ending.tunnel.loseConnection()
            for end in (client, guest):
                self.assertIsInstance(await end.over.addTimeout(_PATIENCE, reactor), ConnectionDone)
            self.assertEqual(len(other.received), 2 * len(_LOAD), method)

    async def break_off(self, port: int, roots: Any = None) -> None:
        """Either side breaks off."""
        for method in STREAMS:
            for which in (0, 1):
                ends = await self.open(method, port, roots)
                ends[which].tunnel.abortConnection()
                ours = await ends[which].over.addTimeout(_PATIENCE, reactor)
                self.assertIsInstance(ours, ConnectionAborted)
                theirs = await ends[1 - which].over.addTimeout(_PATIENCE, reactor)
                self.assertIsInstance(theirs, ConnectionLost, method)

    def test_plain(self) -> Deferred[None]:
        """Without TLS."""
        port = self.listen()

        async def test() -> None:
            await self.exchange(port)
            await self.break_off(port)
            self.assertEqual(sum(self.server.statistics.open.values()), 0)

        return Deferred.fromCoroutine(test())

    def test_tls_pressure(self) -> Deferred[None]:
        """Over TLS as well a side that does not read stops the other one, and loses nothing."""
        authority = Authority()
        port = self.listen(authority.certify("localhost"))
        most = 3000 * 8192

        async def test() -> None:
            roots = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
            for method, which in (("websocket", 0), ("two", 1)):
                ends = await self.open(method, port, roots)
                reader, writer = ends[which], ends[1 - which]
                gusher = Gusher(most)
                gusher.transport = writer.tunnel
                reader.tunnel.pauseProducing()
                gusher.start()
                seen = -1
                while seen != gusher.written:  # the kernel takes some megabytes
                    seen = gusher.written
                    await deferLater(reactor, 0.05)
                self.assertTrue(gusher.paused)
                self.assertLess(gusher.written, most // 2)
                self.assertEqual(reader.received, b"")
                reader.tunnel.resumeProducing()
                await reader.hear(gusher.most)
                self.assertEqual(len(reader.received), gusher.written)
                writer.tunnel.abortConnection()
                await reader.over.addTimeout(_PATIENCE, reactor)

        return Deferred.fromCoroutine(test())

    def test_tls(self) -> Deferred[None]:
        """Over TLS, and refused where the certificate is signed by somebody else."""
        authority = Authority()
        port = self.listen(authority.certify("localhost"))

        async def test() -> None:
            roots = trustRootFromCertificates([Certificate.loadPEM(authority.certificate)])
            await self.exchange(port, roots)
            client, _ = await self.open("upgrade", port, roots)
            client.tunnel.pauseProducing()
            client.tunnel.loseConnection()  # whoever does not read closes as quickly
            await self.front.when_empty().addTimeout(0.8 * CLOSE_LIFE, reactor)
            other = trustRootFromCertificates([Certificate.loadPEM(Authority().certificate)])
            for method in STREAMS:
                try:
                    await self.open(method, port, other)
                except TunnelError as error:
                    self.assertEqual(error.reason, Why.TLS, str(error))
                    self.assertIn("something may intercept TLS here", str(error))
                else:
                    self.fail("a certificate was believed that nobody trusts")

        return Deferred.fromCoroutine(test())


class CurlTests(SocketCase):
    """The client's end is curl."""

    def curl(self, port: int, *options: str) -> _Curl:
        """Run it."""
        url = f"http://{_HOST}:{port}{PATH}two"
        common = ("curl", "-sS", "-N", "--max-time", "30", "-H", f"Wavesync-Tunnel: {'ab' * 16}")
        curl = _Curl()
        environ = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        reactor.spawnProcess(curl, "/usr/bin/curl", [*common, *options, url], environ)
        return curl

    def test_two(self) -> Deferred[None]:
        """An HTTP client reads the stream down and sends the stream up."""
        port = self.listen()

        async def test() -> None:
            down = self.curl(port)
            fields = (f"Content-Length: {SIZE}", "Transfer-Encoding:", "Expect:")
            options = [text for field in fields for text in ("-H", field)]
            up = self.curl(port, "-X", "POST", "-T", "-", *options)
            cast(Any, up.transport).write(HELLO + b"hello from curl")
            await down.hear(HELLO)
            (guest,) = self.guests
            await guest.hear(15)
            self.assertEqual(guest.received, b"hello from curl")
            guest.tunnel.write(b"hello, curl")
            guest.tunnel.loseConnection()
            await down.ended
            self.assertEqual(down.out, HELLO + b"hello, curl")
            cast(Any, up.transport).closeStdin()
            await up.ended
            await guest.over

        return Deferred.fromCoroutine(test())
