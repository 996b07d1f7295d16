"""Tests for :mod:`wavesync.relay.legs`, with the transports that a relay's legs have."""

import socket
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy import proxyEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.relay.join_support import (
    Certificate,
    Far,
    Leg,
    Legs,
    TalkativeLeg,
    receive,
    receive_all,
    send,
    until,
)
from wavesync.relay.joining import join
from wavesync.relay.legs import bottom, plain
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.sockets import SocketPair


class ProxiedTests(TestCase):
    """A leg that came by the PROXY protocol is as plain as any."""

    def setUp(self) -> None:
        self.legs = Legs(self.addCleanup)
        self.plumbing = Plumbing()
        self.addCleanup(self.plumbing.pipes.close)

    async def proxied(self) -> tuple[Leg, Far]:
        """Make a leg behind a proxy."""
        made: list[Leg] = []

        class Legs(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Leg:
                made.append(TalkativeLeg())
                return made[-1]

        endpoint = proxyEndpoint(TCP4ServerEndpoint(cast(Any, reactor), 0, interface="127.0.0.1"))
        port: Any = await endpoint.listen(Legs())
        self.addCleanup(port.stopListening)
        far = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(far.close)
        far.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 443\r\nearly ")
        far.setblocking(False)
        await until(lambda: made and made[0].heard)
        cast(Any, made[0].transport).pauseProducing()
        return made[0], far

    async def test_join(self) -> None:
        """It is joined in the kernel, half-close and all, and then forgotten by its factory."""
        leg, client = await self.proxied()
        server, far_server = await self.legs.make()
        wrapper: Any = leg.transport
        early = leg.heard
        pair = join(reactor, wrapper, server, to_server=early, plumbing=self.plumbing)
        ended: list[str] = []
        pair.over.addCallback(ended.append)
        await send(client, b"and late")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(far_server), b"early and late")
        await send(far_server, b"answer")
        far_server.close()
        self.assertEqual(await receive(client, 9), b"answer")
        await until(lambda: ended)
        self.assertEqual(ended, ["done"])
        self.assertIsInstance(pair, SocketPair)
        self.assertEqual((leg.heard, leg.ended), (early, False))
        self.assertEqual(wrapper.factory.protocols, {})


class KindTests(TestCase):
    """Joins know which transports they may look beneath."""

    def test_tls(self) -> Deferred[None]:
        """A leg over TLS is not plain: its descriptor carries other bytes."""

        async def check() -> None:
            leg, _ = await Legs(self.addCleanup).make(tls=True)
            self.assertIdentical(plain(leg), None)
            self.assertIsInstance(bottom(leg), Connection)

        return Deferred.fromCoroutine(check())

    async def test_start_tls(self) -> None:
        """Nor is one that has become TLS on the way."""
        leg: Any = (await Legs(self.addCleanup).make())[0]
        self.assertIdentical(plain(leg), leg)
        leg.startTLS(Certificate())
        self.assertIdentical(plain(leg), None)


class UnknownTests(SynchronousTestCase):
    """Whatever else a transport is, it is left alone."""

    def test_unknown(self) -> None:
        """Nothing is assumed of it."""
        transport = StringTransport()
        self.assertIdentical(plain(cast(Any, transport)), None)
        self.assertIdentical(bottom(cast(Any, transport)), transport)
