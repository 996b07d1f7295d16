"""Tests for :mod:`wavesync.tcp.opening` and what it is made of, on loopback.

Loopback has no way long enough for two SYNs to meet on it: here the later end's SYN finds the other
end's listener.  The laboratory has real simultaneous opens (``tests/lab/test_tcp_opening.py``).
"""

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IReactorTime, IReadDescriptor, IWriteDescriptor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.tcp.support import Talkers, descriptors, free_port, has_ipv6
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.tcp.accepting import Accepting, Listeners
from wavesync.tcp.attempts import MAX_ATTEMPTS
from wavesync.tcp.dial import Dial
from wavesync.tcp.opening import Opening
from wavesync.tcp.sockets import (
    dying,
    ended_well,
    listening_socket,
    shared_socket,
    why_not,
)

LONG = 10.0


def pause(seconds: float) -> Deferred[None]:
    """Let time pass."""
    return deferLater(IReactorTime(reactor), seconds, lambda: None)


async def until(question: Callable[[], bool]) -> None:
    """Let time pass until the answer is yes, or ten seconds."""
    for _ in range(1000):
        if question():
            return
        await pause(0.01)


async def ended(stranger: socket.socket) -> bool:
    """Tell whether the other end closes a connection without a word."""
    for _ in range(1000):
        try:
            return stranger.recv(1) == b""
        except BlockingIOError:
            await pause(0.01)
    return False


