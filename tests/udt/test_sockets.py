"""Tests for :mod:`wavesync.udt.sockets`."""

import errno
import os
import socket
import sys

from twisted.logger import capturedLogs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wavesync.udt import sockets
from wavesync.udt.sockets import BUFFER_SIZE, CHARGE, room, size_buffers


class Limited:
    """A socket of a system that gives less than was asked for.

    :ivar size: bytes of each buffer.
    """

    def __init__(self, limit: int, *, privileged: bool) -> None:
        self.size = 0
        self._limit = limit
        self._privileged = privileged

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Give what the limit allows, or all to the privileged."""
        if option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.size = min(value, self._limit)
        elif self._privileged:
            self.size = value
        else:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def getsockopt(self, level: int, option: int) -> int:
        """Tell twice as much, as Linux does."""
        return 2 * self.size


class BufferTests(SynchronousTestCase):
    """The kernel's buffers."""

    def setUp(self) -> None:
        """Note what is logged."""
        if sys.platform != "linux":
            raise SkipTest("Linux only")
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.addCleanup(captured.__exit__, None, None, None)
        told = set(sockets._told)
        sockets._told.clear()
        self.addCleanup(sockets._told.update, told)

    @property
    def lines(self) -> list[str]:
        """What the lines are about."""
        return [event["name"] for event in self.events if "name" in event]

    def test_clamped(self) -> None:
        """A system that gives less is worth a line for each buffer, once, with what to do."""
        for _ in range(2):
            size_buffers(Limited(212_992, privileged=False))  # type: ignore[arg-type]
        self.assertEqual(self.lines, ["net.core.rmem_max", "net.core.wmem_max"])

    def test_privileged(self) -> None:
        """Root gets what it asks for, without a line."""
        limited = Limited(212_992, privileged=True)
        size_buffers(limited)  # type: ignore[arg-type]
        self.assertEqual((limited.size, self.lines), (BUFFER_SIZE, []))

    def test_room(self) -> None:
        """What fits is counted in datagrams as the kernel charges them."""
        limited = Limited(BUFFER_SIZE, privileged=False)
        size_buffers(limited)  # type: ignore[arg-type]
        self.assertEqual(room(limited), 2 * BUFFER_SIZE // CHARGE)  # type: ignore[arg-type]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as real:
            real.bind(("127.0.0.1", 0))
            for _ in range(room(real)):
                real.sendto(bytes(1472), real.getsockname())
            for _ in range(room(real)):
                self.assertEqual(len(real.recv(2000, socket.MSG_DONTWAIT)), 1472)

    def test_enough(self) -> None:
        """A system that gives all is not asked again."""
        limited = Limited(BUFFER_SIZE, privileged=False)
        size_buffers(limited)  # type: ignore[arg-type]
        self.assertEqual((limited.size, self.lines), (BUFFER_SIZE, []))
