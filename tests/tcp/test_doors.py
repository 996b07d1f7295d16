"""Listening where thousands come at a time."""

import errno
import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from wavesync.signalling.listening import open_streams
from wavesync.tcp.doors import MAX_SERVED, PAUSE, TELL_EVERY, Door
from wavesync.tcp.queueing import Queue
from wavesync.watch import watch_of

reactor: Any = _reactor


class QueueTests(SynchronousTestCase):
    """Who is next, and who is one too many."""

    def taken(self, queue: Queue[str]) -> str:
        """Empty it."""
        found = ""
        while (each := queue.take()) is not None:
            found += each
        return found

    def test_turns(self) -> None:
        """Each source in turn; of one source in the order of coming; whoever comes later as well."""
        queue: Queue[str] = Queue(10)
        for source, each in ("1a", "1b", "1c", "2d", "3e", "2f"):
            self.assertIsNone(queue.put(source.encode(), each))
        self.assertEqual(len(queue), 6)
        self.assertEqual(queue.take(), "a")
        queue.put(b"4", "g")
        self.assertEqual(self.taken(queue), "debgfc")
        self.assertEqual(len(queue), 0)

    def test_limit(self) -> None:
        """At the limit all stay; one past it the source that has most loses its last one."""
        queue: Queue[str] = Queue(4)
        for source, each in ("1a", "1b", "1c", "2d"):
            self.assertIsNone(queue.put(source.encode(), each))
        self.assertEqual(queue.put(b"2", "e"), "c")
        self.assertEqual(queue.put(b"1", "f"), "f")
        self.assertEqual(queue.put(b"3", "g"), "b")
        self.assertEqual(len(queue), 4)
        self.assertEqual(self.taken(queue), "adge")


class _Noted(Protocol):
    """Notes its coming and its end."""

    def connectionMade(self) -> None:
        """It is there."""
        self.factory.made.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.factory.lost += 1


class _Noting(Factory):
    """Notes what it builds.

    :ivar made: protocols that were connected.
    """

    noisy = False
    protocol = _Noted

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.lost = 0
        self.wants = True
        self.started = 0
        self.nameless = False

    def doStart(self) -> None:
        """Note it."""
        self.started += 1

    def doStop(self) -> None:
        """Note it."""
        self.started -= 1

    def buildProtocol(self, addr: Any) -> Any:
        """Build one, if any is wanted."""
        return super().buildProtocol(addr) if self.wants else None


class DoorTests(TestCase):
    """A door on loopback, and whoever comes."""

    timeout = 30

    def setUp(self) -> None:
        """Open nothing yet."""
        self.factory = _Noting()
        self.refused: list[str] = []

    def open(self, **more: Any) -> Door:
        """Listen."""
        (listening,) = open_streams(["127.0.0.1:0"])
        self.address = listening.address
        door = Door(reactor, listening.tcp, self.factory, self.refused.append, **more)
        listening.close()
        self.addCleanup(self.close, door)
        return door

    async def _close(self, door: Door) -> None:
        door.stopListening()
        for each in self.factory.made:
            each.transport.abortConnection()
        await self.until(lambda: self.factory.lost == len(self.factory.made))

    def close(self, door: Door) -> Deferred[None]:
        """Listen no more."""
        return Deferred.fromCoroutine(self._close(door))

    def come(self, host: str) -> socket.socket:
        """Connect from an address of this host; the reactor does nothing meanwhile."""
        made = socket.create_connection(self.address, 10, (host, 0))
        self.addCleanup(made.close)
        made.settimeout(10)
        return made

    async def until(self, what: Any) -> None:
        """Let the reactor work until *what* gives something true."""
        end = reactor.seconds() + 20
        while not what():
            assert reactor.seconds() < end, "it did not come to that"
            await deferLater(reactor, 0.005)

    def test_fair(self) -> Deferred[None]:
        """Behind a crowd from one address somebody else is the second to be served."""

        async def test() -> None:
            self.open()
            for _ in range(2 * MAX_SERVED):
                self.come("127.0.0.2")
            self.come("127.0.0.3").sendall(b"hello")
            await self.until(lambda: len(self.factory.made) == 2 * MAX_SERVED + 1)
            hosts = [each.transport.getPeer().host for each in self.factory.made]
            self.assertEqual(hosts[:3], ["127.0.0.2", "127.0.0.3", "127.0.0.2"])
            self.assertEqual(self.refused, [])

        return Deferred.fromCoroutine(test())

    def test_share(self) -> Deferred[None]:
        """No more than so many are served in one turn, so that those who are here have theirs."""

        async def test() -> None:
            self.open()
            for _ in range(MAX_SERVED + 1):
                self.come("127.0.0.2")
            counts: list[int] = []

            def watch() -> None:
                counts.append(len(self.factory.made))
                if counts[-1] <= MAX_SERVED:
                    reactor.callLater(0, watch)

            watch()
            await self.until(lambda: len(self.factory.made) == MAX_SERVED + 1)
            self.assertIn(MAX_SERVED, counts)

        return Deferred.fromCoroutine(test())

    def test_too_many(self) -> Deferred[None]:
        """Those that are too many are closed at once; it is the crowd's own, nobody else's."""

        async def test() -> None:
            self.open(waiting=8)
            crowd = [self.come("127.0.0.2") for _ in range(20)]
            other = self.come("127.0.0.3")
            await self.until(lambda: len(self.factory.made) == 8)
            self.assertEqual(self.refused, ["127.0.0.2"] * 13)
            hosts = [each.transport.getPeer().host for each in self.factory.made]
            self.assertEqual(hosts.count("127.0.0.3"), 1)
            with self.assertRaises(ConnectionResetError):
                crowd[-1].recv(1)
            for each in self.factory.made:
                each.transport.write(b"here")
            await deferLater(reactor, 0.05)
            self.assertEqual((crowd[0].recv(9), other.recv(9)), (b"here", b"here"))

        return Deferred.fromCoroutine(test())

    def test_stop(self) -> Deferred[None]:
        """Who waits when it ends is told at once; the factory hears of begin and end."""

        async def test() -> None:
            door = self.open()
            self.assertEqual(self.factory.started, 1)
            waiting = self.come("127.0.0.2")
            door.doRead()
            door.stopListening()
            door.stopListening()
            self.assertEqual(self.factory.started, 0)
            with self.assertRaises(ConnectionResetError):
                waiting.recv(1)
            with self.assertRaises(ConnectionRefusedError):
                self.come("127.0.0.2")

        return Deferred.fromCoroutine(test())

    def test_gone(self) -> Deferred[None]:
        """Who has gone again costs nothing, nor does one that the factory does not want."""

        async def test() -> None:
            self.open()
            gone = self.come("127.0.0.2")
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.close()
            self.come("127.0.0.3")
            await self.until(lambda: self.factory.made)
            self.assertEqual(len(self.factory.made), 1)
            self.factory.wants = False
            unwanted = self.come("127.0.0.2")
            unwanted.setblocking(False)
            await self.until(lambda: _ended(unwanted))

        return Deferred.fromCoroutine(test())


