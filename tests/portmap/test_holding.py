"""Tests for :mod:`wavesync.portmap.holding` and :mod:`wavesync.portmap.choosing`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap.choosing import GRACE, Choice
from wavesync.portmap.holding import (
    CHECK_AGAIN,
    CHECK_INTERVAL,
    MAX_MISSED,
    RENEW_AGAIN,
    Holding,
)
from wavesync.portmap.words import MAX_PORTS, TCP, UDP, Lease, PortMapError, Reason, Wanted

_A, _B = Wanted(TCP, 5000), Wanted(UDP, 6000)


def lease(wanted: Wanted, port: int = 5000, lifetime: float = 1000.0) -> Lease:
    """A mapping."""
    return Lease(wanted, ("44.2.0.2", port), lifetime)


class HoldingTests(SynchronousTestCase):
    """Mappings are renewed, looked at, and given up in time."""

    def setUp(self) -> None:
        """Want two ports, have the first."""
        self.holding = Holding()
        self.assertEqual(self.holding.want((_A, _B), 0.0), [])
        self.assertEqual(self.holding.due(0.0), [_A, _B])
        self.assertTrue(self.holding.took(lease(_A), 0.0))
        self.holding.checked(0.0)

    def test_renewed_at_half(self) -> None:
        """At half its life a mapping is renewed; what is the same afterwards is no news."""
        self.holding.took(lease(_B, 6000), 0.0)
        self.assertEqual(self.holding.due(499.9), [])
        self.assertEqual(self.holding.due(500.0), [_A, _B])
        self.assertFalse(self.holding.took(lease(_A), 500.0))
        self.assertTrue(self.holding.took(lease(_A, 5001), 500.0))
        self.assertEqual(self.holding.due(600.0), [_B])

    def test_refused(self) -> None:
        """A renewal that fails is tried again; the mapping counts until its end."""
        self.assertFalse(self.holding.refused(_A, 500.0))
        self.assertIn(_A, self.holding.leases)
        self.assertNotIn(_A, self.holding.due(500.0 + RENEW_AGAIN - 0.1))
        self.assertIn(_A, self.holding.due(500.0 + RENEW_AGAIN))
        self.assertTrue(self.holding.refused(_A, 1000.0))
        self.assertEqual(self.holding.leases, {})
        self.assertFalse(self.holding.refused(_B, 1000.0))

    def test_checks(self) -> None:
        """Once a minute it is looked; without an answer soon again, and given up after three."""
        self.assertFalse(self.holding.check_due(CHECK_INTERVAL - 0.1))
        now = CHECK_INTERVAL
        for _ in range(MAX_MISSED):
            self.assertTrue(self.holding.check_due(now))
            self.assertFalse(self.holding.given_up)
            self.holding.missed(now)
            now += CHECK_AGAIN
        self.assertTrue(self.holding.given_up)
        self.assertTrue(self.holding.lose())
        self.assertFalse(self.holding.lose())
        self.assertFalse(self.holding.given_up)

    def test_answer_forgives(self) -> None:
        """One answer, and all silence before is forgiven."""
        for now in range(MAX_MISSED - 1):
            self.holding.missed(float(now))
        self.holding.checked(5.0)
        self.holding.missed(6.0)
        self.assertFalse(self.holding.given_up)

    def test_forgotten(self) -> None:
        """What the router has forgotten is asked for at once, and gone if that is refused."""
        self.holding.forgotten(10.0)
        self.assertIn(_A, self.holding.due(10.0))
        self.assertTrue(self.holding.refused(_A, 10.0))

    def test_want_others(self) -> None:
        """What is not wanted any more is given back, what is new is due at once."""
        new = Wanted(UDP, 7000)
        self.assertEqual(self.holding.want((_B, new), 5.0), [lease(_A)])
        self.assertEqual(self.holding.leases, {})
        self.assertEqual(self.holding.due(5.0), [_B, new])

    def test_many(self) -> None:
        """No more than eight ports are mapped."""
        for count in (MAX_PORTS, MAX_PORTS + 1):
            self.holding.want([Wanted(TCP, number) for number in range(1, count + 1)], 0.0)
            self.assertEqual(len(self.holding.due(0.0)), MAX_PORTS)

    def test_deadline(self) -> None:
        """The next thing to do is the earliest of all."""
        self.assertEqual(self.holding.deadline(), 0.0)
        self.holding.took(lease(_B, 6000, 100.0), 0.0)
        self.assertEqual(self.holding.deadline(), 50.0)
        self.holding.took(lease(_B, 6000), 50.0)
        self.assertEqual(self.holding.deadline(), CHECK_INTERVAL)


class ChoiceTests(SynchronousTestCase):
    """The best protocol that works is used, and nobody waits long for a better one."""

    silent = PortMapError(Reason.NO_ANSWER, "silent")
    refused = PortMapError(Reason.REFUSED, "no")

    def test_best_at_once(self) -> None:
        """The best one is used as soon as it is found."""
        choice = Choice(3)
        self.assertEqual((choice.best(0.0), choice.deadline()), (None, None))
        choice.found(0, 0.0)
        self.assertEqual(choice.best(0.0), 0)

    def test_grace(self) -> None:
        """A lesser one waits a moment for the better ones, if they may come still."""
        choice = Choice(3)
        choice.found(2, 5.0)
        self.assertEqual((choice.best(5.0), choice.deadline()), (None, 5.0 + GRACE))
        self.assertEqual(choice.best(5.0 + GRACE), 2)
        choice.failed(0, self.silent)
        self.assertIsNone(choice.best(5.0))
        choice.found(1, 5.1)
        self.assertEqual(choice.best(5.1), 1)

    def test_next(self) -> None:
        """Where the best maps nothing after all, the next is used; the farthest error is told."""
        choice = Choice(2)
        choice.found(0, 0.0)
        choice.failed(1, self.silent)
        choice.failed(0, self.refused)
        self.assertTrue(choice.over)
        self.assertIs(choice.why, self.refused)

    def test_most_telling(self) -> None:
        """Of several reasons the one is told that a person can do something about."""
        choice = Choice(3)
        no_address = PortMapError(Reason.NO_ADDRESS, "no address")
        for index, error in enumerate((self.silent, self.refused, no_address)):
            choice.failed(index, error)
            self.assertIs(choice.why, error)

    def test_silence(self) -> None:
        """Where nothing answers, that is told."""
        choice = Choice(1)
        self.assertIsNone(choice.why)
        self.assertFalse(choice.over)
        choice.failed(0, self.silent)
        self.assertEqual((choice.over, choice.why), (True, self.silent))
