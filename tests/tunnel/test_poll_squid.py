"""Tests of short polls on real sockets: alone, and through a real Squid that refuses CONNECT."""

import os
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.tunnel.listeners import HOST
from tests.tunnel.proxy_processes import Squid
from wavesync.interfaces import IReactor
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.methods import Place, open_tunnel
from wavesync.tunnel.server import TunnelServer

reactor: IReactor = _reactor  # type: ignore[assignment]
_Test = Callable[[], Coroutine[Deferred[Any], Any, None]]


class Echo(Protocol):
    """Sends back what comes."""

    def __init__(self) -> None:
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Send it back (IProtocol)."""
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember it (IProtocol)."""
        self.lost = reason


class Asker(Echo):
    """Collects what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.came = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Keep it (IProtocol)."""
        self.came += data

    def send(self, data: bytes) -> None:
        """Send."""
        assert self.transport is not None
        self.transport.write(data)


class PollCase(TestCase):
    """A server that echoes, on loopback."""

    timeout = 60

    def go(self, test: _Test) -> Deferred[None]:
        """Run a test, then close everything."""
        self.echoes: list[Echo] = []
        self.squid: Squid | None = None

        class Echoes(Factory):
            noisy = False

            def buildProtocol(_, addr: object) -> Echo:
                self.echoes.append(Echo())
                return self.echoes[-1]

        async def whole() -> None:
            self.server = TunnelServer(Echoes(), reactor)
            self.front = FrontFactory(self.server, reactor)
            listening = reactor.listenTCP(0, self.front, interface=HOST)
            self.port = listening.getHost().port  # type: ignore[attr-defined]
            try:
                await test()
            finally:
                self.front.abort_all()
                await maybeDeferred(listening.stopListening)
                await self.front.when_empty()
                if self.squid is not None:
                    self.squid.__exit__()

        return Deferred.fromCoroutine(whole())

    async def open(self) -> Asker:
        """A tunnel, through the proxy where there is one."""
        authority = f"{HOST}:{self.port}"
        port, prefix = self.port, ""
        if self.squid is not None:
            port, prefix = self.squid.port, f"http://{authority}"
        place = Place(authority, tls=False, prefix=prefix)
        dial = TCP4ClientEndpoint(reactor, HOST, port)
        factory = Factory.forProtocol(Asker)
        factory.noisy = False
        found = await open_tunnel(
            reactor, "poll", place, dial, factory, timeout=10.0, random=os.urandom
        )
        assert isinstance(found, Asker)
        return found

    async def until(self, question: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until the answer is yes."""
        limit = time.monotonic() + seconds
        while not question():
            assert time.monotonic() < limit, "not in time"
            await deferLater(reactor, 0.01)

    def has(self, asker: Asker, size: int) -> bool:
        """Tell whether more than so many bytes have come."""
        return len(asker.came) > size

    async def echoed(self, asker: Asker, size: int) -> None:
        """Bytes go there and come back."""
        data, before = os.urandom(size), len(asker.came)
        asker.send(data)
        await self.until(lambda: len(asker.came) >= before + size)
        self.assertEqual(asker.came[before:], data)

    async def closed(self, asker: Asker) -> None:
        """The tunnel ends in order, and leaves nothing."""
        assert asker.transport is not None
        asker.transport.loseConnection()
        await self.until(lambda: asker.lost is not None)
        await self.until(lambda: all(each.lost is not None for each in self.echoes))
        self.assertIn("cleanly", str(asker.lost))
        self.assertEqual(len(self.server), 0)


class DirectTests(PollCase):
    """Without a proxy."""

    def test_echo(self) -> Deferred[None]:
        """Small and large pieces come back, and the end comes at both sides."""

        async def test() -> None:
            asker = await self.open()
            await self.echoed(asker, 200)
            await self.echoed(asker, 1_000_000)
            await self.closed(asker)

        return self.go(test)


class SquidTests(PollCase):
    """Through Squid, which caches what it may and refuses CONNECT."""

    def start(self) -> Squid:
        """Start it."""
        self.squid = Squid(connect=False)
        self.squid.start()
        return self.squid

    def test_echo_and_restart(self) -> Deferred[None]:
        """Bytes come back through it; killed and started in the middle of a stream, it breaks nothing."""

        async def test() -> None:
            squid = self.start()
            asker = await self.open()
            await self.echoed(asker, 200)
            await self.echoed(asker, 1_000_000)
            data = os.urandom(5_000_000)
            before = len(asker.came)
            asker.send(data)
            for size in (200_000, 1_500_000):
                some = before + size
                await self.until(partial(self.has, asker, some))
                squid.stop()
                await deferLater(reactor, 0.5)
                self.assertLess(len(asker.came), before + len(data))
                squid.start()
            await self.until(lambda: len(asker.came) >= before + len(data))
            self.assertEqual(asker.came[before:], data)
            await self.closed(asker)
            self.assertEqual(len(self.echoes), 1)
            self.assertIn("/wavesync/1/tunnel/poll", squid.log)
            self.assertNotIn("CONNECT", squid.log)

        return self.go(test)
