"""Tests for :mod:`wavesync.watch`, each with a reactor of its own."""

import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wavesync.watch import MAX_EVENTS, READS, WRITES, Watch, watch_of


def _reactor() -> Any:
    return EPollReactor()


class Noting:
    """Notes what it is told.

    :ivar told: the events of each time.
    :ivar failed: what :meth:`ready` has raised.
    """

    def __init__(self, wrong: Exception | None = None) -> None:
        self.told: list[int] = []
        self.failed: list[Failure] = []
        self._wrong = wrong

    def ready(self, events: int) -> None:
        """Note it, or raise."""
        self.told.append(events)
        if self._wrong is not None:
            raise self._wrong

    def fail(self, failure: Failure) -> None:
        """Note it."""
        self.failed.append(failure)


class _Old:
    """A descriptor that goes Twisted's way."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.read = b""

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        return "old"

    def doRead(self) -> None:
        self.read += self._end.recv(10)

    def connectionLost(self, reason: Failure) -> None:
        """Nothing."""


class WatchTests(SynchronousTestCase):
    """Beneath Twisted's reactor, and, in :class:`LeadTests`, in front of it."""

    leads = False

    def setUp(self) -> None:
        """Make a reactor."""
        self.reactor = _reactor()
        self.addCleanup(self.reactor.removeAll)
        self.watch = Watch(self.reactor)
        self.readers = len(self.reactor.getReaders())
        if self.leads:
            self.assertTrue(self.watch.lead())

    def ends(self) -> tuple[socket.socket, socket.socket]:
        """Make a pair of sockets."""
        made = socket.socketpair()
        for end in made:
            end.setblocking(False)
            self.addCleanup(end.close)
        return made

    def turn(self) -> None:
        """Let the reactor have a turn, without waiting."""
        self.reactor.iterate(0)

    def test_events(self) -> None:
        """Who watches is told of what it wants to know, as long as it does, and only then."""
        one, other = self.ends()
        noting = Noting()
        self.watch.change(one.fileno(), noting, 0, READS)
        self.turn()
        self.assertEqual(noting.told, [])
        other.send(b"?")
        self.turn()
        self.turn()
        self.assertEqual(noting.told, [READS, READS])
        self.watch.change(one.fileno(), noting, READS, READS | WRITES)
        self.turn()
        self.assertEqual(noting.told[2:], [READS | WRITES])
        self.watch.change(one.fileno(), noting, READS | WRITES, 0)
        self.turn()
        self.assertEqual((len(noting.told), len(self.watch)), (3, 0))

    def test_successor(self) -> None:
        """A successor is told from now on."""
        one, other = self.ends()
        first, second = Noting(), Noting()
        self.watch.change(one.fileno(), first, 0, READS)
        self.watch.replace(one.fileno(), second)
        other.send(b"?")
        self.turn()
        self.assertEqual((first.told, second.told), ([], [READS]))

    def test_closed(self) -> None:
        """A descriptor that was closed is forgotten, and one that gets its number is new."""
        one, _ = self.ends()
        first, second = Noting(), Noting()
        self.watch.change(one.fileno(), first, 0, READS)
        number = one.fileno()
        self.watch.forget(number)
        one.close()
        again = socket.socket(socket.AF_UNIX)
        self.addCleanup(again.close)
        self.assertEqual(again.fileno(), number)
        self.watch.change(number, second, 0, READS)
        self.turn()
        self.assertEqual(first.told, [])

    def test_leaves_nothing(self) -> None:
        """Once nothing is watched the reactor knows nothing of it, and again when something is."""
        for _ in range(2):
            one, other = self.ends()
            noting = Noting()
            self.watch.change(one.fileno(), noting, 0, READS)
            other.send(b"?")
            self.turn()
            self.watch.forget(one.fileno())
            self.assertEqual(noting.told, [READS])
            self.assertEqual(len(self.reactor.getReaders()), self.readers)

    def test_wrong(self) -> None:
        """One that fails is told so, it is logged, and others get their turn."""
        noted = [Noting(ValueError("no")), Noting(), Noting(KeyError("no"))]
        for noting in noted:
            one, other = self.ends()
            other.send(b"?")
            self.watch.change(one.fileno(), noting, 0, READS)
        self.turn()
        self.assertEqual([noting.told for noting in noted], [[READS]] * 3)
        self.assertEqual([len(noting.failed) for noting in noted], [1, 0, 1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError, KeyError)), 2)

    def test_twisted(self) -> None:
        """What goes Twisted's way gets its turns as well, and so do timers."""
        one, other = self.ends()
        self.watch.change(one.fileno(), Noting(), 0, READS)
        mine, far = self.ends()
        old = _Old(mine)
        self.reactor.addReader(old)
        far.send(b"here")
        other.send(b"?")
        late: list[int] = []
        self.reactor.callLater(0, late.append, 1)
        self.turn()
        self.reactor.removeReader(old)
        self.assertEqual((old.read, late), (b"here", [1]))

    def test_most(self) -> None:
        """In one turn so many are served, and the others in the next."""
        noting = Noting()
        for _ in range(MAX_EVENTS + 1):
            one, other = self.ends()
            other.send(b"?")
            self.watch.change(one.fileno(), noting, 0, READS)
        self.turn()
        self.assertEqual(len(noting.told), MAX_EVENTS)
        self.turn()
        self.assertTrue(len(noting.told) > MAX_EVENTS)


class LeadTests(WatchTests):
    """The reactor waits for ours."""

    leads = True

    def test_once(self) -> None:
        """It does so once, and not when something is watched the other way."""
        self.assertFalse(self.watch.lead())
        reactor = _reactor()
        self.addCleanup(reactor.removeAll)
        other = Watch(reactor)
        one, _ = self.ends()
        other.change(one.fileno(), Noting(), 0, READS)
        self.assertFalse(other.lead())

    def test_waits(self) -> None:
        """The reactor waits as long as it is told, and no longer when something comes."""
        start = self.reactor.seconds()
        self.reactor.iterate(0.05)
        self.assertTrue(self.reactor.seconds() - start >= 0.04)


class WhereTests(SynchronousTestCase):
    """Where there is a watch."""

    def test_no_descriptors(self) -> None:
        """What has no descriptors has none; a reactor has one, always the same."""
        self.assertIsNone(watch_of(Clock()))
        reactor = _reactor()
        self.addCleanup(reactor.removeAll)
        self.assertIdentical(watch_of(reactor), watch_of(reactor))
