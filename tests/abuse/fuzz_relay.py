"""Targets: what servers and clients ask a relay, what it answers, and what is said in between."""

from tests.abuse.fuzzing import Target
from wavesync.identity.ids import Target as Server
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.relay_answers import AnswerReader, Challenge, Parking, RelayAnswer
from wavesync.signalling.relay_heads import HeadError
from wavesync.signalling.relay_lines import Idle, LineReader, Move, Open, Ping, Pong, Ready
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind, RequestReader

__all__ = ["RELAY_TARGETS"]

_RELAY = Relay("relay.example", 3356, False)
_SERVER = Server("0123456789ab8def8123456789abcdef", "00112233445566778899aabbccddeeff")
_ID = "c0" * 16


def _requests() -> list[bytes]:
    def prove(purpose: str, message: bytes) -> bytes:
        return b"\x01" * 400

    requests = (
        RelayRequest(RequestKind.PARK, _SERVER, _ID, revocations=7),
        RelayRequest(RequestKind.CONNECT, _SERVER, _ID),
        RelayRequest(RequestKind.REVOKE, digest="5a" * 32, size=300),
    )
    return [request.encode(_RELAY, prove) + b"\x16\x03\x01" for request in requests]


def _answers() -> list[bytes]:
    answers = (
        RelayAnswer(101),
        RelayAnswer(101, parking=Parking(7, 2, 15.0, 9)),
        RelayAnswer(307, location=Relay("2001:db8::1", 443, True)),
        RelayAnswer(401, challenge=Challenge(b"n" * 24, 1.8e9, "relay.example")),
        RelayAnswer(503, retry_after=3.0, reason="draining", sentence="later."),
    )
    return [answer.encode() for answer in answers]


def _lines() -> list[bytes]:
    lines = (
        (Ping(), Idle(64, 3), Ping(), Open(_ID, "alice", ("2001:db8::7", 4711))),
        (Pong(), Pong(), Ready()),
        (Idle(7, 0), Move()),
    )
    return [b"".join(line.encode() for line in each) + b"raw" for each in lines]


def _read_request(data: bytes) -> None:
    """Read one, and prove and write it again: what was understood is what was meant."""
    found = RequestReader().feed(data)
    if found is not None:
        again = RequestReader().feed(found.encode(_RELAY, lambda *_: found.proof or b"?"))
        assert again is not None and again.covered() == found.covered()


def _read_answer(data: bytes) -> None:
    found = AnswerReader().feed(data)
    if found is not None:
        assert AnswerReader().feed(found.encode()) is not None


def _read_lines(data: bytes) -> None:
    """Read them at once and byte by byte: the same comes of it."""
    whole, slow = LineReader(), LineReader()
    lines = whole.feed(data)
    pieces = [line for byte in data for line in slow.feed(bytes([byte]))]
    assert (lines, whole.rest) == (pieces, slow.rest)


RELAY_TARGETS = (
    Target(
        "relay requests",
        _requests,
        _read_request,
        HeadError,
        (
            "not HTTP/1.1",
            "there is nothing at this path",
            "this needs HTTP/1.1 with Upgrade",
            "is missing or malformed",
            "holds no proof",
        ),
        count=2000,
    ),
    Target(
        "relay answers",
        _answers,
        _read_answer,
        HeadError,
        (
            "not HTTP/1.1",
            "switched to something else",
            "a redirect to no relay",
            "must be a number",
        ),
        count=2000,
    ),
    Target(
        "relay lines",
        _lines,
        _read_lines,
        SignallingError,
        ("an unknown line", "not ASCII", "no number where", "OPEN without a"),
        count=2000,
    ),
)
