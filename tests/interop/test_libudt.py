"""Conversations with the real libudt 4.11: as its client, its server and its rendezvous peer."""

import hashlib
import socket
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.interop.support import (
    Echo,
    LossyCarrier,
    Peer,
    Stream,
    factory_of,
    pattern,
    peer_program,
    sleep,
)
from wavesync.udt.carrier import AUTO, PLAIN, SocketCarrier
from wavesync.udt.port import Port

TEN = 10_000_000
WRAPPING = 0x7FFFFFF8
"""An initial sequence number a few packets before the wrap."""


def coroutine(
    method: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., "Deferred[None]"]:
    """Make an ``async def`` test one that trial and pytest run."""

    @wraps(method)
    def test(self: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(method(self))

    return test


def free_port(ip: str = "127.0.0.1") -> int:
    """:return: a UDP port that was free a moment ago."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((ip, 0))
        return int(probe.getsockname()[1])


def _same(stream: Stream) -> Stream:
    return stream


class _Case(TestCase):
    timeout = 60
    mode = AUTO

    def setUp(self) -> None:
        """Build the peer, or skip."""
        peer_program()

    def port(self, ip: str = "127.0.0.1", port: int = 0, loss: float = 0.0, **more: Any) -> Port:
        """:return: a port on a real socket that is closed after the test."""
        carrier: Any = SocketCarrier(reactor, port, ip, self.mode)
        if loss:
            carrier = LossyCarrier(carrier, loss, seed=7)
        made = Port(reactor, carrier, **more)
        self.addCleanup(made.close, 0.2)
        return made

    def peer(self, *arguments: object, send: bytes = b"") -> Peer:
        """:return: a peer that is gone after the test."""
        made = Peer(*arguments, send=send)
        self.addCleanup(made.stop)
        return made

    async def converse(
        self,
        role: str,
        *,
        ours: int,
        theirs: int,
        ip: str = "127.0.0.1",
        close_first: bool = True,
        **more: Any,
    ) -> Port:
        """Carry *ours* bytes to libudt and *theirs* back at once; both must arrive unchanged.

        :param role: what we are: "client", "server" or "rendezvous".
        :param close_first: whether we close when all has come; otherwise libudt does.
        """
        port = self.port(ip, **more)
        out, back = pattern(1, ours), pattern(2, theirs)
        stream = Stream(out, theirs, close_first=close_first)
        factory = factory_of(lambda: stream)
        tail = (ours, "last" if close_first else "first")
        there = free_port(ip)
        if role == "client":
            peer = self.peer("listen", ip, there, *tail, send=back)
            await peer.told("listening")
            await port.connect((ip, there), factory)
        elif role == "server":
            port.listen(factory)
            peer = self.peer("connect", ip, port.address[1], 0, *tail, send=back)
            await peer.told("connected")
        else:
            peer = self.peer("rendezvous", ip, port.address[1], ip, there, *tail, send=back)
            await port.rendezvous([(ip, there)], factory).connected

        def story() -> str:
            """What is to be known when it comes to nothing."""
            exchanged = (
                f"{stream.received} of {theirs} bytes came, {peer.received} of {ours} arrived"
            )
            return f"{exchanged}; {port.dropped} stray datagrams; the peer told {peer.lines}"

        def too_late(result: object, seconds: float) -> Failure:
            return Failure(AssertionError(f"not over after {seconds} s: {story()}"))

        stream.finished.addTimeout(self.timeout - 10, reactor, too_late)
        reason = await stream.finished
        self.assertIsInstance(reason, error.ConnectionDone, story())
        self.assertEqual(await peer.ended, 0, story())
        self.assertEqual((stream.received, peer.received), (theirs, ours), story())
        self.assertEqual(stream.digest.digest(), hashlib.sha256(back).digest())
        self.assertEqual(peer.digest.digest(), hashlib.sha256(out).digest())
        return port


class BulkTests(_Case):
    """Ten megabytes each way at once, hashes compared."""

    @coroutine
    async def test_client(self) -> None:
        """Our client and libudt's server exchange 10 MB each way; we close."""
        await self.converse("client", ours=TEN, theirs=TEN)

    @coroutine
    async def test_server(self) -> None:
        """Our server and libudt's client exchange 10 MB each way; libudt closes."""
        await self.converse("server", ours=TEN, theirs=TEN, close_first=False)

    @coroutine
    async def test_rendezvous(self) -> None:
        """Our rendezvous end and libudt's exchange 10 MB each way; we close."""
        await self.converse("rendezvous", ours=TEN, theirs=TEN)

    @coroutine
    async def test_ipv6(self) -> None:
        """The same over IPv6, in both roles."""
        await self.converse("client", ours=1_000_000, theirs=1_000_000, ip="::1")
        await self.converse("server", ours=1_000_000, theirs=1_000_000, ip="::1")


class LossTests(_Case):
    """2 % of the datagrams lost in each direction."""

    timeout = 150

    @coroutine
    async def test_to_libudt(self) -> None:
        """10 MB from our client arrive at libudt's server."""
        await self.converse("client", ours=TEN, theirs=1000, loss=0.02)

    @coroutine
    async def test_from_libudt(self) -> None:
        """10 MB from libudt's client arrive at our server."""
        await self.converse("server", ours=1000, theirs=TEN, loss=0.02, close_first=False)

    @coroutine
    async def test_rendezvous(self) -> None:
        """A rendezvous comes about, and a megabyte each way arrives."""
        await self.converse("rendezvous", ours=1_000_000, theirs=1_000_000, loss=0.02)


class PlainTests(_Case):
    """One datagram at a time, as where the system has no bursts."""

    mode = PLAIN

    @coroutine
    async def test_client(self) -> None:
        """Our client and libudt's server exchange two megabytes each way."""
        await self.converse("client", ours=2_000_000, theirs=2_000_000)

    @coroutine
    async def test_loss(self) -> None:
        """A rendezvous comes about where 2 % are lost, and what is sent arrives."""
        await self.converse("rendezvous", ours=500_000, theirs=500_000, loss=0.02)


class WrapTests(_Case):
    """Sequence numbers pass from 2**31 - 1 to 0."""

    @coroutine
    async def test_client(self) -> None:
        """Our client chooses the number for both directions."""
        await self.converse("client", ours=500_000, theirs=500_000, choose_isn=lambda: WRAPPING)

    @coroutine
    async def test_rendezvous(self) -> None:
        """In a rendezvous our number serves our direction."""
        await self.converse("rendezvous", ours=500_000, theirs=1000, choose_isn=lambda: WRAPPING)


class ClosingTests(_Case):
    """Either side may close first."""

    @coroutine
    async def test_server_closes(self) -> None:
        """Our server closes when all has come; libudt's client has everything."""
        await self.converse("server", ours=100_000, theirs=100_000)

    @coroutine
    async def test_peer_server_closes(self) -> None:
        """libudt's server closes first; our client has everything."""
        await self.converse("client", ours=100_000, theirs=100_000, close_first=False)

    @coroutine
    async def test_peer_rendezvous_closes(self) -> None:
        """libudt's rendezvous end closes first; ours has everything."""
        await self.converse("rendezvous", ours=100_000, theirs=100_000, close_first=False)

    @coroutine
    async def test_one_byte(self) -> None:
        """A server that speaks first is heard by a libudt client that says nothing."""
        await self.converse("server", ours=1, theirs=0, close_first=False)

    @coroutine
    async def test_lost_shutdown(self) -> None:
        """A libudt peer that missed our SHUTDOWN learns of the end at its next packet."""
        peer = self.peer("listen", "127.0.0.1", there := free_port(), 10_000, "last")
        await peer.told("listening")
        port = self.port()
        stream = Stream(b"x" * 10_000, 0, close_first=False)
        await port.connect(("127.0.0.1", there), factory_of(lambda: stream))
        await sleep(0.3)
        # Forget the connection without a word, as if each SHUTDOWN had been lost.
        [link] = port._sorter.links.values()
        port.forget(link)
        self.assertEqual(await peer.ended, 0)


class SharingTests(_Case):
    """Several connections on one UDP port."""

    @coroutine
    async def test_server(self) -> None:
        """Five connections from one libudt port to our one port: each gets its own bytes back."""
        port = self.port()
        port.listen(factory_of(Echo))
        peer = self.peer("swarm", "127.0.0.1", port.address[1], free_port(), 5, 200_000)
        self.assertEqual(await peer.ended, 0, peer.lines)
        self.assertIn("same 5", peer.lines)

    @coroutine
    async def test_client(self) -> None:
        """Five connections from our one port to libudt's one: each gets its own bytes back."""
        there = free_port()
        peer = self.peer("echo", "127.0.0.1", there)
        await peer.told("listening")
        port = self.port()
        streams = [Stream(pattern(k, 200_000), 200_000, close_first=True) for k in range(5)]
        waiting = [
            port.connect(("127.0.0.1", there), factory_of(partial(_same, stream)))
            for stream in streams
        ]
        for connected in waiting:
            await connected
        for k, stream in enumerate(streams):
            await stream.finished
            self.assertEqual(stream.digest.digest(), hashlib.sha256(pattern(k, 200_000)).digest())

    @coroutine
    async def test_both_roles(self) -> None:
        """One port serves a libudt client and is libudt's client at the same time."""
        there = free_port()
        echo = self.peer("echo", "127.0.0.1", there)
        await echo.told("listening")
        port = self.port()
        port.listen(factory_of(Echo))
        stream = Stream(pattern(1, 100_000), 100_000, close_first=True)
        connected = port.connect(("127.0.0.1", there), factory_of(lambda: stream))
        swarm = self.peer("swarm", "127.0.0.1", port.address[1], free_port(), 2, 100_000)
        await connected
        await stream.finished
        self.assertEqual(stream.received, 100_000)
        self.assertEqual(await swarm.ended, 0, swarm.lines)


class RefusalTests(_Case):
    """A server that takes nobody."""

    @coroutine
    async def test_refused(self) -> None:
        """libudt's client is told that it was refused (error 1002), and need not wait."""
        port = self.port()
        port.listen(factory_of(lambda: None))
        peer = self.peer("connect", "127.0.0.1", port.address[1], 0, 0, "first")
        self.assertEqual(await peer.ended, 3)
        self.assertTrue(peer.lines[0].startswith("error connect 1002"), peer.lines)
