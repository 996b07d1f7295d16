"""Tests for :mod:`wavesync.udt.room`."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.room import LEAST_SHARE, PERIOD, Room


class RoomTests(SynchronousTestCase):
    """Many connections of a port do not fill the system's buffer beyond what it holds."""

    def share(self, count: int, packets: int = 3640) -> int:
        """:return: what each of *count* connections gets."""
        room = Room(packets)
        for _ in range(count):
            room.take_part(0, 1.0)
        return room.share(1.0)

    def test_alone(self) -> None:
        """One connection may use all of it, and so may one of which nothing has come yet."""
        self.assertEqual([self.share(0), self.share(1)], [3640, 3640])

    def test_several(self) -> None:
        """More get whole bursts, where it is more than one, and a quarter more than there is together."""
        self.assertEqual(self.share(3), 1516 - 1516 % 44)
        self.assertEqual(self.share(50), 2 * 44)
        self.assertEqual(self.share(103), 44)
        self.assertEqual(self.share(104), 43)
        self.assertEqual(self.share(50, 100), LEAST_SHARE)

    def test_never_more_than_there_is(self) -> None:
        """Two do not get more each than one."""
        self.assertLessEqual(self.share(2, 50), 50)
        self.assertEqual(self.share(2, 30), 18)

    def test_least(self) -> None:
        """However many there are, each can go on."""
        self.assertEqual(self.share(284), LEAST_SHARE)
        self.assertEqual(self.share(2000), LEAST_SHARE)

    def test_counted_once(self) -> None:
        """Who takes part several times in a period counts once."""
        room = Room(3640)
        mark = 0
        for step in range(10):
            mark = room.take_part(mark, 1.0 + step * PERIOD / 10)
        self.assertEqual(room.share(1.0), 3640)
        room.take_part(0, 1.0)
        self.assertLess(room.share(1.0), 3640)

    def test_pauses(self) -> None:
        """Connections count for a period more after they have paused, then the others get their share."""
        room = Room(3640)
        marks = [room.take_part(0, 1.0) for _ in range(50)]
        later = 1.01 + PERIOD
        room.take_part(marks[0], later)
        self.assertEqual(room.share(later), 88)
        room.take_part(marks[0] + 1, later + PERIOD)
        self.assertEqual(room.share(later + PERIOD), 3640)

    def test_silence(self) -> None:
        """After a long silence of all nobody counts."""
        room = Room(3640)
        for _ in range(50):
            room.take_part(0, 1.0)
        self.assertEqual(room.share(1.0 + 2.1 * PERIOD), 3640)
