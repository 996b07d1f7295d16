"""Tests for :mod:`wavesync.tunnel.ladder_store`."""

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.test_ladder import PLAIN, TUNNELS, WAYS, direct
from wavesync.tunnel.ladder import SINKS_BY, Ladder
from wavesync.tunnel.ladder_store import (
    KEEP_FOR,
    MAX_LADDERS,
    SAVE_AFTER,
    SAVE_EVERY,
    Ladders,
    ladders_path,
)
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.way import RAW, Route, Way, ways_of

NAME = "mediator.example"


class LaddersTests(SynchronousTestCase):
    """What was learned of ways counts on that network only, and after a restart."""

    def setUp(self) -> None:
        self.now, self.epoch, self.network = 100.0, 1e9, "home"
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = ladders_path(directory)

    def ladders(self, path: Path | None = None) -> Ladders:
        """A process's knowledge."""
        return Ladders(
            path,
            clock=lambda: self.now,
            wall_clock=lambda: self.epoch,
            network=lambda: self.network,
        )

    def pass_time(self, seconds: float) -> None:
        """Let it go by."""
        self.now += seconds
        self.epoch += seconds

    def learn(self, ladders: Ladders, name: str = NAME) -> Ladder:
        """Find that the plain port is closed, and polls work."""
        ladder = ladders.ladder(name, WAYS)
        ladder.failed(direct(RAW), self.now, "refused")
        ladder.worked(direct("poll"), self.now, took=0.4)
        ladders.note()
        return ladder

    def test_later(self) -> None:
        """Nothing is written while somebody connects; what a program that ends has learned is kept."""
        clock = Clock()
        for closed in (False, True):
            self.path.unlink(missing_ok=True)
            ladders = Ladders(
                self.path,
                clock=lambda: self.now,
                wall_clock=lambda: self.epoch,
                network=lambda: self.network,
                later=lambda act: clock.callLater(SAVE_AFTER, act),
            )
            self.learn(ladders)
            self.learn(ladders)
            self.assertFalse(self.path.exists())
            if closed:
                ladders.save()
            else:
                clock.advance(SAVE_AFTER)
            self.assertEqual(clock.getDelayedCalls(), [])
            found = self.ladders(self.path).ladder(NAME, WAYS)
            self.assertEqual(found.proven, direct("poll"))

    def test_restart(self) -> None:
        """Another process knows it; the time between the two counts."""
        self.learn(self.ladders(self.path))
        self.epoch += 40.0
        self.now = 3.0  # another process has another clock
        found = self.ladders(self.path).ladder(NAME, WAYS)
        self.assertEqual(found.proven, direct("poll"))
        self.assertEqual(found.took(direct("poll")), 0.4)
        self.assertEqual(found.depth(direct(RAW), self.now), SINKS_BY - 40.0)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_other_network(self) -> None:
        """Somewhere else nothing is known; back at home it is known again."""
        ladders = self.ladders(self.path)
        self.learn(ladders)
        self.network = "office"
        self.assertIsNone(ladders.ladder(NAME, WAYS).proven)
        self.network = "home"
        self.assertEqual(ladders.ladder(NAME, WAYS).proven, direct("poll"))

    def test_other_destination(self) -> None:
        """What is known of one mediator says nothing of another."""
        ladders = self.ladders(self.path)
        self.learn(ladders)
        self.assertIsNone(ladders.ladder("other.example", WAYS).proven)

    def test_cut_by_proxy(self) -> None:
        """A proxy that cuts what lasts does so on the way to all destinations, on that network."""
        ways = ways_of([PLAIN], [TUNNELS], lambda url: Proxy("corp", 3128))
        ladders = self.ladders(self.path)
        proxied = Way(PLAIN, Route.CONNECT, RAW)
        for network, cuts in (("home", False), ("office", True)):
            self.network = network
            ladders.ladder(NAME, ways)
            other = ladders.ladder("other.example", ways)
            if cuts:
                ladders.cut_by_proxy()
            self.assertEqual(other.ails(proxied, self.now), cuts)
            self.assertFalse(other.ails(direct(RAW), self.now))
        ladders.save()
        again = self.ladders(self.path)
        for network, cuts in (("home", False), ("office", True)):
            self.network = network
            self.assertEqual(again.ladder(NAME, ways).ails(proxied, self.now), cuts)

    def test_other_ways(self) -> None:
        """A new proxy, say, makes a new ladder; what was known of the same ways stays."""
        ladders = self.ladders(self.path)
        self.learn(ladders)
        found = ladders.ladder(NAME, WAYS[1:])
        self.assertEqual(found.proven, direct("poll"))
        self.assertEqual(len(found.ways), len(WAYS) - 1)

    def test_in_memory(self) -> None:
        """Without a file it is known as long as the process lives."""
        ladders = self.ladders()
        self.assertIs(self.learn(ladders), ladders.ladder(NAME, WAYS))
        self.assertIsNone(self.ladders().ladder(NAME, WAYS).proven)

    def test_forgotten(self) -> None:
        """After a month nothing of it counts; nor when the clock was wrong."""
        self.learn(self.ladders(self.path))
        for later in (KEEP_FOR, -10.0):
            self.epoch += later
            self.assertIsNone(self.ladders(self.path).ladder(NAME, WAYS).proven)
            self.epoch -= later

    def test_two_processes(self) -> None:
        """What another process has written down stays."""
        one, other = self.ladders(self.path), self.ladders(self.path)
        self.learn(one, "one.example")
        self.learn(other, "other.example")
        one.save()
        third = self.ladders(self.path)
        for name in ("one.example", "other.example"):
            self.assertIsNotNone(third.ladder(name, WAYS).proven, name)

    def test_written_seldom(self) -> None:
        """A failure is written down within seconds, another working way at once."""
        ladders = self.ladders(self.path)
        ladder = self.learn(ladders)
        before = self.path.read_bytes()
        self.pass_time(1.0)
        ladder.failed(direct("two"), self.now, "silent")
        ladders.note()
        self.assertEqual(self.path.read_bytes(), before)
        self.pass_time(SAVE_EVERY)
        ladders.note()
        self.assertNotEqual(self.path.read_bytes(), before)
        before = self.path.read_bytes()
        ladder.worked(direct("upgrade"), self.now)
        ladders.note()
        self.assertNotEqual(self.path.read_bytes(), before)

    def test_limit(self) -> None:
        """No more than some are kept; those go that were of no use the longest."""
        ladders = self.ladders(self.path)
        for number in range(MAX_LADDERS + 1):
            self.pass_time(1.0)
            self.learn(ladders, f"host{number}.example")
            self.assertLessEqual(len(ladders), MAX_LADDERS)
        ladders.save()
        found = self.ladders(self.path)
        self.assertIsNone(found.ladder("host0.example", WAYS).proven)
        self.assertIsNotNone(found.ladder(f"host{MAX_LADDERS}.example", WAYS).proven)
        self.assertIsNotNone(found.ladder("host1.example", WAYS).proven)

    def test_spoilt_file(self) -> None:
        """A file that cannot be used is not; it is written anew."""
        for spoilt in (b"", b"{", b'{"ways": {"home x": 5}}', b"\xff" * 10, b"[" * 100000):
            self.path.write_bytes(spoilt)
            ladders = self.ladders(self.path)
            self.assertIsNone(ladders.ladder(NAME, WAYS).proven)
            self.learn(ladders)
            self.assertIsNotNone(self.ladders(self.path).ladder(NAME, WAYS).proven)

    def test_no_place(self) -> None:
        """Where nothing can be written, all works but the memory."""
        ladders = self.ladders(Path("/proc/nowhere/ways.json"))
        self.learn(ladders)
        self.assertEqual(ladders.ladder(NAME, WAYS).proven, direct("poll"))