def _ended(made: socket.socket) -> bool:
    try:
        return made.recv(1) == b""
    except BlockingIOError:
        return False


class _Turns(Clock):
    """Time, and readers that nobody looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        directlyProvides(self, IReactorFDSet, IReactorSocket, IReactorTime)

    def addReader(self, reader: Any) -> None:
        """Note it."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Note it."""
        if reader in self.readers:
            self.readers.remove(reader)


class _Crowded:
    """A listening socket of a process whose files are limited.

    :ivar files: how many more there may be.
    :ivar coming: connections that have not been taken.
    """

    family = socket.AF_INET

    def __init__(self, files: int, coming: int) -> None:
        self.files = files
        self.coming = coming

    def dup(self) -> Any:
        """One file more."""
        self.files -= 1
        return self

    def close(self) -> None:
        """One file less."""
        self.files += 1

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Take a connection."""
        if not self.coming:
            raise BlockingIOError
        if self.files < 1:
            raise OSError(errno.EMFILE, "Too many open files")
        self.coming -= 1
        made, other = socket.socketpair()
        other.close()
        return made, ("192.0.2.1", 4711)


class WatchedDoorTests(DoorTests):
    """The same with connections of our own."""

    def open(self, **more: Any) -> Door:
        """Listen."""
        return super().open(watch=watch_of(reactor), **more)

    def test_stop(self) -> Deferred[None]:
        """Who waits when it ends is told at once; those that were served go on."""

        async def test() -> None:
            door = self.open()
            crowd = [self.come("127.0.0.2") for _ in range(MAX_SERVED + 1)]
            door.doRead()
            door.stopListening()
            self.assertEqual((self.factory.started, len(self.factory.made)), (0, MAX_SERVED))
            with self.assertRaises(ConnectionResetError):
                crowd[-1].recv(1)
            with self.assertRaises(ConnectionRefusedError):
                self.come("127.0.0.2")

        return Deferred.fromCoroutine(test())

    def test_gone(self) -> Deferred[None]:
        """Who has gone again is lost at once; one that the factory does not want is closed."""

        async def test() -> None:
            self.open()
            gone = self.come("127.0.0.2")
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.close()
            self.come("127.0.0.3")
            await self.until(lambda: self.factory.lost == 1)
            self.assertEqual(len(self.factory.made), 2)
            self.factory.wants = False
            unwanted = self.come("127.0.0.2")
            unwanted.setblocking(False)
            await self.until(lambda: _ended(unwanted))

        return Deferred.fromCoroutine(test())

    def test_who(self) -> Deferred[None]:
        """A factory that wants to know where a connection comes from is told, another is not."""

        async def test() -> None:
            told: list[Any] = []
            build = self.factory.buildProtocol
            self.factory.buildProtocol = lambda addr: told.append(addr) or build(addr)  # type: ignore[method-assign, func-returns-value]
            for nameless in (False, True):
                self.factory.nameless = nameless
                door = self.open()
                self.come("127.0.0.2")
                await self.until(lambda here=nameless: len(told) == 1 + here)
                door.stopListening()
            self.assertEqual((told[0].host, told[1]), ("127.0.0.2", None))

        return Deferred.fromCoroutine(test())


class FullTests(SynchronousTestCase):
    """A system that has no room for another connection."""

    def test_full(self) -> None:
        """Those that come are closed, one line in a minute says so, and it goes on after a rest."""
        clock: Any = _Turns()
        refused: list[str] = []
        crowded: Any = _Crowded(2, 0)
        door = Door(clock, crowded, _Noting(), refused.append)
        with capturedLogs() as lines:
            for number in range(1, 4):
                crowded.coming = 5
                door.doRead()
                self.assertEqual((crowded.coming, len(refused)), (0, 5 * number))
                self.assertEqual(clock.readers, [])
                clock.advance(PAUSE)
                self.assertEqual(clock.readers, [door])
        self.assertEqual(len(lines), 1)
        clock.advance(TELL_EVERY)
        with capturedLogs() as lines:
            crowded.coming = 5
            door.doRead()
        self.assertEqual(len(lines), 1)
        door.stopListening()
        self.assertEqual((clock.readers, clock.getDelayedCalls()), ([], []))
