"""Tests for :mod:`wavesync.relay.half_closing`: ends that speak TLS say all, and still listen."""

import socket
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.abuse.memory import memory
from tests.relay.join_cases import BIG, digest
from tests.relay.join_support import Legs, far_reset, receive, receive_all, send, until
from wavesync.relay.joining import join
from wavesync.relay.legs import bottom
from wavesync.relay.pair import CLIENT_BROKE, DONE, SERVER_BROKE

NOTICED = 2.0
"""Seconds until a side knows that the other one broke."""

MUCH = 48 << 20
"""Bytes behind an end."""


class End:
    """The far end of a leg, plain or over TLS, by pyOpenSSL; it never blocks."""

    def __init__(self, tls: bool, version: int = SSL.TLS1_3_VERSION) -> None:
        self.plain = socket.socket()
        self.tls: SSL.Connection | None = None
        if tls:
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(version)
            self.tls = SSL.Connection(context, self.plain)
            self.tls.set_connect_state()

    def connect(self, port: int) -> None:
        """Connect."""
        self.plain.connect(("127.0.0.1", port))
        self.plain.setblocking(False)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        try:
            if self.tls is not None:
                self.tls.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def send(self, data: bytes) -> int:
        """Send some."""
        if self.tls is None:
            return self.plain.send(data)
        try:
            return self.tls.send(bytes(data))
        except (SSL.WantWriteError, SSL.WantReadError):
            raise BlockingIOError from None

    def recv(self, size: int) -> bytes:
        """Receive some; nothing at the end, an error where it is cut off."""
        if self.tls is None:
            return self.plain.recv(size)
        try:
            return self.tls.recv(size)
        except SSL.WantReadError:
            raise BlockingIOError from None
        except SSL.ZeroReturnError:
            return b""

    def end(self) -> None:
        """Say no more."""
        if self.tls is None:
            self.plain.shutdown(socket.SHUT_WR)
        else:
            self.tls.shutdown()


class HalfClosingCase(TestCase):
    """Joins of a client's end and a server's, both of any kind."""

    timeout = 60

    def setUp(self) -> None:
        self.legs = Legs(self.addCleanup)
        self.ended: list[str] = []

    async def end(self, tls: bool, version: int = SSL.TLS1_3_VERSION) -> tuple[Any, Any]:
        """Make a leg and its far end."""
        far = End(tls, version)
        self.addCleanup(far.plain.close)
        leg = await self.legs.make_for(far, tls=tls)
        return leg, far

    async def joined(
        self, client_tls: bool, server_tls: bool, version: int = SSL.TLS1_3_VERSION
    ) -> tuple[Any, Any, Any]:
        """Join two ends."""
        client, far_client = await self.end(client_tls, version)
        server, far_server = await self.end(server_tls, version)
        pair = join(cast(Any, reactor), client, server)
        pair.over.addCallback(self.ended.append)
        return pair, far_client, far_server

    async def over(self, reason: str) -> None:
        """The pair ends so."""
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [reason])


class HalfClosingTests(HalfClosingCase):
    """One side has said all, and still gets the answer."""

    async def check(self, client_tls: bool, server_tls: bool) -> None:
        """Whichever says first that it is done, the other may go on, behind much that is under way."""
        for server_first in (False, True):
            _, client, server = await self.joined(client_tls, server_tls)
            first, second = (server, client) if server_first else (client, server)
            got = Deferred.fromCoroutine(receive_all(second))
            await send(first, BIG)
            first.end()
            self.assertEqual(digest(await got), digest(BIG))
            answer = BIG[::-1]
            sending = Deferred.fromCoroutine(send(second, answer))
            self.assertEqual(digest(await receive(first, len(answer))), digest(answer))
            await sending
            self.assertEqual(self.ended, [])
            await send(second, b"the end")
            second.end()
            self.assertEqual(await receive_all(first), b"the end")
            await self.over(DONE)
            self.ended.clear()

    async def test_client_tls(self) -> None:
        """Only the client speaks TLS."""
        await self.check(True, False)

    async def test_server_tls(self) -> None:
        """Only the server does."""
        await self.check(False, True)

    async def test_both(self) -> None:
        """Both do."""
        await self.check(True, True)

    async def test_at_once(self) -> None:
        """Both say at the same time that they are done."""
        _, client, server = await self.joined(True, True)
        for each in (client, server):
            await send(each, b"bye")
            each.end()
        self.assertEqual([await receive_all(each) for each in (client, server)], [b"bye"] * 2)
        await self.over(DONE)


class BelowTests(HalfClosingCase):
    """What TCP says below."""

    async def test_tcp_ends_too(self) -> None:
        """An end that has closed TCP's direction behind TLS's gets its answer all the same."""
        _, client, server = await self.joined(True, False)
        await send(client, b"question")
        client.end()
        client.plain.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(server), b"question")
        await send(server, b"answer")
        self.assertEqual(await receive(client, 6), b"answer")
        server.end()
        self.assertEqual(await receive_all(client), b"")
        await self.over(DONE)

    async def test_tcp_ends_alone(self) -> None:
        """An end of TCP alone may be anybody's: it breaks the pair."""
        _, client, server = await self.joined(True, False)
        await send(client, b"quest")
        client.plain.shutdown(socket.SHUT_WR)
        with self.assertRaises(ConnectionResetError):
            await receive_all(server)
        await self.over(CLIENT_BROKE)

    async def test_reset(self) -> None:
        """An end that has said all and then breaks does so for the other one, too."""
        _, client, server = await self.joined(True, False)
        client.end()
        self.assertEqual(await receive_all(server), b"")
        far_reset(client.plain)
        await self.over(CLIENT_BROKE)
        with self.assertRaises(OSError):
            while True:
                await send(server, b"hello?")

    async def test_proxy_killed(self) -> None:
        """What a server's leg goes through is killed while it streams: its client knows at once."""
        for client_tls in (False, True):
            for break_off in (socket.socket.close, far_reset):
                _, client, server = await self.joined(client_tls, True)
                await send(server, BIG)
                began = reactor.seconds()
                break_off(server.plain)
                with self.assertRaises((OSError, SSL.Error)):
                    await receive_all(client)
                await self.over(SERVER_BROKE)
                self.assertLess(reactor.seconds() - began, NOTICED)
                self.ended.clear()

    async def test_bytes_behind(self) -> None:
        """What comes behind an end goes nowhere, and is not kept."""
        pair, client, server = await self.joined(True, False)
        await send(client, b"question")
        client.end()
        self.assertEqual(await receive_all(server), b"question")
        before = memory()
        await send(client.plain, bytes(MUCH))
        await send(server, b"answer")
        self.assertEqual(await receive(client, 6), b"answer")
        self.assertLess(memory() - before, MUCH / 4)
        self.assertEqual(pair.up, 8)


class OlderTests(HalfClosingCase):
    """TLS 1.2 has no half-close."""

    async def test_old_tls(self) -> None:
        """The other end gets all, then the end, and both ways are closed."""
        _, client, server = await self.joined(True, False, SSL.TLS1_2_VERSION)
        await send(client, b"all of it")
        client.end()
        self.assertEqual(await receive_all(client), b"")
        self.assertEqual(await receive_all(server), b"all of it")
        server.end()
        await self.over(DONE)

    async def test_before_the_join(self) -> None:
        """Nor does one need it that has not been joined: the connection is closed."""
        leg, far = await self.end(True)
        leg.resumeProducing()
        far.end()
        self.assertEqual(await receive_all(far), b"")
        await until(lambda: self.legs.legs[0].ended)
        self.assertFalse(cast(Any, bottom(leg)).connected)
