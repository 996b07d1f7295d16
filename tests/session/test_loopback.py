"""Sessions over TCP on the loopback interface, with the real reactor."""

import hashlib
import random
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.session.support import System, wall_clock
from wavesync.session.client import connect_session
from wavesync.session.server import NamedServices, ServerSessionFactory

SIZE = 20_000_000
"""Bytes each way."""


@implementer(IHalfCloseableProtocol)
class Sender(Protocol):
    """Sends bytes as the transport takes them, ends, and digests what comes."""

    transport: Any

    def __init__(self, seed: int) -> None:
        self.block = random.Random(seed).randbytes(100_003)
        self.left = SIZE
        self.sent = hashlib.sha256()
        self.received = hashlib.sha256()
        self.count = 0
        self.read_ended = False
        self.done: Deferred[Sender] = Deferred()
        self._paused = False

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Wait."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on; at the end, end."""
        self._paused = False
        while self.left and not self._paused:
            piece = self.block[: self.left]
            self.left -= len(piece)
            self.sent.update(piece)
            self.transport.write(piece)
        if not self.left:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self._close_if_ended()

    def stopProducing(self) -> None:
        """Give up."""
        self._paused = True

    def dataReceived(self, data: bytes) -> None:
        """Digest."""
        self.count += len(data)
        self.received.update(data)

    def readConnectionLost(self) -> None:
        """Note the end."""
        self.read_ended = True
        self._close_if_ended()

    def _close_if_ended(self) -> None:
        # TCP transports stay half-open after both ends until they are closed.
        if self.read_ended and not self.left:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the test."""
        if reason.check(ConnectionDone):
            self.done.callback(self)
        else:
            self.done.errback(reason)


class LoopbackTests(TestCase):
    """What an application sends arrives whole, over real sockets."""

    timeout = 60.0

    async def carry(self) -> None:
        """Client - session - server - TCP - local service, 20 MB each way at once."""
        system = System()
        server_credentials = system.server()
        service = Sender(1)
        local = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            Factory.forProtocol(lambda: service)
        )
        self.addCleanup(local.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", local.getHost().port)
        factory = ServerSessionFactory(
            server_credentials,
            NamedServices({"bulk": endpoint}),
            reactor,
            wall_clock=wall_clock,
        )
        listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        began = time.monotonic()
        path_factory, ready = connect_session(
            system.client(), server_credentials.target, reactor, wall_clock=wall_clock
        )
        path = TCP4ClientEndpoint(reactor, "127.0.0.1", listening.getHost().port)
        await path.connect(path_factory)
        session = await ready
        authenticated = time.monotonic()
        client = Sender(2)
        await session.open("bulk", client)
        accepted = time.monotonic()
        for end in (session, *factory.serving):
            self.assertTrue(end.transport.getTcpNoDelay())
        await client.done
        await service.done
        seconds = time.monotonic() - accepted
        for one, other in ((client, service), (service, client)):
            self.assertEqual(one.count, SIZE)
            self.assertEqual(one.received.hexdigest(), other.sent.hexdigest())
            self.assertTrue(one.read_ended)
        while factory.serving or not session.lost:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)
            await turn
        Logger().info(
            "authenticated {a:.1f} ms, accepted {b:.1f} ms, then {rate:.0f} MB/s each way",
            a=1e3 * (authenticated - began),
            b=1e3 * (accepted - authenticated),
            rate=SIZE / 1e6 / seconds,
        )

    def test_both_ways_at_once(self) -> Deferred[None]:
        """20 MB each way at once arrive with the right SHA-256, and everything is closed."""
        return Deferred.fromCoroutine(self.carry())
