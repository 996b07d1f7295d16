"""Tests for L{wavesync.udt.tail}: what a crowd of connections knows; the rest is in C{test_setup}."""

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair
from wavesync.interfaces import Address
from wavesync.testing.time import run_for
from wavesync.udt.connection import Connection
from wavesync.udt.tail import (
    ACK_DELAY,
    HURRY,
    LAPSE,
    MANY,
    MAX_ADDRESSES,
    MAX_TAIL_TIMEOUT,
    SETUP_RTT,
    SharedTrip,
    SharedTrips,
)


def crowd(rtt: float, samples: int = MANY) -> SharedTrip:
    """:return: what a crowd has measured by the time 0."""
    trip = SharedTrip()
    for _ in range(samples):
        trip.add(rtt, 0.0)
    return trip


class SharedTripTests(SynchronousTestCase):
    """When there is a crowd, and what it knows."""

    def test_few(self) -> None:
        """Fewer than 16 round trips are no crowd."""
        self.assertEqual(crowd(0.5, MANY - 1).patience(0.0), 0.0)
        self.assertAlmostEqual(crowd(0.5).patience(0.0), HURRY[-1] * 0.5)

    def test_lapse(self) -> None:
        """Half a second without any ends the crowd; a new one begins from nothing."""
        trip = crowd(0.5)
        self.assertGreater(trip.patience(LAPSE), 0.0)
        self.assertEqual(trip.patience(LAPSE + 0.01), 0.0)
        trip.add(0.1, LAPSE + 0.02)
        self.assertEqual(trip.patience(LAPSE + 0.02), 0.0)
        for _ in range(MANY):
            trip.add(0.1, LAPSE + 0.02)
        self.assertAlmostEqual(trip.patience(LAPSE + 0.02), HURRY[-1] * 0.1)

    def test_outage(self) -> None:
        """However long others had to wait, after a second something is sent again."""
        self.assertEqual(crowd(5.0).patience(0.0), MAX_TAIL_TIMEOUT)

    def test_addresses(self) -> None:
        """256 addresses are remembered; of one more, the one not asked for longest is forgotten."""
        trips = SharedTrips()
        addresses: list[Address] = [("192.0.2.1", port) for port in range(MAX_ADDRESSES)]
        first, second = trips.of(addresses[0]), trips.of(addresses[1])
        for address in addresses:
            trips.of(address)
        trips.of(addresses[0])
        trips.of(("192.0.2.2", 1))
        self.assertEqual(len(trips), MAX_ADDRESSES)
        self.assertIs(trips.of(addresses[0]), first)
        self.assertIsNot(trips.of(addresses[1]), second)


class CrowdTests(SynchronousTestCase):
    """What a crowd changes for one of its connections."""

    def repeated_at(self, trip: SharedTrip | None) -> float:
        """:return: when a first packet that nobody acknowledges is sent again."""
        connection = Connection(
            now=0.0,
            local_id=1,
            peer_id=2,
            send_isn=0,
            receive_isn=0,
            send_mss=1500,
            peer_window=100,
            shared_trip=trip,
        )
        connection.write(b"hello")
        self.assertNotEqual(connection.datagrams(0.0), [])
        for _ in range(10):
            due = connection.deadline()
            assert due is not None
            connection.timer(due)
            if connection.datagrams(due):
                return due
        self.fail("it is never sent again")

    def test_waits(self) -> None:
        """In a crowd nothing is sent again before others have been answered as late."""
        self.assertAlmostEqual(self.repeated_at(crowd(0.3)), HURRY[-1] * 0.3)

    def test_no_crowd(self) -> None:
        """Without one, or where it is answered soon, the first packets are in a hurry."""
        hurried = HURRY[0] * SETUP_RTT + ACK_DELAY
        for trip in (None, crowd(5.0, MANY - 1), crowd(0.05)):
            self.assertAlmostEqual(self.repeated_at(trip), hurried)

    def test_shared(self) -> None:
        """The connections of a port with one address share what they know, others do not."""
        pair = Pair(delay=0.1)
        pair.there.trust(Pair.HERE)
        pair.there.listen(pair.recorders(echo=True))
        ours = pair.recorders(b"hello")
        for _ in range(MANY):
            pair.here.connect(Pair.THERE, ours)
        run_for(pair.clock, 0.55)
        self.assertEqual(len(ours.made), MANY)
        now = pair.clock.seconds()
        for port, remote in ((pair.here, Pair.THERE), (pair.there, Pair.HERE)):
            self.assertAlmostEqual(port._trips.of(remote).patience(now), HURRY[-1] * 0.2)
            self.assertEqual(port._trips.of(("192.0.2.9", 9)).patience(now), 0.0)
