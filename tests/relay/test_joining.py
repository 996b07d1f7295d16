"""Tests for :mod:`wavesync.relay.joining`, with real sockets: whatever moves the bytes."""

import hashlib
import os
import socket
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.relay.join_support import (
    LATER,
    Far,
    Legs,
    far_reset,
    pause,
    receive,
    receive_all,
    send,
    until,
)
from wavesync.relay.joining import join
from wavesync.relay.legs import bottom
from wavesync.relay.pair import CLIENT_BROKE, DONE, MAX_HELD, SERVER_BROKE, IPair
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.portable import PortablePair

BIG = os.urandom(1 << 20) * 4


def digest(data: bytes) -> str:
    """Tell data apart without printing it."""
    return hashlib.sha256(data).hexdigest()


class Joined:
    """What every kind of join does."""

    client_tls = server_tls = False
    addCleanup: Any
    assertEqual: Any
    assertTrue: Any

    def setUp(self) -> None:
        self.legs = Legs(self.addCleanup)
        self.plumbing = Plumbing(kernel=self.kernel)
        self.addCleanup(self.plumbing.pipes.close)

    kernel = True

    async def joined(self, **options: Any) -> tuple[Any, Far, Far]:
        """Join two legs."""
        small = options.pop("small", 0)
        client, far_client = await self.legs.make(
            tls=self.client_tls, receive_buffer=small, send_buffer=small
        )
        server, far_server = await self.legs.make(
            tls=self.server_tls, receive_buffer=small, send_buffer=small
        )
        pair = join(reactor, client, server, plumbing=self.plumbing, **options)
        self.ended: list[str] = []
        pair.over.addCallback(self.ended.append)
        return pair, far_client, far_server

    async def test_interface(self) -> None:
        """The relay can count on what a pair offers."""
        pair, _, _ = await self.joined()
        self.assertTrue(verifyObject(IPair, pair))

    async def test_both_ways(self) -> None:
        """Each end gets what the other says, and it is counted."""
        pair, client, server = await self.joined()
        await send(client, b"ping")
        self.assertEqual(await receive(server, 4), b"ping")
        await send(server, b"pong!")
        self.assertEqual(await receive(client, 5), b"pong!")
        self.assertEqual((pair.up, pair.down), (4, 5))

    async def test_first_bytes(self) -> None:
        """What was read before the join goes first."""
        _, client, server = await self.joined(to_server=b"hello ", to_client=b"welcome ")
        await send(client, b"server")
        await send(server, b"client")
        self.assertEqual(await receive(server, 12), b"hello server")
        self.assertEqual(await receive(client, 14), b"welcome client")

    async def test_written_before(self) -> None:
        """What the relay wrote to a leg just before the join goes before all."""
        client, far_client = await self.legs.make(tls=self.client_tls)
        server, _ = await self.legs.make(tls=self.server_tls)
        head = b"x" * 300_000
        client.write(head)
        join(reactor, client, server, to_client=b"first", plumbing=self.plumbing)
        self.assertEqual(digest(await receive(far_client, 300_005)), digest(head + b"first"))

    async def test_much_both_ways(self) -> None:
        """Megabytes arrive unharmed in both directions at once."""
        pair, client, server = await self.joined()
        up, down = BIG, BIG[::-1]
        sending = [Deferred.fromCoroutine(send(*each)) for each in ((client, up), (server, down))]
        got = Deferred.fromCoroutine(receive(client, len(down)))
        self.assertEqual(digest(await receive(server, len(up))), digest(up))
        self.assertEqual(digest(await got), digest(down))
        for each in sending:
            await each
        self.assertEqual((pair.up, pair.down), (len(up), len(down)))

    async def test_client_resets(self) -> None:
        """A broken client is broken off at the server, not ended."""
        _, client, server = await self.joined()
        await send(client, b"half a")
        await receive(server, 6)
        far_reset(client)
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [CLIENT_BROKE])
        await self.broken(server)

    async def test_server_resets(self) -> None:
        """A broken server is broken off at the client."""
        _, client, server = await self.joined()
        await send(server, b"half a")
        await receive(client, 6)
        far_reset(server)
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [SERVER_BROKE])
        await self.broken(client)

    async def broken(self, far: Far) -> None:
        """A far end sees a reset, never an end."""
        for _ in range(1000):
            try:
                data = far.recv(1)
            except LATER:
                await pause(0.005)
            except OSError:
                return
            else:
                if not data:
                    raise AssertionError("it looks like an end")
        raise AssertionError("nothing happens")

    async def test_abort(self) -> None:
        """The relay can end a pair at any time, with a reason of its own; only once."""
        pair, client, server = await self.joined()
        await send(client, b"hello")
        await receive(server, 5)
        pair.abort("idle")
        pair.abort("too late")
        await until(lambda: self.ended)
        self.assertEqual(self.ended, ["idle"])
        await self.broken(client)
        await self.broken(server)

    async def test_abort_at_once(self) -> None:
        """A pair can be ended before it has begun."""
        pair, _, _ = await self.joined(to_server=b"hello")
        pair.abort("no")
        await until(lambda: self.ended)
        self.assertEqual(self.ended, ["no"])

    async def test_old_protocols(self) -> None:
        """The protocols that the legs had get nothing more, not even the end."""
        pair, client, server = await self.joined()
        await send(client, b"hello")
        await receive(server, 5)
        pair.abort("enough")
        await until(lambda: self.ended)
        self.assertEqual([(leg.heard, leg.ended) for leg in self.legs.legs], [(b"", False)] * 2)

    async def test_lost_before(self) -> None:
        """A leg that is gone already ends the pair at once."""
        client, _ = await self.legs.make(tls=self.client_tls)
        server, _ = await self.legs.make(tls=self.server_tls)
        cast(Any, client).abortConnection()
        await until(lambda: self.legs.legs[0].ended)
        pair = join(reactor, client, server, plumbing=self.plumbing)
        ended: list[str] = []
        pair.over.addCallback(ended.append)
        await until(lambda: ended)
        self.assertEqual(ended, [CLIENT_BROKE])

    async def test_stalled_reader(self) -> None:
        """An end that does not read stops the other one; the pair holds no more than it may."""
        pair, client, server = await self.joined(small=1 << 18)
        taken = await self.stuff(client, lambda: pair.up)
        self.assertTrue(self.held(pair) <= MAX_HELD, f"{self.held(pair)} bytes are held")
        before = pair.last_moved
        self.assertEqual(digest(await receive(server, taken)), digest(b"s" * taken))
        self.assertTrue(pair.last_moved > before)

    async def test_stalled_both_ways(self) -> None:
        """Both ends do not read: the limit is for both directions together."""
        pair, client, server = await self.joined(small=1 << 18)
        up = await self.stuff(client, lambda: pair.up)
        down = await self.stuff(server, lambda: pair.down)
        self.assertTrue(self.held(pair) <= MAX_HELD, f"{self.held(pair)} bytes are held")
        self.assertEqual(len(await receive(server, up)), up)
        self.assertEqual(len(await receive(client, down)), down)

    async def test_stalled_reader_resets(self) -> None:
        """A pair whose one end reads nothing ends when that end breaks."""
        pair, client, server = await self.joined(small=1 << 18)
        await self.stuff(client, lambda: pair.up)
        far_reset(server)
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [SERVER_BROKE])
        self.assertEqual(self.held(pair), 0)
        await self.broken(client)

    async def test_abort_while_stalled(self) -> None:
        """So it does when the relay ends it, and nothing is left of what it held."""
        pair, client, _ = await self.joined(small=1 << 18)
        await self.stuff(client, lambda: pair.up)
        pair.abort("idle")
        await until(lambda: self.ended)
        self.assertEqual(self.held(pair), 0)
        self.assertEqual(self.plumbing.pipes.open, self.plumbing.pipes.spare)

    async def test_one_way_stalls(self) -> None:
        """One direction that is stuck does not stop the other."""
        pair, client, server = await self.joined(small=1 << 18)
        await self.stuff(client, lambda: pair.up)
        down = Deferred.fromCoroutine(send(server, BIG))
        self.assertEqual(digest(await receive(client, len(BIG))), digest(BIG))
        await down

    async def stuff(self, far: Far, taken: Any) -> int:
        """Send until nobody takes any more.

        :return: bytes sent.
        """
        total = 0
        idle = 0
        while idle < 30:
            try:
                total += far.send(b"s" * 65536)
                idle = 0
            except (BlockingIOError, OSError):
                idle += 1
                await pause(0.005)
        self.assertTrue(taken())
        return total

    def held(self, pair: Any) -> int:
        """Count the bytes that a pair of sockets holds."""
        return int(pair.held)


