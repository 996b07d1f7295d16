"""Tests for L{wavesync.udt.rendezvous}."""

from dataclasses import replace
from typing import Any

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase

from tests.tools.diagrams import transitions
from tests.udt.ends import Pair, outcome
from wavesync.interfaces import Address
from wavesync.testing.time import run_for
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    REQUEST,
    Agreement,
    Handshake,
    Offer,
    decode_handshake,
)
from wavesync.udt.rendezvous import (
    MAX_CANDIDATES,
    REPEAT,
    RendezvousAttempt,
    rendezvous,
)

PEER: Address = ("192.0.2.2", 2000)
OFFER = Offer(77, 1000)
CALLED = Handshake(CALL, 9, 2000, timestamp=0)

TABLE = {
    ("calling", "called"): "answering",
    ("calling", "answered"): "answering",
    ("calling", "finished"): "answering",
    ("calling", "traffic"): "calling",
    ("calling", "repeat"): "calling",
    ("calling", "expire"): "failed",
    ("answering", "called"): "answering",
    ("answering", "answered"): "connected",
    ("answering", "finished"): "connected",
    ("answering", "traffic"): "connected",
    ("answering", "repeat"): "answering",
    ("answering", "expire"): "failed",
}
for _over in ("connected", "failed"):
    for _state, _input in list(TABLE):
        TABLE[_over, _input] = _over


class MachineTests(SynchronousTestCase):
    """The machine as a table."""

    def test_table(self) -> None:
        """Every input leads from every state where it should."""
        found = {(start, symbol): end for start, symbol, end, _ in transitions(rendezvous)}
        self.assertEqual(found, TABLE)


class AttemptTests(SynchronousTestCase):
    """A rendezvous as libudt does it."""

    def setUp(self) -> None:
        """Begin at time 0 and take the first call."""
        self.attempt = RendezvousAttempt([PEER], OFFER, 0.0)
        [self.first] = self.sent()

    def sent(self) -> list[tuple[int, int]]:
        """:return: request type and destination id of what is sent now."""
        packets = [decode_handshake(datagram) for datagram, _ in self.attempt.datagrams(0.0)]
        return [(packet.request, packet.destination) for packet in packets]

    def hear(self, request: int, source: Address = PEER, **changes: Any) -> list[tuple[int, int]]:
        """:return: what is sent at once upon a handshake of the peer."""
        packet = replace(CALLED, request=request, **changes)
        self.attempt.receive(packet, source, 0.1)
        return self.sent()

    def test_call(self) -> None:
        """The first call goes out at once, to nobody's id, and is repeated."""
        self.assertEqual(self.first, (CALL, 0))
        self.attempt.timer(REPEAT)
        self.assertEqual(self.sent(), [(CALL, 0)])

    def test_called(self) -> None:
        """A call is answered at once, to the peer's id, and does not connect yet."""
        self.assertEqual(self.hear(CALL), [(ANSWER, 9)])
        self.assertIsNone(self.attempt.agreement)
        self.attempt.timer(REPEAT)
        self.assertEqual(self.sent(), [(ANSWER, 9)])

    def test_one_answer_is_not_enough(self) -> None:
        """An answer to a side that has heard nothing makes it answer; the second connects."""
        self.assertEqual(self.hear(ANSWER, destination=77), [(ANSWER, 9)])
        self.assertIsNone(self.attempt.agreement)
        self.assertEqual(self.hear(ANSWER, destination=77), [(FINAL, 9)])
        self.assertEqual(
            self.attempt.agreement, Agreement(77, 9, 1000, 2000, 1500, 1500, 8192, False)
        )
        self.assertIsNone(self.attempt.deadline())

    def test_finished(self) -> None:
        """A final handshake connects and is never answered."""
        self.hear(CALL)
        self.assertEqual(self.hear(FINAL, destination=77), [])
        self.assertIsNotNone(self.attempt.agreement)
        self.assertEqual(self.hear(FINAL, destination=77), [])

    def test_traffic(self) -> None:
        """Data or a keep-alive connects once the peer is known, not before."""
        self.attempt.traffic(PEER, 0.1)
        self.assertIsNone(self.attempt.agreement)
        self.hear(CALL)
        self.attempt.traffic(("192.0.2.3", 1), 0.1)
        self.assertIsNone(self.attempt.agreement)
        self.attempt.traffic(PEER, 0.1)
        self.assertIsNotNone(self.attempt.agreement)

    def test_peer_is_late(self) -> None:
        """A peer that goes on calling after we are connected is told so."""
        self.hear(CALL)
        self.hear(ANSWER, destination=77)
        self.assertEqual(self.hear(CALL), [(FINAL, 9)])
        self.assertEqual(self.hear(ANSWER, destination=77), [(FINAL, 9)])

    def test_final_without_values(self) -> None:
        """libudt's final handshake has version 0 and another window: the first values stay."""
        self.hear(CALL, mss=1400)
        self.hear(FINAL, destination=77, version=0, socket_type=0, window=25600, mss=1400)
        assert self.attempt.agreement is not None
        self.assertEqual(self.attempt.agreement.peer_window, 8192)
        self.assertEqual(self.attempt.agreement.mss, 1400)
        self.assertEqual(self.attempt.agreement.receive_mss, 1500)

    def test_ignored(self) -> None:
        """Clients' requests, other sources, other ids, our own echo and impossible values do
        nothing."""
        self.assertEqual(self.hear(REQUEST), [])
        self.assertEqual(self.hear(CALL, ("192.0.2.2", 2001)), [])
        self.assertEqual(self.hear(CALL, destination=78), [])
        self.assertEqual(self.hear(CALL, socket_id=77), [])
        self.assertEqual(self.hear(CALL, mss=75), [])
        self.assertIsNone(self.attempt.remote)

    def test_other_socket(self) -> None:
        """Once a peer is known, handshakes of another socket at its address do nothing."""
        self.hear(CALL)
        self.assertEqual(self.hear(ANSWER, destination=77, socket_id=10), [])
        self.assertIsNone(self.attempt.agreement)

    def test_several_candidates(self) -> None:
        """All are called; the first that is heard is the peer, the others are left alone."""
        other = ("192.0.2.3", 3000)
        self.assertTrue(self.attempt.add_candidate(other, 0.0))
        self.assertFalse(self.attempt.add_candidate(other, 0.0))
        self.assertEqual(self.sent(), [(CALL, 0)])
        self.attempt.timer(REPEAT)
        self.assertEqual(self.sent(), [(CALL, 0)] * 2)
        self.assertEqual(self.hear(CALL, other), [(ANSWER, 9)])
        self.assertEqual(self.attempt.remote, other)
        self.assertEqual(self.hear(CALL), [])
        self.assertFalse(self.attempt.add_candidate(("192.0.2.4", 1), 0.0))
        self.assertEqual(
            self.attempt.events(), [("tried", PEER), ("tried", other), ("heard", other)]
        )

    def test_candidate_limit(self) -> None:
        """So many candidates are called, one more is not."""
        added = [self.attempt.add_candidate(("192.0.2.9", n), 0.0) for n in range(MAX_CANDIDATES)]
        self.assertEqual(added, [True] * (MAX_CANDIDATES - 1) + [False])

    def test_timeout(self) -> None:
        """Without a peer the attempt fails after 15 s; the sentence says how far it came."""
        self.attempt.timer(15.0)
        self.assertIsInstance(self.attempt.failure, error.TimeoutError)
        self.assertIn("was not heard", str(self.attempt.failure))
        self.setUp()
        self.hear(CALL)
        self.attempt.timer(15.0)
        self.assertIn("did not hear us", str(self.attempt.failure))
        self.assertIsNone(self.attempt.deadline())


