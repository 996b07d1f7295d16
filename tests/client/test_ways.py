"""Tests for :mod:`wavesync.client.ways`."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.test_hole import FakeSession
from tests.client.test_paths import FakePort, FakeSessions
from wavesync.client.ways import MAX_KNOWN, RECALL_LIFE, Ways


class WaysTests(SynchronousTestCase):
    """What worked is taken again, by every name it is known under."""

    def setUp(self) -> None:
        reactor: Any = MemoryReactorClock()
        self.reactor = reactor
        self.port = FakePort()
        self.sessions = FakeSessions()
        self.ways = Ways(reactor, self.port)

    def remember(self, name: str, server: str, kind: str = "tcp") -> None:
        """Keep a way."""
        session: Any = FakeSession()
        session.path_kind = kind
        self.ways.remember(name, server, session, ("198.51.100.1", 1), self.sessions)

    def test_names(self) -> None:
        """A system's name leads to the server that was found for it, which has its own."""
        self.remember("system", "a.system")
        way = self.ways.get("system")
        assert way is not None
        self.assertIs(self.ways.get("a.system"), way)
        self.assertEqual((way.kind, way.server), ("tcp", "a.system"))
        self.assertIsNone(self.ways.get("b.system"))
        self.ways.forget(way)
        self.assertIsNone(self.ways.get("system"))
        self.ways.forget(way)

    def test_newer(self) -> None:
        """A newer way to a server takes the older one's place, and its hole is let go."""
        self.remember("a", "a", "udp")
        held = self.sessions.waiting[0]
        self.assertEqual(len(self.port.asked), 1)
        self.remember("a", "a", "tcp")
        self.assertTrue(held.called)
        way = self.ways.get("a")
        assert way is not None
        self.assertEqual((way.kind, len(self.ways)), ("tcp", 1))
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_limit(self) -> None:
        """So many are kept and not one more; the oldest goes."""
        for number in range(MAX_KNOWN):
            self.remember(str(number), str(number))
        self.assertEqual(len(self.ways), MAX_KNOWN)
        self.assertIsNotNone(self.ways.get("0"))
        self.remember("new", "new")
        self.assertEqual(len(self.ways), MAX_KNOWN)
        self.assertIsNone(self.ways.get("0"))
        self.assertIsNotNone(self.ways.get("1"))

    def test_recall(self) -> None:
        """A hole that was given up is found again for a while, by every name that led to it."""
        self.remember("system", "a", "udp")
        self.assertIsNone(self.ways.recall("a"))
        hole = self.ways.get("a")
        assert hole is not None
        self.ways.forget(hole)
        for name in ("a", "system"):
            way = self.ways.recall(name)
            assert way is not None
            self.assertEqual((way.server, way.address, way.closed), ("a", hole.address, False))
        self.reactor.advance(RECALL_LIFE)
        self.assertIsNone(self.ways.recall("a"))

    def test_recall_limit(self) -> None:
        """So many are kept and not one more; the oldest goes.  Direct TCP needs no recalling."""
        for number in range(MAX_KNOWN + 1):
            self.remember(str(number), str(number), "udp")
            way = self.ways.get(str(number))
            assert way is not None
            self.ways.forget(way)
        self.assertIsNone(self.ways.recall("0"))
        self.assertIsNotNone(self.ways.recall("1"))
        self.assertIsNotNone(self.ways.recall(str(MAX_KNOWN)))
        self.remember("t", "t", "tcp")
        way = self.ways.get("t")
        assert way is not None
        self.ways.forget(way)
        self.assertIsNone(self.ways.recall("t"))

    def test_close(self) -> None:
        """Closing forgets all of them and leaves nothing."""
        self.remember("a", "a", "udp")
        self.remember("b", "b", "tcp")
        self.ways.close()
        self.assertEqual(len(self.ways), 0)
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_a_way_makes_paths(self) -> None:
        """Each connection gets a path of its own."""
        self.remember("a", "a", "tcp")
        way = self.ways.get("a")
        assert way is not None
        one, two = way.path(), way.path()
        self.assertIsNot(one, two)
        self.assertEqual(one.addresses, [("198.51.100.1", 1)])

    def test_learner(self) -> None:
        """How long mappings live is found out from the first hole on, until all is closed."""
        calls: list[str] = []

        class Learner:
            def start(self) -> None:
                calls.append("start")

            def stop(self) -> None:
                calls.append("stop")

        learner: Any = Learner()
        reactor: Any = self.reactor
        self.ways = Ways(reactor, self.port, learner)
        self.remember("a", "a", "tcp")
        self.assertEqual(calls, [])
        self.remember("b", "b", "udp")
        self.assertEqual(calls, ["start"])
        self.ways.close()
        self.assertEqual(calls, ["start", "stop"])