class HalfClosing:
    """What joins of plain legs do besides."""

    joined: Any
    ended: list[str]
    assertEqual: Any
    assertTrue: Any

    async def test_half_close(self) -> None:
        """An end that has said all still gets its answer; then the pair is over."""
        _, client, server = await self.joined()
        await send(client, b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(server), b"question")
        await send(server, b"answer")
        self.assertEqual(self.ended, [])
        server.close()
        self.assertEqual(await receive_all(client), b"answer")
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [DONE])

    async def test_half_close_behind_much(self) -> None:
        """The end of what one side says comes after its last byte, however slow the other is."""
        _, client, server = await self.joined(small=1 << 18)
        sending = Deferred.fromCoroutine(send(client, BIG))
        sending.addCallback(lambda _: client.shutdown(socket.SHUT_WR))
        await pause(0.05)
        self.assertEqual(digest(await receive_all(server)), digest(BIG))
        await sending

    async def test_server_closes_first(self) -> None:
        """The same from the other side, with nothing said at all."""
        _, client, server = await self.joined()
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(client), b"")
        client.close()
        self.assertEqual(await receive_all(server), b"")
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [DONE])

    async def test_first_bytes_and_end(self) -> None:
        """A client that has closed before the join is not forgotten."""
        _, client, server = await self.joined(to_server=b"all of it")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(server), b"all of it")


