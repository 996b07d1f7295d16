"""Tests for L{wavesync.udt.connecting}."""

from dataclasses import replace
from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from tests.tools.diagrams import transitions
from wavesync.interfaces import Address
from wavesync.udt.connecting import DOUBT, REPEAT, ClientAttempt, connecting
from wavesync.udt.handshake import (
    ANSWER,
    REFUSED,
    REQUEST,
    Agreement,
    Handshake,
    Offer,
    decode_handshake,
)

SERVER: Address = ("192.0.2.2", 2000)
OFFER = Offer(77, 1000)

TABLE = {
    ("asking", "accepted"): "connected",
    ("asking", "challenged"): "answering",
    ("asking", "doubt"): "asking",
    ("asking", "expire"): "failed",
    ("asking", "mismatched"): "failed",
    ("asking", "refused"): "failed",
    ("asking", "repeat"): "asking",
    ("answering", "accepted"): "connected",
    ("answering", "challenged"): "answering",
    ("answering", "doubt"): "asking",
    ("answering", "expire"): "failed",
    ("answering", "mismatched"): "failed",
    ("answering", "refused"): "failed",
    ("answering", "repeat"): "answering",
}
for _over in ("connected", "failed"):
    for _state, _input in list(TABLE):
        TABLE[_over, _input] = _over


class MachineTests(SynchronousTestCase):
    """The machine as a table."""

    def test_table(self) -> None:
        """Every input leads from every state where it should."""
        found = {(start, symbol): end for start, symbol, end, _ in transitions(connecting)}
        self.assertEqual(found, TABLE)


