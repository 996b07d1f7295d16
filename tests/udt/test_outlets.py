"""Tests for :mod:`wavesync.udt.outlets`."""

import errno
import os
import socket
import struct
import sys
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address, Burst, Oversized
from wavesync.udt.outlets import (
    MAX_PATHS,
    PATIENCE,
    Outlet,
    PlainOutlet,
    SegmentingOutlet,
    can_segment,
)

THERE: Address = ("192.0.2.1", 1)
ELSEWHERE: Address = ("192.0.2.2", 1)


class Fake:
    """A socket that notes what is sent, and fails as scripts say.

    :ivar sent: what was sent: bytes, and the size they were cut by or 0.
    :ivar single: errors of the next single datagrams, 0 for none.
    :ivar whole: the same of bursts.
    """

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.options: list[tuple[int, int, int]] = []
        self.single: list[int] = []
        self.whole: list[int] = []

    @staticmethod
    def _fail(script: list[int]) -> None:
        number = script.pop(0) if script else 0
        if number:
            raise OSError(number, os.strerror(number))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Note it."""
        self.options.append((level, option, value))

    def sendto(self, data: bytes, address: Address) -> int:
        """Send a datagram."""
        self._fail(self.single)
        self.sent.append((bytes(data), 0))
        return len(data)

    def sendmsg(self, pieces: Any, control: Any, flags: int, address: Address) -> int:
        """Send a burst."""
        self._fail(self.whole)
        ((level, kind, size),) = control
        assert (level, kind, flags) == (17, 103, 0)
        data = b"".join(pieces)
        self.sent.append((data, struct.unpack("=H", size)[0]))
        return len(data)


class PlainTests(SynchronousTestCase):
    """Datagrams one by one."""

    def setUp(self) -> None:
        """Make one."""
        self.fake = Fake()
        self.told: list[tuple[bytes, Address]] = []
        self.must = False

        def too_large(datagram: bytes, destination: Address) -> bool:
            self.told.append((datagram, destination))
            return self.must

        self.outlet = PlainOutlet(self.fake, too_large)  # type: ignore[arg-type]

    def pieces(self) -> list[bytes]:
        """:return: what left as single datagrams."""
        return [data for data, size in self.fake.sent if not size]

    def test_cut(self) -> None:
        """A burst leaves as datagrams; a single one as it is."""
        self.assertEqual(self.outlet.send(Burst(b"aabbc", 2), THERE), 5)
        self.assertEqual(self.outlet.send(Burst(b"dd", 2), THERE), 2)
        self.assertEqual(self.pieces(), [b"aa", b"bb", b"c", b"dd"])

    def test_blocked(self) -> None:
        """When the kernel takes no more, it goes on there later."""
        self.fake.single = [0, errno.EAGAIN]
        burst = Burst(b"aabbc", 2)
        self.assertEqual(self.outlet.send(burst, THERE), 2)
        self.assertEqual(self.outlet.send(burst, THERE, 2), 5)
        self.assertEqual(self.pieces(), [b"aa", b"bb", b"c"])

    def test_errors(self) -> None:
        """What cannot be sent is lost like anything else; what is behind it goes out."""
        self.fake.single = [errno.ENETUNREACH, errno.EPERM, 0]
        self.assertEqual(self.outlet.send(Burst(b"abc", 1), THERE), 3)
        self.assertEqual((self.pieces(), self.outlet.dropped), ([b"c"], 2))
        self.assertEqual(self.told, [])

    def test_too_large(self) -> None:
        """Somebody is asked what to do with a datagram that is too large for the way: it is left out, or
        leaves in fragments, and only it."""
        self.fake.single = [errno.EMSGSIZE]
        self.outlet.send(Burst(b"aab", 2), THERE)
        self.assertEqual((self.pieces(), self.told), ([b"b"], [(b"aa", THERE)]))
        self.assertEqual((self.outlet.dropped, self.fake.options), (1, []))
        self.must = True
        self.fake.single = [errno.EMSGSIZE]
        self.assertEqual(self.outlet.send(Burst(b"ccd", 2), THERE), 3)
        self.assertEqual((self.pieces(), self.outlet.dropped), ([b"b", b"cc", b"d"], 1))
        if sys.platform == "linux":
            self.assertEqual([value for _, _, value in self.fake.options], [0, 3])
        self.fake.single = [errno.EMSGSIZE, errno.EAGAIN]
        self.assertEqual(self.outlet.send(Burst(b"ee", 2), THERE), 0)
        self.fake.single = [errno.EMSGSIZE, errno.EMSGSIZE]
        self.assertEqual(self.outlet.send(Burst(b"ee", 2), THERE), 2)
        self.assertEqual(self.outlet.dropped, 2)

    def test_oversized(self) -> None:
        """What is known to be too large leaves in fragments, a datagram at a time, and goes on where it was
        blocked; what follows does not."""
        burst = Oversized(b"aabbc", 2)
        sock: Any = self.fake
        for outlet in (self.outlet, SegmentingOutlet(sock, self.outlet)):
            self.fake.sent.clear()
            self.fake.options.clear()
            self.fake.single = [0, errno.EAGAIN]
            self.assertEqual(outlet.send(burst, THERE), 2)
            self.assertEqual(outlet.send(burst, THERE, 2), 5)
            self.assertEqual(self.pieces(), [b"aa", b"bb", b"c"])
            if sys.platform == "linux":
                self.assertEqual([value for _, _, value in self.fake.options], [0, 3] * 4)
            outlet.send(Burst(b"aabb", 4), THERE)
            self.assertEqual(len(self.fake.options), 8 if sys.platform == "linux" else 0)
        self.assertEqual(self.told, [])

    def test_refused(self) -> None:
        """An ICMP error of an earlier datagram does not lose the next; three in a row do."""
        self.fake.single = [errno.ECONNREFUSED]
        self.outlet.send(Burst(b"a", 1), THERE)
        self.assertEqual((self.pieces(), self.outlet.dropped), ([b"a"], 0))
        self.fake.single = [errno.ECONNREFUSED] * 3
        self.outlet.send(Burst(b"a", 1), THERE)
        self.assertEqual((self.pieces(), self.outlet.dropped), ([b"a"], 1))


class SegmentingTests(SynchronousTestCase):
    """Whole bursts."""

    def renew(self) -> None:
        """Make one."""
        self.fake = Fake()
        sock: Any = self.fake
        self.outlet: Outlet = SegmentingOutlet(sock, PlainOutlet(sock))
        self.passed = len(self.events)

    def setUp(self) -> None:
        """Make one, and watch the log."""
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.addCleanup(captured.__exit__, None, None, None)
        self.renew()

    def test_whole(self) -> None:
        """A burst leaves in one call, a single datagram as it is."""
        self.assertEqual(self.outlet.send(Burst(b"aabbc", 2), THERE), 5)
        self.assertEqual(self.outlet.send(Burst(b"dd", 2), THERE), 2)
        self.assertEqual(self.fake.sent, [(b"aabbc", 2), (b"dd", 0)])

    def test_parts(self) -> None:
        """What is too much for the kernel at once leaves in parts: 44 datagrams, or 64768 bytes."""
        self.outlet.send(Burst(bytes(45), 1), THERE)
        self.outlet.send(Burst(bytes(32 * 2048), 2048), THERE)
        self.assertEqual(
            [(len(data), size) for data, size in self.fake.sent],
            [(44, 1), (1, 1), (31 * 2048, 2048), (2048, 2048)],
        )

    def test_no_byte_lost(self) -> None:
        """Whatever error says that the kernel does not cut up bursts, or not on this way: the same
        burst leaves as datagrams at once, so do later ones, and the log says so once."""
        for number in (errno.ENOPROTOOPT, errno.EIO, errno.EINVAL, errno.EMSGSIZE):
            self.renew()
            self.fake.whole = [number]
            self.assertEqual(self.outlet.send(Burst(b"aabbc", 2), THERE), 5)
            self.assertEqual(self.outlet.send(Burst(b"dde", 2), THERE), 3)
            sent = [(b"aa", 0), (b"bb", 0), (b"c", 0), (b"dd", 0), (b"e", 0)]
            self.assertEqual((self.fake.sent, self.outlet.dropped), (sent, 0))
            self.assertEqual([event["host"] for event in self.events[self.passed :]], [THERE[0]])

    def test_this_way_only(self) -> None:
        """An error of one way leaves the others fast; one of the kernel's does not."""
        for number, size in (
            (errno.EIO, 2),
            (errno.EINVAL, 2),
            (errno.EMSGSIZE, 2),
            (errno.ENOPROTOOPT, 0),
        ):
            self.renew()
            self.fake.whole = [number]
            self.outlet.send(Burst(b"ab", 1), THERE)
            self.fake.sent.clear()
            self.outlet.send(Burst(b"aabb", 2), ELSEWHERE)
            self.assertEqual(self.fake.sent[0][1], size, errno.errorcode[number])

    def test_datagrams_too_large(self) -> None:
        """Where it is the datagrams that are too large, smaller ones leave whole again."""
        self.fake.whole = [errno.EMSGSIZE]
        self.fake.single = [errno.EMSGSIZE] * 2
        self.outlet.send(Burst(b"aabb", 2), THERE)
        self.outlet.send(Burst(b"ab", 1), THERE)
        self.assertEqual(self.fake.sent, [(b"ab", 1)])

    def test_tried_again(self) -> None:
        """After many bursts it is tried again: the way may be another."""
        self.fake.whole = [errno.EIO]
        for _ in range(PATIENCE + 1):
            self.outlet.send(Burst(b"ab", 1), THERE)
        self.assertEqual(self.fake.sent[-1], (b"b", 0))
        self.outlet.send(Burst(b"ab", 1), THERE)
        self.assertEqual(self.fake.sent[-1], (b"ab", 1))

    def test_paths_limit(self) -> None:
        """So many ways are remembered; one more pushes the oldest out."""
        self.fake.whole = [errno.EIO] * (MAX_PATHS + 1)
        for last in range(MAX_PATHS):
            self.outlet.send(Burst(b"ab", 1), (f"192.0.2.{last}", 1))
        self.fake.sent.clear()
        self.outlet.send(Burst(b"ab", 1), ("192.0.2.0", 1))
        self.assertEqual(self.fake.sent, [(b"a", 0), (b"b", 0)])
        self.outlet.send(Burst(b"ab", 1), ("198.51.100.1", 1))
        self.fake.sent.clear()
        self.outlet.send(Burst(b"ab", 1), ("192.0.2.0", 1))
        self.assertEqual(self.fake.sent, [(b"ab", 1)])

    def test_blocked(self) -> None:
        """When the kernel takes no more, it goes on with the rest later, in order."""
        self.fake.whole = [0, errno.EAGAIN]
        burst = Burst(bytes(100), 1)
        done = self.outlet.send(burst, THERE)
        self.assertEqual(done, 44)
        self.assertEqual(self.outlet.send(burst, THERE, done), 100)
        self.assertEqual([len(data) for data, _ in self.fake.sent], [44, 44, 12])

    def test_blocked_in_the_middle_of_datagrams(self) -> None:
        """The same where a burst has to leave one by one."""
        self.fake.whole = [errno.EIO]
        self.fake.single = [0, 0, errno.EAGAIN]
        burst = Burst(b"abcdef", 1)
        done = self.outlet.send(burst, THERE)
        self.assertEqual((done, self.outlet.send(burst, THERE, done)), (2, 6))
        self.assertEqual(b"".join(data for data, _ in self.fake.sent), b"abcdef")

    def test_refused(self) -> None:
        """An ICMP error of an earlier datagram does not lose the next burst; three in a row do."""
        self.fake.whole = [errno.ECONNREFUSED, errno.EINTR]
        self.outlet.send(Burst(b"ab", 1), THERE)
        self.assertEqual((self.fake.sent, self.outlet.dropped), ([(b"ab", 1)], 0))
        self.fake.whole = [errno.ECONNREFUSED] * 3
        self.outlet.send(Burst(b"abc", 1), THERE)
        self.assertEqual(self.outlet.dropped, 3)

    def test_errors(self) -> None:
        """A burst without a way there is lost as its datagrams would be."""
        self.fake.whole = [errno.ENETUNREACH]
        self.assertEqual(self.outlet.send(Burst(b"aab", 2), THERE), 3)
        self.assertEqual((self.fake.sent, self.outlet.dropped), ([], 2))


class ProbeTests(SynchronousTestCase):
    """What the kernel knows."""

    def test_probe(self) -> None:
        """A socket that refuses the option has no bursts; this system's sockets need not raise."""

        class Refusing:
            def setsockopt(self, *what: int) -> None:
                raise OSError(errno.ENOPROTOOPT, "no")

        self.assertFalse(can_segment(Refusing()))  # type: ignore[arg-type]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as real:
            self.assertIn(can_segment(real), (True, False))