class OpeningTests(TestCase):
    """Two ends that dial each other get exactly one connection, and leave nothing behind."""

    def setUp(self) -> None:
        self.before = descriptors()
        self.one = Talkers(b"one")
        self.other = Talkers(b"other")

    def opening(self, own: Address, remote: Address, factory: Factory, **options: Any) -> Opening:
        """Begin, to be given up with the test."""
        options.setdefault("timeout", LONG)
        opening = Opening(reactor, own, remote, factory, **options)  # type: ignore[arg-type]
        self.addCleanup(opening.connected.cancel)
        return opening

    async def hang_up(self) -> None:
        """Close what stands, and find no descriptor left."""
        for talker in (*self.one.made, *self.other.made):
            assert talker.transport is not None
            talker.transport.loseConnection()
        for _ in range(200):
            if descriptors() == self.before:
                return
            await pause(0.01)
        self.assertEqual(descriptors(), self.before)

    async def check_pair(self, host: str) -> None:
        """Open from both ends, exchange words, hang up."""
        a, b = free_port(host), free_port(host)
        openings = [self.opening(a, b, self.one), self.opening(b, a, self.other)]
        await gatherResults([each.connected for each in openings])
        await until(lambda: bool(self.one.made[0].heard and self.other.made[0].heard))
        (one,), (other,) = self.one.made, self.other.made
        self.assertEqual((one.heard, other.heard), (b"other", b"one"))
        assert one.transport is not None
        ends = one.transport.getHost(), one.transport.getPeer()
        self.assertEqual([(end.host, end.port) for end in ends], [a, b])  # type: ignore[attr-defined]
        await self.hang_up()

    async def test_pair(self) -> None:
        """Both ends have one connection, between the two ports that they were told."""
        await self.check_pair("127.0.0.1")

    async def test_ipv6(self) -> None:
        """The same over IPv6."""
        if not has_ipv6():
            self.skipTest("there is no IPv6 here")
        await self.check_pair("::1")

    async def test_port_in_use(self) -> None:
        """The port may be that of a connection which goes on: the leg to a mediator."""
        a, b = free_port(), free_port()
        with socket.create_server(("127.0.0.1", 0)) as mediator, shared_socket(a) as leg:
            leg.connect_ex(mediator.getsockname())
            openings = [self.opening(a, b, self.one), self.opening(b, a, self.other)]
            await gatherResults([each.connected for each in openings])
            leg.getpeername()
        await self.hang_up()

    async def test_later_end(self) -> None:
        """An end that was refused goes on until the other one has come."""
        a, b = free_port(), free_port()
        first = self.opening(a, b, self.one)
        await pause(0.2)
        self.assertFalse(first.connected.called)
        second = self.opening(b, a, self.other)
        await gatherResults([first.connected, second.connected])
        await self.hang_up()

    async def test_delay(self) -> None:
        """Until the delay is over nothing is sent, but whoever comes is let in."""
        a, b = free_port(), free_port()
        with listening_socket(b) as peer:
            waiting = self.opening(a, b, self.one, delay=LONG)
            await pause(0.1)
            self.assertFalse(waiting.connected.called)
            self.assertRaises(BlockingIOError, peer.accept)
        with shared_socket(b) as peer:
            peer.connect_ex(a)
            await waiting.connected
        await self.hang_up()

    async def test_nobody(self) -> None:
        """Against nobody an end gives up in time, after so many attempts at most, with a sentence."""
        opening = self.opening(free_port(), free_port(), self.one, timeout=0.5)
        try:
            await opening.connected
        except ConnectFailed as error:
            self.assertIn("nothing came through: refused (", str(error))
            attempts = int(str(error).rpartition("(")[2].split()[0])
            self.assertLessEqual(attempts, MAX_ATTEMPTS)
            self.assertGreater(attempts, 1)
        else:
            self.fail("there was nobody")
        await self.hang_up()

    async def test_cancel(self) -> None:
        """Giving up closes everything."""
        opening = self.opening(free_port(), free_port(), self.one)
        opening.connected.cancel()
        await self.assertFailure(opening.connected, CancelledError)
        await self.hang_up()

    async def test_no_answer(self) -> None:
        """Against somebody who says nothing there is one attempt, which ends with the time."""
        with socket.socket() as full:  # a listener whose backlog is full does not answer
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            cancelled = self.opening(free_port(), full.getsockname(), self.one)
            opening = self.opening(free_port(), full.getsockname(), self.one, timeout=0.3)
            error = await self.assertFailure(opening.connected, ConnectFailed)
            cancelled.connected.cancel()
            await self.assertFailure(cancelled.connected, CancelledError)
            for filler in fillers:
                filler.close()
        self.assertEqual(str(error), "dialled from both ends, nothing came through: no answer")
        self.assertEqual(descriptors(), self.before)
        await self.hang_up()

    async def test_impossible(self) -> None:
        """What cannot pass with time is said at once."""
        opening = self.opening(free_port(), ("::1", 9), self.one)
        self.failureResultOf(opening.connected, ConnectFailed)
        await self.hang_up()

    async def test_taken(self) -> None:
        """A port that somebody else has for himself is no use, which is said at once."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            opening = self.opening(taken.getsockname(), free_port(), self.one)
            failure = self.failureResultOf(opening.connected, ConnectFailed)
            self.assertIn("taken by somebody else", failure.getErrorMessage())
        await self.hang_up()

    async def test_stranger(self) -> None:
        """Somebody else who finds the port is sent away; the peer is still awaited."""
        a, b = free_port(), free_port()
        opening = self.opening(a, b, self.one, delay=LONG)
        with shared_socket(("127.0.0.1", 0)) as stranger, shared_socket(b) as peer:
            stranger.connect_ex(a)
            self.assertTrue(await ended(stranger))
            self.assertFalse(opening.connected.called)
            peer.connect_ex(a)
            await opening.connected
        self.assertEqual(len(self.one.made), 1)
        await self.hang_up()

    async def test_any_port(self) -> None:
        """Where that is wanted, the peer may come from another port of its host."""
        a = free_port()
        opening = self.opening(a, free_port(), self.one, delay=LONG, any_port=True)
        with shared_socket(("127.0.0.1", 0)) as peer:
            peer.connect_ex(a)
            await opening.connected
        await self.hang_up()

    async def test_several(self) -> None:
        """At one port several peers can be waited for; each connection goes to the right one."""
        others: list[socket.socket] = []
        listeners = Listeners(reactor, others.append)
        own = free_port()
        remotes = [free_port() for _ in range(8)]
        openings = [
            self.opening(own, remote, self.one, delay=LONG, listeners=listeners)
            for remote in remotes
        ]
        peers = [shared_socket(remote) for remote in remotes]
        for peer in peers:
            self.assertEqual(len(listeners), 1)
            peer.connect_ex(own)
        await gatherResults([each.connected for each in openings])
        self.assertEqual(len(listeners), 0)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, own)
        talked = [talker.transport.getPeer() for talker in self.one.made if talker.transport]
        self.assertEqual({(at.host, at.port) for at in talked}, set(remotes))  # type: ignore[attr-defined]
        self.assertEqual(others, [])
        for peer in peers:
            peer.close()
        await self.hang_up()

    async def test_not_waited_for(self) -> None:
        """Who connects to such a port before he is waited for is handed on, not sent away."""
        others: list[socket.socket] = []
        listeners = Listeners(reactor, others.append)
        own = free_port()
        opening = self.opening(own, free_port(), self.one, delay=LONG, listeners=listeners)
        with shared_socket(("127.0.0.1", 0)) as early:
            early.connect_ex(own)
            await until(lambda: bool(others))
            (other,) = others
            self.assertEqual(other.getpeername(), early.getsockname())
            other.close()
        self.assertFalse(opening.connected.called)
        opening.connected.cancel()
        await self.assertFailure(opening.connected, CancelledError)
        self.assertEqual(len(listeners), 0)
        await self.hang_up()

    async def test_other_host(self) -> None:
        """But never from another host."""
        a = free_port()
        opening = self.opening(a, ("127.0.0.2", 9), self.one, delay=LONG, any_port=True)
        with shared_socket(("127.0.0.1", 0)) as stranger:
            stranger.connect_ex(a)
            self.assertTrue(await ended(stranger))
        self.assertFalse(opening.connected.called)
        opening.connected.cancel()
        await self.assertFailure(opening.connected, CancelledError)
        await self.hang_up()

    async def test_no_protocol(self) -> None:
        """A factory that wants no connection has it closed."""
        a, b = free_port(), free_port()
        unwilling = Factory()
        unwilling.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        opening = self.opening(a, b, unwilling, delay=LONG)
        with shared_socket(b) as peer:
            peer.connect_ex(a)
            await self.assertFailure(opening.connected, NoProtocol)
        await self.hang_up()


class PartTests(TestCase):
    """The sockets, and what the reactor sees of them."""

    def test_interfaces(self) -> None:
        """The reactor can watch both kinds."""
        made = Accepting(reactor, free_port(), lambda *_: None)
        verifyObject(IReadDescriptor, made)
        made.close()
        made.close()
        self.assertEqual((made.fileno(), made.logPrefix()), (-1, "wavesync accepting"))
        dial = Dial(reactor, ("127.0.0.1", 0), ("127.0.0.1", 9), print, print)
        verifyObject(IWriteDescriptor, dial)
        self.assertEqual((dial.fileno(), dial.logPrefix()), (-1, "wavesync dial"))

    def test_dying(self) -> None:
        """Only what leaves meanwhile dies on the way, and nobody's word of it is believed."""
        for host in ("127.0.0.1", *(("::1",) if has_ipv6() else ())):
            six = ":" in host
            level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
            hops = socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL
            least = 73 if six else 21
            with shared_socket((host, 0)) as made:
                usual = made.getsockopt(level, hops)
                with dying(made, 3):
                    if sys.platform.startswith("linux"):
                        self.assertEqual(made.getsockopt(level, hops), 3)
                        self.assertEqual(made.getsockopt(level, least), 2)
                self.assertEqual(made.getsockopt(level, hops), usual)
                self.assertGreater(usual, 30)

    def test_connected_after_all(self) -> None:
        """A connection that stands is one, whatever was said of an earlier SYN."""

        class Made(socket.socket):
            """A socket that has heard of a host that cannot be reached."""

            def getsockopt(self, *_: Any) -> Any:
                return errno.EHOSTUNREACH

        with Made() as made, listening_socket(("127.0.0.1", 0)) as listener:
            self.assertEqual(ended_well(made), errno.EHOSTUNREACH)
            made.connect(listener.getsockname())
            self.assertEqual(ended_well(made), 0)

    def test_lost(self) -> None:
        """A reactor that only says that a connect is lost has said enough."""
        errors: list[int] = []
        with listening_socket(("127.0.0.1", 0)) as listener:
            remote = listener.getsockname()
            dial = Dial(reactor, ("127.0.0.1", 0), remote, lambda made: made.close(), errors.append)
            dial.start()
            dial.connectionLost(Failure(OSError()))
            dial.connectionLost(Failure(OSError()))
        self.assertEqual(errors, [errno.ECONNRESET])

    def test_unwatched(self) -> None:
        """A listener that the reactor gives up is closed."""
        own = free_port()
        Accepting(reactor, own, lambda *_: None).connectionLost(Failure(OSError()))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, own)

    def test_cannot_listen(self) -> None:
        """Two listeners that do not share leave no descriptor."""
        before = descriptors()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.assertRaises(OSError, listening_socket, taken.getsockname())
        self.assertRaises(OSError, shared_socket, ("192.0.2.1", 0))
        self.assertEqual(descriptors(), before)

    def test_words(self) -> None:
        """Every error has words."""
        self.assertEqual(why_not(errno.ECONNREFUSED), "refused")
        self.assertEqual(why_not(errno.ETIMEDOUT), "no answer")
        self.assertEqual(why_not(errno.EACCES), "Permission denied")
