"""Tests for :mod:`wavesync.lan.wire`."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import wavesync
from wavesync.lan.wire import ANSWER_SIZE, NONCE_SIZE, QUERY_SIZE, SALT_SIZE, Answer, Keys, LanError

SYSTEM = "000102030405860788090a0b0c0d0e0f"
SERVER = "101112131415461798191a1b1c1d1e1f"
OTHER = "f0" * 16
NONCE = bytes(range(0x20, 0x30))
SALT = bytes(range(0x30, 0x3C))
KEYS = Keys(SYSTEM)


def vectors() -> dict[str, bytes]:
    """The messages that docs/lan shows."""
    text = (Path(wavesync.__file__).parent.parent / "docs" / "lan.rst").read_text("utf-8")
    shown = text.partition("Golden vector")[2]
    found = re.findall(r"(?m)^    (query, any|query|answer)\n((?:        [0-9a-f]+\n)+)", shown)
    return {name: bytes.fromhex("".join(lines.split())) for name, lines in found}


class QueryTests(SynchronousTestCase):
    """A query is for one system, and for one of its servers or all."""

    def refused(self, data: bytes, words: str, keys: Keys = KEYS, server: str = SERVER) -> None:
        """A server does not answer that."""
        error = self.assertRaises(LanError, keys.read_query, data, server)
        self.assertIn(words, str(error))

    def test_vectors(self) -> None:
        """Queries are what the text says, to the byte."""
        shown = vectors()
        self.assertEqual(KEYS.query(NONCE, SERVER), shown["query"])
        self.assertEqual(KEYS.query(NONCE, None), shown["query, any"])

    def test_read(self) -> None:
        """The server that is asked for, or any, takes the query."""
        for wanted in (SERVER, None):
            self.assertEqual(KEYS.read_query(KEYS.query(NONCE, wanted), SERVER), NONCE)

    def test_not_ours(self) -> None:
        """Queries about other servers and other systems are not answered."""
        self.refused(KEYS.query(NONCE, OTHER), "for another server")
        for wanted in (SERVER, None):
            self.refused(Keys(OTHER).query(NONCE, wanted), "about another system")

    def test_changed(self) -> None:
        """Nothing of a query can be changed, cut off or added."""
        query = KEYS.query(NONCE, SERVER)
        for at in range(QUERY_SIZE):
            changed = bytearray(query)
            changed[at] ^= 1
            self.refused(bytes(changed), "version" if at < 8 else "was changed")
        for data in (b"", query[:-1], query + b"\0"):
            self.refused(data, "another length")

    def test_nothing_in_clear(self) -> None:
        """Two queries for one server share nothing that a listener could know it by, nor its names."""
        first, second = KEYS.query(NONCE, SERVER), KEYS.query(SALT + bytes(4), SERVER)
        self.assertNotEqual(first[24:40], second[24:40])
        self.assertNotEqual(first[24:40], KEYS.query(NONCE, None)[24:40])
        for name in (SYSTEM, SERVER):
            self.assertNotIn(bytes.fromhex(name), first)
            self.assertNotIn(bytes.fromhex(name), KEYS.answer(NONCE, SALT, Answer(SERVER, 1)))


class AnswerTests(SynchronousTestCase):
    """An answer is for one query, and for those who know the system's id."""

    def refused(self, data: bytes, words: str, keys: Keys = KEYS, nonce: bytes = NONCE) -> None:
        """A client drops that."""
        error = self.assertRaises(LanError, keys.read_answer, data, nonce)
        self.assertIn(words, str(error))

    def test_vector(self) -> None:
        """An answer is what the text says, to the byte."""
        self.assertEqual(KEYS.answer(NONCE, SALT, Answer(SERVER, 7001)), vectors()["answer"])

    def test_read(self) -> None:
        """It names the server and its port, the lowest and the highest, too."""
        for port in (1, 7001, 65535):
            answer = Answer(SERVER, port)
            self.assertEqual(KEYS.read_answer(KEYS.answer(NONCE, SALT, answer), NONCE), answer)

    def test_short(self) -> None:
        """It is not longer than the query: asking in somebody's name floods nobody."""
        self.assertEqual(len(KEYS.answer(NONCE, SALT, Answer(SERVER, 1))), ANSWER_SIZE)
        self.assertEqual(len(KEYS.query(NONCE, None)), QUERY_SIZE)
        self.assertLess(ANSWER_SIZE, QUERY_SIZE)
        self.assertEqual((len(NONCE), len(SALT)), (NONCE_SIZE, SALT_SIZE))

    def test_not_ours(self) -> None:
        """Answers to other queries, about other systems, and those that name no port are dropped."""
        answer = KEYS.answer(NONCE, SALT, Answer(SERVER, 7001))
        self.refused(answer, "another query", nonce=bytes(NONCE_SIZE))
        self.refused(answer, "about another system", keys=Keys(OTHER))
        self.refused(KEYS.answer(NONCE, SALT, Answer(SERVER, 0)), "names no port")

    def test_changed(self) -> None:
        """Nothing of an answer can be changed, cut off or added."""
        answer = KEYS.answer(NONCE, SALT, Answer(SERVER, 7001))
        for at in range(ANSWER_SIZE):
            changed = bytearray(answer)
            changed[at] ^= 1
            words = "version" if at < 8 else "another query" if at < 24 else "was changed"
            self.refused(bytes(changed), words)
        for data in (b"", answer[:-1], answer + b"\0"):
            self.refused(data, "another length")
