"""Tests for :mod:`wavesync.signalling.lifetimes`."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import NOW
from wavesync.signalling.lifetimes import KEEP_FOR, MAX_NETWORKS, Lifetimes, lifetimes_path
from wavesync.stun.behaviour_words import Lifetime

FOUND = Lifetime(20.0, 25.0)


class LifetimesTests(SynchronousTestCase):
    """Whoever starts again on a network that is known need not be careful anew."""

    def setUp(self) -> None:
        self.now = NOW
        self.network = "home"
        self.path = lifetimes_path(Path(self.mktemp()))
        self.lifetimes = self.open()

    def open(self) -> Lifetimes:
        """As another process has it."""
        return Lifetimes(self.path, wall_clock=lambda: self.now, network=lambda: self.network)

    def test_kept(self) -> None:
        """It is found again by another process on the same network, with its age, for a week."""
        self.assertIsNone(self.lifetimes.recall())
        self.lifetimes.keep(FOUND)
        self.now += 60
        self.assertEqual(self.open().recall(), (FOUND, 60.0))
        self.network = "cafe"
        self.assertIsNone(self.open().recall())
        self.network = "home"
        self.now = NOW + KEEP_FOR - 1
        self.assertIsNotNone(self.open().recall())
        self.now += 1
        self.assertIsNone(self.open().recall())

    def test_clock_set_back(self) -> None:
        """What was found tomorrow does not count."""
        self.lifetimes.keep(FOUND)
        self.now -= 1
        self.assertIsNone(self.lifetimes.recall())

    def test_outlived(self) -> None:
        """A mapping that outlived every test is kept as such."""
        self.lifetimes.keep(Lifetime(120.0, None))
        self.assertEqual(self.open().recall(), (Lifetime(120.0, None), 0.0))

    def test_limit(self) -> None:
        """So many networks are kept and not one more; the oldest goes."""
        for number in range(MAX_NETWORKS + 1):
            self.network = str(number)
            self.lifetimes.keep(FOUND)
        self.assertEqual(len(json.loads(self.path.read_text())), MAX_NETWORKS)
        self.assertIsNotNone(self.lifetimes.recall())
        for network, kept in (("0", False), ("1", True)):
            self.network = network
            self.assertEqual(self.lifetimes.recall() is not None, kept)

    def test_damaged(self) -> None:
        """A file that somebody has damaged is nothing, and is replaced."""
        self.lifetimes.keep(FOUND)
        good = self.path.read_text()
        for text in (
            good[:-2],
            "[]",
            good.replace("20.0", '"long"'),
            good.replace("20.0", "-1"),
            good.replace("25.0", "1e300"),
            " " * (1 << 17),
            good.replace("20.0", '"\udcff"'),
        ):
            self.path.write_bytes(text.encode(errors="surrogateescape"))
            self.assertIsNone(self.lifetimes.recall(), text)
        self.lifetimes.keep(FOUND)
        self.assertEqual(self.path.read_text(), good)

    def test_unwritable(self) -> None:
        """Where nothing can be written, nothing is kept, and nobody is bothered."""
        self.path.parent.write_text("a file")
        self.lifetimes.keep(FOUND)
        self.assertIsNone(self.lifetimes.recall())
