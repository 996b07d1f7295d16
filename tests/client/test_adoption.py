"""Tests for :mod:`wavesync.client.adoption`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.adoption import LEAST_PATIENCE, LONGEST_PATIENCE, Adoption


class AdoptionTests(SynchronousTestCase):
    """A relay is taken at once, but for direct paths that are about to be verified."""

    def test_no_relay(self) -> None:
        """Nothing is due while the relay itself is not verified."""
        adoption = Adoption()
        adoption.heard("udp", 1.0)
        self.assertIsNone(adoption.due())
        self.assertFalse(adoption.waiting)

    def test_nothing_heard(self) -> None:
        """Without any sign of a direct path the relay is due when it is verified."""
        adoption = Adoption()
        adoption.verified(5.0, 0.1)
        self.assertEqual(adoption.due(), 5.0)
        self.assertTrue(adoption.waiting)

    def test_patience(self) -> None:
        """A path that was heard gets what a handshake takes over the relay and a quarter, within bounds."""
        for took, patience in (
            (0.1, 0.125),
            (0.0, LEAST_PATIENCE),
            (1.0, LONGEST_PATIENCE),
            (None, LONGEST_PATIENCE),
        ):
            adoption = Adoption()
            adoption.began("udp", 1.0)
            adoption.heard("udp", 4.99)
            adoption.verified(5.0, took)
            self.assertAlmostEqual(adoption.due() or 0.0, 4.99 + patience)

    def test_heard_long_ago(self) -> None:
        """A path that was heard long ago and has not been verified since is not waited for."""
        adoption = Adoption()
        adoption.began("tcp", 1.0)
        adoption.heard("tcp", 1.0)
        adoption.verified(5.0, 0.1)
        self.assertEqual(adoption.due(), 5.0)

    def test_one_after_another(self) -> None:
        """However many paths are heard one after another, the relay does not wait for ever."""
        adoption = Adoption()
        adoption.verified(5.0, 0.08)
        for step in range(10):
            adoption.began(step, 5.0)
            adoption.heard(step, 5.0 + step * 0.05)
        self.assertAlmostEqual(adoption.due() or 0.0, 5.1)

    def test_heard_twice(self) -> None:
        """Only the first sign of a path counts."""
        adoption = Adoption()
        adoption.verified(5.0, 0.08)
        adoption.began("udp", 1.0)
        adoption.heard("udp", 4.95)
        adoption.heard("udp", 4.99)
        self.assertAlmostEqual(adoption.due() or 0.0, 5.05)

    def test_path_ended(self) -> None:
        """A path that has failed is not waited for."""
        adoption = Adoption()
        adoption.began("udp", 5.0)
        adoption.heard("udp", 5.0)
        adoption.verified(5.0, 0.1)
        adoption.ended("udp")
        adoption.ended("never heard of")
        self.assertEqual(adoption.due(), 5.0)

    def test_held(self) -> None:
        """What is known of the network holds it back until the time that was given."""
        adoption = Adoption(hold_until=5.6)
        adoption.verified(5.0, 0.1)
        self.assertEqual(adoption.due(), 5.6)

    def test_not_heard_yet(self) -> None:
        """A path that began so late that it cannot have been heard gets a round trip from there."""
        for began, due in ((4.8, 5.0), (4.92, 5.0), (4.97, 5.05), (5.0, 5.08)):
            adoption = Adoption()
            adoption.began("udp", began)
            adoption.verified(5.0, 0.08)
            self.assertAlmostEqual(adoption.due() or 0.0, due)
        adoption = Adoption()
        adoption.began("udp", 5.0)
        adoption.verified(5.0, 60.0)
        self.assertAlmostEqual(adoption.due() or 0.0, 5.0 + LONGEST_PATIENCE)

    def test_not_heard_yet_on_a_busy_host(self) -> None:
        """Time that the relay's ends spent calculating is no part of that round trip."""
        adoption = Adoption()
        adoption.began("udp", 4.97)
        adoption.verified(5.0, 0.08, 0.05)
        self.assertAlmostEqual(adoption.due() or 0.0, 5.02)
