"""Tests for :mod:`wavesync.lan.asking` and :mod:`wavesync.lan.answering`, under virtual time."""

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.lan.test_wire import KEYS, NONCE, OTHER, SALT, SERVER
from wavesync.lan.answering import BURST, MAX_SOURCES, RATE, TOTAL_BURST, Answerer
from wavesync.lan.asking import MAX_FOUND, OFFSETS, SEARCH_TIME, Search
from wavesync.lan.wire import Answer, Keys

HOST = "10.0.0.5"


def search(server: str | None = SERVER) -> Search:
    """A search that begins at 100 s."""
    return Search(KEYS, server, 100.0, random.Random(5).randbytes)


def answer_to(query: bytes | None, server: str = SERVER, port: int = 7001) -> bytes:
    """What a server answers."""
    assert query is not None
    return KEYS.answer(query[8:24], SALT, Answer(server, port))


class SearchTests(SynchronousTestCase):
    """A search asks three times, and takes what answers that very query."""

    def test_times(self) -> None:
        """The same query goes out at 0, 50 and 150 ms; at 500 ms it is over."""
        asking, now, sent = search(), 100.0, []
        while not asking.over(now):
            query = asking.query(now)
            if query is not None:
                sent.append((round(now - 100.0, 3), query))
                self.assertIsNone(asking.query(now))
            now = asking.deadline()
        self.assertEqual([when for when, _ in sent], list(OFFSETS))
        self.assertEqual(len({query for _, query in sent}), 1)
        self.assertAlmostEqual(now - 100.0, SEARCH_TIME)
        self.assertLess(OFFSETS[-1], 0.3)

    def test_late_turn(self) -> None:
        """A busy host sends once what it should have sent twice."""
        asking = search()
        self.assertIsNotNone(asking.query(100.2))
        self.assertIsNone(asking.query(100.2))
        self.assertEqual(asking.deadline(), 100.0 + SEARCH_TIME)

    def test_found(self) -> None:
        """A server that answers three times is found once, and once at each of its addresses."""
        asking = search()
        told = answer_to(asking.query(100.0))
        found = [asking.received(told, host) for host in (HOST, HOST, "10.1.0.5", HOST)]
        self.assertEqual(found, [(SERVER, (HOST, 7001)), None, (SERVER, ("10.1.0.5", 7001)), None])

    def test_others(self) -> None:
        """Another server of the system counts only where any is wanted; garbage never does."""
        for wanted, found in ((SERVER, None), (None, (OTHER, (HOST, 7001)))):
            asking = search(wanted)
            self.assertEqual(asking.received(answer_to(asking.query(100.0), OTHER), HOST), found)
            for data in (b"", bytes(70), KEYS.answer(NONCE, SALT, Answer(SERVER, 1))):
                self.assertIsNone(asking.received(data, HOST))

    def test_limit(self) -> None:
        """Whoever knows the id cannot have more than 16 places tried."""
        asking = search(None)
        query = asking.query(100.0)
        told = [asking.received(answer_to(query, port=1 + n), HOST) for n in range(MAX_FOUND + 1)]
        self.assertEqual([each is None for each in told], [False] * MAX_FOUND + [True])
        self.assertEqual(len(asking.found), MAX_FOUND)


class AnswererTests(SynchronousTestCase):
    """A server answers those who know its system's id, and not too often."""

    def setUp(self) -> None:
        self.answerer = Answerer(KEYS, SERVER, random.Random(5).randbytes)

    def ask(self, host: str = HOST, now: float = 0.0, query: bytes | None = None) -> bytes | None:
        """Ask it."""
        return self.answerer.answer(query or KEYS.query(NONCE, SERVER), host, 7001, now)

    def test_answers(self) -> None:
        """It says where it is; each answer is sealed anew."""
        first, second = self.ask(), self.ask()
        assert first is not None and second is not None
        self.assertNotEqual(first, second)
        for told in (first, second):
            self.assertEqual(KEYS.read_answer(told, NONCE), Answer(SERVER, 7001))
        self.assertEqual(self.answerer.answered, 2)

    def test_silent(self) -> None:
        """To everything else it says nothing, and that costs nobody an answer."""
        for _ in range(int(BURST) + 1):
            for query in (b"", Keys(OTHER).query(NONCE, None), KEYS.query(NONCE, OTHER)):
                self.assertIsNone(self.answerer.answer(query, HOST, 7001, 0.0))
        self.assertIsNotNone(self.ask())

    def test_rate(self) -> None:
        """One host gets 60 answers at once, not 61, and ten a second after that; others get theirs."""
        got = [self.ask("fe80::1") is not None for _ in range(int(BURST) + 1)]
        self.assertEqual(got, [True] * int(BURST) + [False])
        self.assertIsNotNone(self.ask("fe80::2"))  # of the same /64
        later = [self.ask("fe80::1", 1.0) is not None for _ in range(int(RATE) + 1)]
        self.assertEqual(later, [True] * int(RATE) + [False])

    def test_total(self) -> None:
        """All together get 800 at once, not 801, however many they are or say they are."""
        got = [
            self.ask(f"10.0.{n >> 8}.{n & 255}") is not None for n in range(int(TOTAL_BURST) + 1)
        ]
        self.assertEqual(got, [True] * int(TOTAL_BURST) + [False])

    def test_sources(self) -> None:
        """It remembers 1024 hosts, not more."""
        for n in range(MAX_SOURCES + 1):
            self.ask(f"10.0.{n >> 8}.{n & 255}", n)
        self.assertEqual(len(self.answerer._sources), MAX_SOURCES)