class AttemptTests(SynchronousTestCase):
    """A client's attempt."""

    def setUp(self) -> None:
        """Begin an attempt at time 0 and take its first request."""
        self.attempt = ClientAttempt(SERVER, OFFER, 0.0)
        [self.first] = self.sent()

    def sent(self) -> list[Handshake]:
        """:return: what the attempt sends now."""
        datagrams = self.attempt.datagrams()
        self.assertEqual({remote for _, remote in datagrams} - {SERVER}, set())
        return [decode_handshake(datagram) for datagram, _ in datagrams]

    def challenge(self, cookie: int = 5, now: float = 0.0) -> None:
        """Let the listener give a cookie."""
        self.attempt.receive(self.first.replied(cookie=cookie, destination=77), SERVER, now)

    def answer(self, source: Address = SERVER, **changes: Any) -> None:
        """Let the listener answer."""
        answer = Handshake(ANSWER, 9, 1000, destination=77, timestamp=0)
        self.attempt.receive(replace(answer, **changes), source, 0.1)

    def test_first_request(self) -> None:
        """The first request goes out at once, to nobody's id, without a cookie."""
        self.assertEqual(
            (self.first.request, self.first.destination, self.first.cookie, self.first.isn),
            (REQUEST, 0, 0, 1000),
        )

    def test_cookie(self) -> None:
        """The cookie is shown at once."""
        self.challenge()
        [second] = self.sent()
        self.assertEqual((second.request, second.cookie, second.destination), (ANSWER, 5, 0))

    def test_connected(self) -> None:
        """The answer's values are taken, clamped to ours; one sequence number serves both ways."""
        self.challenge()
        self.answer(mss=9000, window=100)
        self.assertEqual(
            self.attempt.agreement, Agreement(77, 9, 1000, 1000, 1500, 1500, 100, False)
        )
        self.assertIsNone(self.attempt.deadline())

    def test_answer_without_challenge(self) -> None:
        """A listener that trusts us may answer the first request."""
        self.answer()
        self.assertIsNotNone(self.attempt.agreement)

    def test_zero_version(self) -> None:
        """libudt's repeated answers have version and type 0."""
        self.answer(version=0, socket_type=0)
        self.assertIsNotNone(self.attempt.agreement)

    def test_repeats(self) -> None:
        """Each request is repeated every 250 ms."""
        self.assertEqual(self.attempt.deadline(), REPEAT)
        self.attempt.timer(REPEAT)
        self.assertEqual(self.sent(), [self.first])
        self.challenge(now=REPEAT)
        [second] = self.sent()
        self.attempt.timer(2 * REPEAT)
        self.assertEqual(self.sent(), [second])

    def test_round_trip(self) -> None:
        """An answer tells how long the way is, unless it may be to any of several requests."""
        self.answer()
        self.assertEqual(self.attempt.round_trip, 0.1)
        self.attempt = ClientAttempt(SERVER, OFFER, 0.0)
        self.attempt.timer(REPEAT)
        self.answer()
        self.assertIsNone(self.attempt.round_trip)

    def test_doubt(self) -> None:
        """A cookie that is not answered for a second is thrown away, as libudt's listener may
        have forgotten it; a new one is used as soon as it comes."""
        self.challenge()
        self.sent()
        now = 0.0
        while self.attempt.deadline() != DOUBT:
            now = self.attempt.deadline() or 99
            self.attempt.timer(now)
            self.assertEqual([packet.request for packet in self.sent()], [ANSWER])
        self.attempt.timer(DOUBT)
        self.assertEqual(self.sent(), [self.first])
        self.challenge(6, DOUBT)
        self.assertEqual([packet.cookie for packet in self.sent()], [6])
        self.attempt.timer(2 * DOUBT)
        self.assertEqual(self.sent(), [self.first])

    def test_late_answer_in_doubt(self) -> None:
        """An answer to the old cookie is still good."""
        self.challenge()
        self.attempt.timer(DOUBT)
        self.answer()
        self.assertIsNotNone(self.attempt.agreement)

    def test_duplicated_challenge(self) -> None:
        """The same cookie again makes no traffic, another one is used."""
        self.challenge()
        self.sent()
        self.challenge()
        self.assertEqual(self.sent(), [])
        self.challenge(6)
        self.assertEqual([packet.cookie for packet in self.sent()], [6])

    def test_timeout(self) -> None:
        """Without an answer the attempt fails after 3 s, with a sentence."""
        self.attempt.timer(2.99)
        self.assertIsNone(self.attempt.failure)
        self.attempt.timer(3.0)
        self.assertIsInstance(self.attempt.failure, error.TimeoutError)
        self.assertIn("192.0.2.2:2000 did not answer", str(self.attempt.failure))
        self.assertIsNone(self.attempt.deadline())

    def test_refused(self) -> None:
        """A refusal ends the attempt, with a sentence."""
        refusal = self.first.replied(request=REFUSED, destination=77)
        self.attempt.receive(refusal, SERVER, 0.1)
        self.assertIsInstance(self.attempt.failure, error.ConnectionRefusedError)

    def test_forged_refusal(self) -> None:
        """A refusal of something we did not ask for is ignored."""
        refusal = Handshake(REFUSED, 77, 1001, destination=77)
        self.attempt.receive(refusal, SERVER, 0.1)
        self.assertIsNone(self.attempt.failure)

    def test_mismatch(self) -> None:
        """An answer with another sequence number, or impossible values, ends the attempt."""
        wrong: list[dict[str, Any]] = [{"isn": 1001}, {"mss": 75}, {"window": 0}]
        for changes in wrong:
            self.setUp()
            self.answer(**changes)
            self.assertIsInstance(self.attempt.failure, error.ConnectError)

    def test_ignored(self) -> None:
        """Other sources, other ids, odd request types and challenges of others do nothing."""
        self.answer(source=("192.0.2.2", 2001))
        self.answer(destination=78)
        self.answer(request=5)
        self.attempt.receive(Handshake(REQUEST, 78, 1000, cookie=4, destination=77), SERVER, 0.1)
        self.assertEqual(self.sent(), [])
        self.assertIsNone(self.attempt.agreement or self.attempt.failure)

    def test_after_the_end(self) -> None:
        """Late duplicates change nothing."""
        self.challenge()
        self.answer()
        agreement = self.attempt.agreement
        self.sent()
        self.challenge(8)
        self.answer(socket_id=10)
        self.attempt.timer(5.0)
        self.assertEqual((self.attempt.agreement, self.sent()), (agreement, []))
