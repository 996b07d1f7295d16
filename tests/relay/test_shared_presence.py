"""Presence among relays that share a store, without a real one."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wavesync.identity.ids import Target
from wavesync.relay.presence import IPresence, NotKnown
from wavesync.relay.presence_ledger import BATCH, REFRESH, Ledger
from wavesync.relay.presence_store import ALIVE, KEPT, StoreError
from wavesync.relay.shared_presence import (
    ANSWER_TIME,
    BEAT,
    CONNECT_TIME,
    LASTING,
    LONGEST_PAUSE,
    LOOKUP_TIME,
    MAX_LOOKUPS,
    SHORTEST_PAUSE,
    SharedPresence,
)
from wavesync.signalling.relay_urls import Relay, parse_relay

HERE, THERE = parse_relay("http://here.example"), parse_relay("http://there.example")
SYSTEM = "b" * 32


def server(number: int) -> Target:
    """One of many servers."""
    return Target(SYSTEM, f"{number:032x}")


class LedgerTests(SynchronousTestCase):
    """What is to be told, and when."""

    def setUp(self) -> None:
        """Nobody is here."""
        self.ledger = Ledger()

    def test_told(self) -> None:
        """Who comes and goes is told once; who stays is told again after half a minute."""
        ledger = self.ledger
        self.assertIsNone(ledger.deadline())
        ledger.arrived(server(1))
        ledger.arrived(server(2))
        self.assertEqual(ledger.deadline(), float("-inf"))
        self.assertEqual(ledger.take(0.0), ([server(1), server(2)], []))
        self.assertEqual(ledger.take(0.0), ([], []))
        self.assertEqual(ledger.deadline(), REFRESH)
        ledger.left(server(1))
        self.assertEqual(ledger.deadline(), float("-inf"))
        self.assertEqual(ledger.take(1.0), ([], [server(1)]))
        self.assertEqual(ledger.take(REFRESH - 0.1), ([], []))
        self.assertEqual(ledger.take(REFRESH), ([server(2)], []))
        self.assertEqual(ledger.deadline(), 2 * REFRESH)
        self.assertEqual(len(ledger), 1)

    def test_changes_of_mind(self) -> None:
        """Who goes before it was told is not told of; who comes back is told again."""
        ledger = self.ledger
        ledger.arrived(server(1))
        ledger.left(server(1))
        ledger.left(server(2))
        self.assertEqual(ledger.take(0.0), ([], []))
        ledger.arrived(server(1))
        ledger.take(0.0)
        ledger.left(server(1))
        ledger.arrived(server(1))
        self.assertEqual(ledger.take(1.0), ([server(1)], []))

    def test_afresh(self) -> None:
        """When nobody knows anything any more, all are told again, and nobody is taken back."""
        ledger = self.ledger
        for number in range(3):
            ledger.arrived(server(number))
        ledger.take(0.0)
        ledger.left(server(0))
        ledger.arrived(server(3))
        ledger.afresh()
        self.assertEqual(ledger.take(1.0), ([server(1), server(2), server(3)], []))

    def test_batches(self) -> None:
        """A message has so many servers, and no more."""
        ledger = self.ledger
        for number in range(BATCH + 1):
            ledger.arrived(server(number))
        self.assertEqual([len(ledger.take(0.0)[0]) for _ in range(3)], [BATCH, 1, 0])
        self.assertEqual([len(ledger.take(REFRESH)[0]) for _ in range(3)], [BATCH, 1, 0])
        for number in range(BATCH + 1):
            ledger.left(server(number))
        self.assertEqual([len(ledger.take(31.0)[1]) for _ in range(3)], [BATCH, 1, 0])
        self.assertIsNone(ledger.deadline())

    def test_in_time(self) -> None:
        """The store is told again before it forgets, with time to spare."""
        self.assertLess(2 * REFRESH, KEPT)
        self.assertLess(2 * BEAT + ANSWER_TIME / 2, ALIVE)


class Store:
    """A store that answers at once, or not.

    :ivar said: what it was told, without signs of life.
    :ivar known: relay to life.
    """

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()
        self.said: list[tuple[str, str, Any]] = []
        self.known: dict[str, str] = {}
        self.beats = 0
        self.found: list[str] = []
        self.silent = self.closed = False
        self.error: Exception | None = None

    def _answer(self, what: Any) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        return Deferred() if self.silent else succeed(what)

    def beat(self, relay: str, life: str) -> Deferred[str | None]:
        """Remember it."""
        self.beats += 1
        before = self.known.get(relay)
        if not self.silent:
            self.known[relay] = life
        return self._answer(before)

    def end(self, relay: str, life: str) -> Deferred[None]:
        """Forget it."""
        self.said.append(("end", life, relay))
        return self._answer(None)

    def here(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """Keep it."""
        self.said.append(("here", life, list(servers)))
        return self._answer(None)

    def gone(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """Keep it."""
        self.said.append(("gone", life, list(servers)))
        return self._answer(None)

    def find(self, server: str, but: str) -> Deferred[list[str]]:
        """Answer with what the test wants."""
        assert but == str(HERE)
        return self._answer(self.found)

    def close(self) -> None:
        """Lose the connection."""
        self.closed = True
        self.lose()

    def lose(self) -> None:
        """The connection is lost."""
        if not self.lost.called:
            self.lost.callback(None)


class SharedPresenceTests(SynchronousTestCase):
    """What others know of this relay, and what this one learns of others."""

    def setUp(self) -> None:
        """A relay whose store cannot be connected to yet."""
        self.clock = Clock()
        self.connecting: list[Deferred[Any]] = []
        self.lives = 0
        self.presence = SharedPresence(
            self.clock, HERE, "the store", self.connect, random=self.random, chance=lambda: 0.0
        )
        self.log: list[tuple[LogLevel, str]] = []
        observe: Any = self.observe
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.addCleanup(self.stopped)

    def stopped(self) -> None:
        """When it has stopped, nothing is left to do."""
        self.successResultOf(self.presence.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flushLoggedErrors()

    def observe(self, event: Any) -> None:
        """Keep what it logs."""
        if event.get("log_namespace", "").endswith("SharedPresence"):
            self.log.append((event["log_level"], event["log_format"]))

    def random(self, size: int) -> bytes:
        """Another one each time."""
        self.lives += 1
        return self.lives.to_bytes(size, "big")

    def connect(self) -> Deferred[Any]:
        """Wait for the test."""
        self.connecting.append(Deferred())
        return self.connecting[-1]

    def connected(self, store: Store | None = None) -> Store:
        """The connection is made."""
        store = Store() if store is None else store
        self.connecting[-1].callback(store)
        return store

    def started(self) -> Store:
        """It is started and connected."""
        self.presence.start()
        return self.connected()

    def find(self) -> Relay | None:
        """Look for a server, and get the answer at once."""
        return self.successResultOf(self.presence.find(server(9)))

    def unknown(self) -> None:
        """Look for a server, and hear at once that nothing is known."""
        self.failureResultOf(self.presence.find(server(9)), NotKnown)

    def test_interface(self) -> None:
        """It is what relays expect."""
        verifyObject(IPresence, self.presence)

    def test_tells(self) -> None:
        """Who comes is told at once, who comes meanwhile together, and who goes, too."""
        store = self.started()
        self.presence.arrived(server(1))
        life = store.known[str(HERE)]
        self.assertEqual(store.said, [("here", life, [str(server(1))])])
        store.said.clear()
        self.presence.left(server(1))
        self.assertEqual(store.said, [("gone", life, [str(server(1))])])
        store.said.clear()
        self.presence.arrived(server(2))
        self.clock.pump([1.0] * round(REFRESH))
        self.assertEqual([said[0] for said in store.said], ["here", "here"])
        self.assertGreaterEqual(store.beats, 15)

    def test_together(self) -> None:
        """While an answer is waited for, what happens is collected."""
        store = self.started()
        answer: Deferred[None] = Deferred()
        at_once, store.here = store.here, lambda *_: answer  # type: ignore[method-assign]
        self.presence.arrived(server(1))
        self.presence.arrived(server(2))
        self.presence.arrived(server(3))
        store.here = at_once  # type: ignore[method-assign]
        answer.callback(None)
        self.assertEqual([said[2] for said in store.said], [[str(server(2)), str(server(3))]])

    def test_finds(self) -> None:
        """A client is sent to one of the relays that are named, and never back to this one."""
        store = self.started()
        self.assertIsNone(self.find())
        store.found = [str(HERE), "no URL", str(THERE)]
        self.assertEqual(self.find(), THERE)
        other = parse_relay("http://other.example")
        store.found = [str(THERE), str(other)]
        self.assertEqual({self.find() for _ in range(4)}, {THERE, other})
        store.found = [str(HERE)] * 8 + [str(THERE)]
        self.assertIsNone(self.find())

    def test_slow(self) -> None:
        """Nobody waits longer than 0.3 s; a store that is silent is given up and tried anew."""
        store = self.started()
        store.silent = True
        asked = self.presence.find(server(9))
        self.clock.advance(LOOKUP_TIME - 0.01)
        self.assertNoResult(asked)
        self.clock.advance(0.01)
        self.failureResultOf(asked, NotKnown)
        self.clock.pump([0.1] * round((BEAT + ANSWER_TIME) * 10))
        self.assertTrue(store.closed)
        self.unknown()
        self.assertEqual(len(self.connecting), 2)
        self.assertIs(self.log[-1][0], LogLevel.warn)

    def test_many_lookups(self) -> None:
        """A thousand clients wait for the store; for one more it is not asked."""
        store = self.started()
        store.silent = True
        asked = [self.presence.find(server(9)) for _ in range(MAX_LOOKUPS)]
        self.assertNoResult(asked[-1])
        self.unknown()
        self.clock.advance(LOOKUP_TIME)
        for each in asked:
            self.failureResultOf(each, NotKnown)
        late = self.presence.find(server(9))
        self.assertNoResult(late)
        self.clock.advance(LOOKUP_TIME)
        self.failureResultOf(late, NotKnown)
        store.silent = False

    def test_without(self) -> None:
        """Before there is a connection nobody waits; when there is one, all is told."""
        self.presence.start()
        self.presence.arrived(server(1))
        self.unknown()
        store = self.connected()
        self.assertEqual([said[0] for said in store.said], ["here"])

    def test_again(self) -> None:
        """A lost connection is made again soon; everything is told again, in a new life."""
        store = self.started()
        self.presence.arrived(server(1))
        self.presence.arrived(server(2))
        store.lose()
        self.unknown()
        self.presence.left(server(2))
        self.clock.advance(SHORTEST_PAUSE)
        again = self.connected()
        self.assertEqual([said[2] for said in again.said], [[str(server(1))]])
        self.assertNotEqual(again.said[0][1], store.said[0][1])

    def test_pauses(self) -> None:
        """Attempts become rarer, up to one in three seconds; it is said once that it does not work."""
        self.presence.start()
        times = []
        while self.clock.seconds() < 20:
            if not self.connecting[-1].called:
                times.append(self.clock.seconds())
                self.connecting[-1].errback(StoreError("refused"))
            self.presence.arrived(server(1))  # changes nothing
            self.clock.advance(0.05)
        pauses = [after - before for before, after in pairwise(times)]
        for pause, expected in (
            (pauses[0], SHORTEST_PAUSE),
            (pauses[1], 2 * SHORTEST_PAUSE),
            (pauses[-1], LONGEST_PAUSE),
        ):
            self.assertLess(abs(pause - expected), 0.06)
        self.assertEqual([level for level, _ in self.log], [LogLevel.warn])
        self.clock.advance(LONGEST_PAUSE)
        self.connected()
        self.assertEqual([level for level, _ in self.log], [LogLevel.warn, LogLevel.info])

    def test_never_for_long(self) -> None:
        """A store that takes connections and then nothing is tried ever more rarely as well; once one
        has lasted, a lost connection is made again at once.
        """
        self.presence.start()
        self.presence.arrived(server(1))
        for _ in range(10):
            store = Store()
            store.here = lambda *_: fail(StoreError("OOM"))  # type: ignore[method-assign]
            self.connected(store)
            self.assertTrue(store.closed)
            self.clock.advance(LONGEST_PAUSE)
        store = Store()
        store.here = lambda *_: fail(StoreError("OOM"))  # type: ignore[method-assign]
        self.connected(store)
        self.clock.advance(LONGEST_PAUSE - 0.1)
        self.assertTrue(self.connecting[-1].called)
        self.clock.advance(0.1)
        store = self.connected()
        self.clock.pump([0.1] * round(LASTING * 10 + 2))
        store.lose()
        self.clock.advance(SHORTEST_PAUSE)
        self.assertFalse(self.connecting[-1].called)

    def test_connects_slowly(self) -> None:
        """A connection that takes too long is given up."""
        self.presence.start()
        self.clock.advance(CONNECT_TIME)
        self.clock.advance(SHORTEST_PAUSE)
        self.assertEqual(len(self.connecting), 2)

    def test_refused(self) -> None:
        """A store that refuses is left, and tried anew, ever more rarely."""
        self.presence.start()
        for _ in range(3):
            store = Store()
            store.error = StoreError("READONLY")
            self.connected(store)
            self.assertTrue(store.closed)
            before = len(self.connecting)
            self.clock.advance(LONGEST_PAUSE)
            self.assertEqual(len(self.connecting), before + 1)

    def test_emptied(self) -> None:
        """When somebody has emptied the store, all is told again with the next sign of life."""
        store = self.started()
        self.presence.arrived(server(1))
        store.said.clear()
        store.known.clear()
        self.clock.advance(BEAT)
        self.assertEqual([said[2] for said in store.said], [[str(server(1))]])

    def test_twins(self) -> None:
        """Two relays with the same URL are complained of, once."""
        store = self.started()
        for _ in range(3):
            store.known[str(HERE)] = "another life"
            self.clock.advance(BEAT)
        warned = [text for level, text in self.log if level is LogLevel.warn]
        self.assertEqual(len(warned), 1)
        self.assertIn("another relay calls itself", warned[0])

    def test_stop(self) -> None:
        """A relay that stops says so; a silent store does not keep it."""
        store = self.started()
        self.successResultOf(self.presence.stop())
        self.assertEqual(store.said, [("end", store.known[str(HERE)], str(HERE))])
        self.assertTrue(store.closed)
        self.unknown()
        # It may be started again, and knows nobody from before.
        self.presence.arrived(server(1))
        silent = self.started()
        self.assertEqual(silent.said, [])
        silent.silent = True
        stopping = self.presence.stop()
        self.assertNoResult(stopping)
        self.clock.advance(ANSWER_TIME)
        self.successResultOf(stopping)
        self.assertTrue(silent.closed)

    def test_stop_early(self) -> None:
        """One that was connecting, or waiting to, stops at once."""
        self.presence.start()
        self.successResultOf(self.presence.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.presence.start()
        self.connecting[-1].errback(StoreError("refused"))
        self.successResultOf(self.presence.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.connecting), 2)
