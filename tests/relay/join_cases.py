"""What every join of two legs does, with real sockets: cases for ``test_joining``."""

import hashlib
import os
import socket
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
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

__all__ = ["BIG", "HalfClosing", "Joined", "Talking", "digest"]

BIG = os.urandom(1 << 20) * 3


def digest(data: bytes) -> str:
    """Tell data apart without printing it."""
    return hashlib.sha256(data).hexdigest()


class Talking:
    """What every kind of join does for its two ends."""

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
        return self.join(client, server, **options), far_client, far_server

    def join(self, client: Any, server: Any, **options: Any) -> Any:
        """Join these legs."""
        pair = self.make(client, server, **options)
        self.watch(pair, client, server)
        return pair

    def make(self, client: Any, server: Any, **options: Any) -> Any:
        """Make a pair of them."""
        return join(reactor, client, server, plumbing=self.plumbing, **options)

    def watch(self, pair: Any, *legs: Any) -> None:
        """Note why a pair is over; both connections are closed then, or it is over too early."""
        self.ended: list[str] = []

        def over(reason: str) -> None:
            open_ones = [leg for leg in legs if cast(Any, bottom(leg)).connected]
            self.ended.append(f"{reason}, but open" if open_ones else reason)

        pair.over.addCallback(over)

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

    async def test_stalled_reader(self) -> None:
        """An end that does not read stops the other one; the pair holds no more than it may."""
        pair, client, server = await self.joined(small=1 << 18)
        taken = await self.stuff(client, lambda: pair.up)
        self.assertTrue(self.held(pair) <= MAX_HELD, f"{self.held(pair)} bytes are held")
        before = pair.last_moved
        self.assertEqual(digest(await receive(server, taken)), digest(b"s" * taken))
        self.assertTrue(pair.last_moved > before)

    async def stuff(self, far: Far, taken: Any) -> int:
        """Send until nobody takes any more.

        :return: bytes sent.
        """
        total = 0
        idle = 0
        while idle < 15:
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


class Joined(Talking):
    """What every kind of join does besides."""

    async def test_interface(self) -> None:
        """The relay can count on what a pair offers."""
        pair, _, _ = await self.joined()
        self.assertTrue(verifyObject(IPair, pair))

    async def test_written_before(self) -> None:
        """What the relay wrote to a leg just before the join goes before all."""
        client, far_client = await self.legs.make(tls=self.client_tls)
        server, _ = await self.legs.make(tls=self.server_tls)
        head = b"x" * 300_000
        client.write(head)
        self.join(client, server, to_client=b"first")
        self.assertEqual(digest(await receive(far_client, 300_005)), digest(head + b"first"))

    async def test_breaks_before(self) -> None:
        """A leg that breaks while it is given what was written before ends the pair."""
        client, far_client = await self.legs.make(tls=self.client_tls, receive_buffer=1 << 16)
        server, _ = await self.legs.make(tls=self.server_tls)
        client.write(bytes(16 << 20))
        self.join(client, server)
        await pause(0.01)
        far_reset(far_client)
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [CLIENT_BROKE])

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
        self.join(client, server)
        await until(lambda: self.ended)
        self.assertEqual(self.ended, [CLIENT_BROKE])

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


class HalfClosing:
    """What joins of plain legs do at the end."""

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