class Portable:
    """What joins over Twisted's transports share."""

    plumbing: Plumbing
    assertEqual: Any

    def held(self, pair: Any) -> int:
        """Count the bytes that wait in Twisted's buffers, of every layer."""
        total = 0
        for leg in (pair._client, pair._server):
            if leg.lost:
                continue
            wire = leg.wire
            beneath: Any = bottom(wire)
            total += len(beneath.dataBuffer) - beneath.offset + beneath._tempDataLen
            if wire is not beneath:
                total += sum(map(len, wire._appSendBuffer))
                total += sum(map(len, wire._aggregator._buffer))
        return total

    def tearDown(self) -> None:
        self.assertEqual((self.plumbing.spliced, self.plumbing.copied), (0, 0))


class TLSClosing:
    """What the end of a leg over TLS does: Twisted's TLS has no half-close."""

    joined: Any
    ended: list[str]
    assertEqual: Any

    async def test_close_over_tls(self) -> None:
        """When a leg over TLS is closed, the other end gets all, then the end: it is over."""
        _, client, server = await self.joined()
        await send(client, BIG)
        client.setblocking(True)
        closing = deferToThread(cast(Any, client).unwrap)
        self.assertEqual(digest(await receive_all(server)), digest(BIG))
        (await closing).close()
        server.close()
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [DONE])

    async def test_cut_off(self) -> None:
        """A leg over TLS that ends without saying so is broken, not ended."""
        _, client, server = await self.joined()
        await send(client, b"half a")
        self.assertEqual(await receive(server, 6), b"half a")
        client.close()
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [CLIENT_BROKE])


class KernelTests(Joined, HalfClosing, TestCase):
    """Plain legs, joined in the kernel."""

    def tearDown(self) -> None:
        self.assertEqual(self.plumbing.copied, 0)


class CopyingTests(Joined, HalfClosing, TestCase):
    """Plain legs, their bytes copied by us."""

    kernel = False

    def tearDown(self) -> None:
        self.assertEqual(self.plumbing.spliced, 0)


class TLSClientTests(Portable, Joined, TLSClosing, TestCase):
    """The client's leg is over TLS."""

    client_tls = True

    async def test_server_ends(self) -> None:
        """What a plain server has said reaches a client over TLS before the end does."""
        _, client, server = await self.joined()
        await send(server, b"answer")
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(await receive_all(client), b"answer")
        await send(client, b"more")
        self.assertEqual(await receive(server, 4), b"more")


class TLSServerTests(Portable, Joined, TestCase):
    """The server's leg is over TLS."""

    server_tls = True


class TLSTests(Portable, Joined, TLSClosing, TestCase):
    """Both legs are over TLS."""

    client_tls = server_tls = True

    async def test_close_over_tls(self) -> None:
        """When a leg over TLS is closed, the other end gets all, then the end."""
        _, client, server = await self.joined()
        await send(client, BIG)
        client.setblocking(True)
        closing = deferToThread(cast(Any, client).unwrap)
        self.assertEqual(digest(await receive_all(server)), digest(BIG))
        server.setblocking(True)
        (await deferToThread(cast(Any, server).unwrap)).close()
        (await closing).close()
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [DONE])


class SlowPortableTests(Portable, Joined, HalfClosing, TestCase):
    """Plain legs on a reactor that has no descriptors, as far as the join knows."""

    async def joined(self, **options: Any) -> tuple[Any, Far, Far]:
        """Join two legs."""
        small = options.pop("small", 0)
        client, far_client = await self.legs.make(receive_buffer=small, send_buffer=small)
        server, far_server = await self.legs.make(receive_buffer=small, send_buffer=small)
        options.setdefault("to_server", b"")
        options.setdefault("to_client", b"")
        pair = PortablePair(reactor, cast(Any, client), cast(Any, server), shaper=None, **options)
        self.ended = []
        pair.over.addCallback(self.ended.append)
        return pair, far_client, far_server

    async def test_written_before(self) -> None:
        """Written to Twisted's transport, as all that follows."""

    async def test_lost_before(self) -> None:
        """As with TLS."""
