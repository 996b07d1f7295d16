"""Tests for :mod:`wavesync.udt.inlets`."""

import errno
import os

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.udt.inlets import MAX_DATAGRAM, MAX_TURN, Arrival, BurstAssembler, PlainInlet

SOURCE: Address = ("192.0.2.1", 1)


class AssemblerTests(SynchronousTestCase):
    """Datagrams to bursts."""

    def assembled(self, *datagrams: tuple[bytes, Address]) -> list[Arrival]:
        """:return: the bursts that these make."""
        assembler = BurstAssembler()
        for data, source in datagrams:
            assembler.add(data, source)
        return assembler.take()

    def test_assembled(self) -> None:
        """Datagrams of one size and source make a burst, which a shorter one ends."""
        self.assertEqual(
            self.assembled(*((data, SOURCE) for data in (b"aa", b"bb", b"c", b"dd"))),
            [Arrival(b"aabbc", 2, SOURCE), Arrival(b"dd", 2, SOURCE)],
        )

    def test_longer(self) -> None:
        """A longer datagram begins another burst."""
        self.assertEqual(
            self.assembled((b"a", SOURCE), (b"bb", SOURCE)),
            [Arrival(b"a", 1, SOURCE), Arrival(b"bb", 2, SOURCE)],
        )

    def test_sources(self) -> None:
        """Another source begins another burst."""
        other = ("192.0.2.1", 2)
        self.assertEqual(
            self.assembled((b"aa", SOURCE), (b"bb", other), (b"cc", SOURCE)),
            [Arrival(b"aa", 2, SOURCE), Arrival(b"bb", 2, other), Arrival(b"cc", 2, SOURCE)],
        )

    def test_empty(self) -> None:
        """Empty datagrams are dropped, wherever they come."""
        self.assertEqual(
            self.assembled((b"", SOURCE), (b"aa", SOURCE), (b"", SOURCE), (b"bb", SOURCE)),
            [Arrival(b"aa", 2, SOURCE), Arrival(b"bb", 2, SOURCE)],
        )
        self.assertEqual(self.assembled(), [])


class Script:
    """A socket that gives datagrams and errors in turn, then has nothing."""

    def __init__(self, *script: bytes | int) -> None:
        self.script = list(script)

    def recvfrom(self, size: int) -> tuple[bytes, Address]:
        """Give the next."""
        entry = self.script.pop(0) if self.script else errno.EAGAIN
        if isinstance(entry, int):
            raise OSError(entry, os.strerror(entry))
        return entry[:size], SOURCE


class PlainTests(SynchronousTestCase):
    """Datagrams one by one."""

    def taken(self, *script: bytes | int) -> tuple[list[Arrival], int]:
        """:return: what comes in one turn of these, and how many were dropped."""
        inlet = PlainInlet(Script(*script))  # type: ignore[arg-type]
        return list(inlet.arrivals()), inlet.dropped

    def test_turn(self) -> None:
        """One turn takes so many datagrams, and no more."""
        script = [b"ab"] * (MAX_TURN + 1)
        self.assertEqual(self.taken(*script), ([Arrival(b"ab" * MAX_TURN, 2, SOURCE)], 0))

    def test_refused(self) -> None:
        """An ICMP error of something sent earlier keeps nothing from being read."""
        taken = self.taken(errno.ECONNREFUSED, b"ab", errno.EINTR, b"cd")
        self.assertEqual(taken, ([Arrival(b"abcd", 2, SOURCE)], 0))

    def test_closed(self) -> None:
        """A socket that is closed under it gives nothing."""
        self.assertEqual(self.taken(errno.EBADF, b"ab"), ([], 0))

    def test_oversize(self) -> None:
        """The longest datagram is taken, a longer one is dropped and counted."""
        longest = bytes(MAX_DATAGRAM)
        taken = self.taken(longest + b"x", longest)
        self.assertEqual(taken, ([Arrival(longest, MAX_DATAGRAM, SOURCE)], 1))
