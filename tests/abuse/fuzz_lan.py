"""Targets: what comes to a server, and to a client, that search each other on their own network."""

import hmac
import random

from tests.abuse.fuzzing import Target
from tests.lan.test_wire import KEYS, NONCE, OTHER, SALT, SERVER
from wavesync.lan.answering import Answerer
from wavesync.lan.wire import ANSWER_SIZE, QUERY_SIZE, Answer, Keys, LanError

__all__ = ["LAN_TARGETS"]

_PORT = 7001


def _queries() -> list[bytes]:
    return [
        KEYS.query(NONCE, SERVER),
        KEYS.query(NONCE, None),
        KEYS.query(NONCE, OTHER),
        Keys(OTHER).query(NONCE, SERVER),
    ]


def _answers() -> list[bytes]:
    return [KEYS.answer(NONCE, SALT, Answer(SERVER, port)) for port in (0, 1, _PORT)]


def _signed(data: bytearray, chance: random.Random) -> bytes:
    """Give a query its length, mostly, and mostly the HMAC of somebody who knows the system."""
    if chance.random() < 0.9:
        data[QUERY_SIZE:] = b""
        data += bytes(QUERY_SIZE - len(data))
    if chance.random() < 0.8 and len(data) == QUERY_SIZE:
        head = bytes(data[:-32])
        data[-32:] = hmac.digest(KEYS._asking, b"query" + head, "sha256")
    return bytes(data)


def _fitting(data: bytearray, chance: random.Random) -> bytes:
    """Give an answer its length, mostly."""
    if chance.random() < 0.9:
        data[ANSWER_SIZE:] = b""
        data += bytes(ANSWER_SIZE - len(data))
    return bytes(data)


def _read_query(data: bytes) -> object:
    return KEYS.read_query(data, SERVER)


def _read_answer(data: bytes) -> object:
    return KEYS.read_answer(data, NONCE)


def _ask(data: bytes) -> object:
    """Let a server take a datagram; what it answers is shorter, and is an answer."""
    told = Answerer(KEYS, SERVER, random.Random(5).randbytes).answer(data, "10.0.0.5", _PORT, 0.0)
    if told is not None:
        assert len(told) < len(data), "the answer is longer than the query"
        assert KEYS.read_answer(told, data[8:24]) == Answer(SERVER, _PORT)
    return told


def _ask_carelessly(data: bytes) -> object:
    """The same by a server that takes everything for a query."""
    _read_query(data)
    return _ask(data)


LAN_TARGETS = (
    Target(
        "queries on a network",
        _queries,
        _read_query,
        LanError,
        ("another length", "no query of this version", "another system", "another server"),
        count=3000,
        mend=_signed,
    ),
    Target(
        "answers on a network",
        _answers,
        _read_answer,
        LanError,
        (
            "another length",
            "no answer of this version",
            "another query",
            "another system",
            "names no port",
        ),
        count=3000,
        mend=_fitting,
    ),
    Target(
        "a server's answers on a network",
        _queries,
        _ask,
        count=2000,
        careless=_ask_carelessly,
        mend=_signed,
    ),
)
