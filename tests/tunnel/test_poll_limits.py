"""Tests for :mod:`wavesync.tunnel.poll_limits`: what an operator allows one tunnel of short polls."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.poll_world import PollWorld
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.settings import RelaySettings, Tunnels
from wavesync.settings import load_settings
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.poll_core import MAX_REQUESTS, WINDOW
from wavesync.tunnel.poll_held import ServerCore
from wavesync.tunnel.poll_limits import LEAST_BYTES, MOST_BYTES, Pace, PollLimits
from wavesync.tunnel.poll_wire import MAX_LIVE, PollError, PollRequest

_ETC = Path(__file__).parents[2] / "etc"


def _request(serial: int, keep: int = MAX_LIVE) -> PollRequest:
    return PollRequest(serial, 0, 0, 10_000_000, keep, 20_000, (serial,))


class SettingsTests(SynchronousTestCase):
    """What can be set, and what is set where nothing is."""

    def test_ranges(self) -> None:
        """A number out of its range is refused, at the relay's and the mediator's, with its name."""
        for name, good, bad in (
            ("poll_waiting", (1, MAX_LIVE), (0, MAX_LIVE + 1)),
            ("poll_bytes", (LEAST_BYTES, MOST_BYTES), (LEAST_BYTES - 1, MOST_BYTES + 1)),
            ("poll_rate", (0.0, 1.0, 500.0), (-1.0, 0.5, float("inf"), float("nan"))),
        ):
            sections: tuple[Any, ...] = (TunnelLimits, Tunnels)
            for section in sections:
                for value in good:
                    section(**{name: value})
                for value in bad:
                    error = self.assertRaises(ValueError, section, **{name: value})
                    self.assertIn(name, str(error))

    def test_defaults(self) -> None:
        """Samples show them, and both servers have the same."""
        self.assertEqual(PollLimits(), PollLimits(16, WINDOW, 0.0))
        relay = load_settings(str(_ETC / "relay.toml"), RelaySettings)
        mediator = load_settings(str(_ETC / "mediator.toml"), MediatorSettings)
        self.assertEqual(relay.tunnels.limits.polls, PollLimits())
        self.assertEqual(mediator.tunnels.polls, PollLimits())

    def test_relay(self) -> None:
        """What is set for a relay is what its tunnels have."""
        limits = Tunnels(poll_waiting=2, poll_bytes=50_000, poll_rate=9.0).limits
        self.assertEqual(limits.polls, PollLimits(2, 50_000, 9.0))


class PaceTests(SynchronousTestCase):
    """So many polls a second, and as many at once as a client has."""

    def test_pace(self) -> None:
        """The first five at once, then one after the other; a pause earns five again."""
        pace = Pace(10.0)
        for _ in range(MAX_REQUESTS):
            self.assertLessEqual(pace.at, 100.0)
            pace.answered(100.0)
        self.assertAlmostEqual(pace.at, 100.1)
        pace.answered(100.1)
        self.assertAlmostEqual(pace.at, 100.2)
        for _ in range(MAX_REQUESTS):
            self.assertLessEqual(pace.at, 200.0)
            pace.answered(200.0)
        self.assertGreater(pace.at, 200.0)

    def test_none(self) -> None:
        """Without a rate there is none."""
        pace = Pace(0.0)
        for _ in range(1000):
            pace.answered(1.0)
        self.assertEqual(pace.at, float("-inf"))


class LimitedTests(SynchronousTestCase):
    """A tunnel keeps to them, and works."""

    def echoes(self, limits: PollLimits) -> tuple[int, PollWorld]:
        """Echo a byte at a time for ten seconds; tell how many came back."""
        world = PollWorld(delay=0.01, limits=limits)
        world.echo = True
        count, end = 0, world.now + 10.0
        while world.now < end:
            count += 1
            world.write_up(b"x")
            self.assertTrue(world.until_down(count, 5.0))
        return count, world

    def test_rate(self) -> None:
        """As many answers a second as are allowed, and no tunnel is lost over it."""
        free, _ = self.echoes(PollLimits())
        paced, world = self.echoes(PollLimits(rate=10.0))
        self.assertGreater(free, 300)
        self.assertTrue(90 <= paced <= 110, paced)
        self.assertIsNone(world.client.dead)
        self.assertLess(len(world.answered), 130)

    def test_many_bytes(self) -> None:
        """Large streams come through a slow pace as well, both ways at once."""
        world = PollWorld(delay=0.01, limits=PollLimits(rate=20.0))
        data = bytes(range(256)) * 2000
        world.write_up(data)
        world.write_down(data)
        self.assertTrue(world.until(lambda: len(world.arrived_down) == len(data), 30.0))
        self.assertTrue(world.until(lambda: len(world.arrived_up) == len(data), 30.0))
        self.assertEqual((bytes(world.arrived_up), bytes(world.arrived_down)), (data, data))

    def test_waiting(self) -> None:
        """One more poll than may wait has the oldest answered, whatever the client says."""
        server: ServerCore[int] = ServerCore(PollLimits(waiting=2))
        server.request(1, _request(1), b"", 0.0)
        server.answers(0.0)  # it tells how much room there is
        for serial in (2, 3):
            server.request(serial, _request(serial), b"", 0.0)
        self.assertEqual(server.answers(0.0), [])
        server.request(4, _request(4), b"", 0.0)
        self.assertEqual([each.carrier for each in server.answers(0.0)], [2])

    def test_too_many(self) -> None:
        """Polls that wait for their pace are bounded: more of them end the tunnel."""
        server: ServerCore[int] = ServerCore(PollLimits(rate=1.0))
        for serial in range(1, MAX_REQUESTS + 1):
            server.request(serial, _request(serial, 1), b"", 0.0)
        server.outgoing.write(b"x")
        server.answers(0.0)
        more = range(MAX_REQUESTS + 1, 100)
        with self.assertRaises(PollError):
            for serial in more:
                server.request(serial, _request(serial, 1), b"", 0.0)
                server.answers(0.0)
        self.assertEqual(len(server), MAX_LIVE + 1)

    def test_turn(self) -> None:
        """What waits for its turn is answered then, not when it would be in any case."""
        server: ServerCore[int] = ServerCore(PollLimits(rate=10.0))
        for serial in range(1, MAX_REQUESTS + 1):
            server.request(serial, _request(serial), b"", 5.0)
            server.outgoing.write(b"x")
            self.assertEqual(len(server.answers(5.0)), 1)
        server.request(MAX_REQUESTS + 1, _request(MAX_REQUESTS + 1), b"", 5.0)
        server.outgoing.write(b"x")
        self.assertEqual(server.answers(5.0), [])
        due = server.deadline()
        assert due is not None
        self.assertAlmostEqual(due, 5.1)
        self.assertEqual(len(server.answers(due)), 1)

    def test_bytes(self) -> None:
        """What is held each way is what is allowed."""
        limits = PollLimits(held=50_000)
        world = PollWorld(limits=limits)
        world.reading_up = False
        world.write_up(bytes(200_000))
        world.advance(20.0)
        self.assertEqual(world.server.incoming.got, 50_000)