class TwoEndsTests(SynchronousTestCase):
    """Two ports that meet by libudt's rules."""

    def meet(self, pair: Pair, lag: float) -> tuple[float, float]:
        """:return: seconds until each end had its first byte."""
        ours, theirs = pair.recorders(b"here"), pair.recorders(b"there")
        pair.here.rendezvous([Pair.THERE], ours)
        run_for(pair.clock, lag)
        start = pair.clock.seconds()
        pair.there.rendezvous([Pair.HERE], theirs)
        run_for(pair.clock, 3.0)
        self.assertEqual((ours.last.received, theirs.last.received), (b"there", b"here"))
        assert ours.last.first_byte is not None and theirs.last.first_byte is not None
        return ours.last.first_byte - start, theirs.last.first_byte - start

    def test_together(self) -> None:
        """Both begin at once: call, answer, data, each a one-way delay of 20 ms."""
        times = self.meet(Pair(), 0.0)
        self.assertAlmostEqual(times[0], 0.06)
        self.assertAlmostEqual(times[1], 0.06)

    def test_one_after_the_other(self) -> None:
        """The second end begins a second later: nobody waits for a timer."""
        self.assertLess(max(self.meet(Pair(), 1.0)), 0.1)

    def test_loss(self) -> None:
        """A third of the datagrams lost only costs time."""
        self.meet(Pair(loss=0.3), 0.0)

    def test_unheard(self) -> None:
        """With nobody there the Deferred fails with the sentence."""
        pair = Pair()
        made = pair.here.rendezvous([("192.0.2.99", 1)], pair.recorders(), timeout=2.0)
        results = outcome(made.connected)
        run_for(pair.clock, 1.9)
        self.assertEqual(results, [])
        run_for(pair.clock, 0.2)
        self.assertIsInstance(results[0], error.TimeoutError)
        self.assertEqual((pair.here.attempts, pair.clock.getDelayedCalls()), (0, []))
