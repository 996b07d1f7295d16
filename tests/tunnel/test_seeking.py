"""Tests for :mod:`wavesync.tunnel.seeking`."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.endpoint_case import GOOD, REFUSED, SILENT, STRANGE
from tests.tunnel.test_ladder import WAYS, direct
from tests.tunnel.ways_world import Behaviour, Speaker, WaysWorld
from wavesync.tunnel.endpoint import (
    AnyWayEndpoint,
    way_of,
)
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.probing import FIRST_PROBE, JITTER, LATEST_PROBE, Schedule
from wavesync.tunnel.way import RAW


class SeekingTests(SynchronousTestCase):
    """While a worse way is in use, better ones are tried now and then."""

    def setUp(self) -> None:
        self.world = WaysWorld(WAYS)
        self.world.behave(raw=REFUSED, upgrade=STRANGE, websocket=STRANGE, get_post=GOOD)
        self.probed: list[float] = []
        self.answer = False

    def probe(self, endpoint: IStreamClientEndpoint) -> Deferred[object]:
        """See whether the plain port answers."""
        self.probed.append(self.world.clock.seconds())
        found: Deferred[object] = Deferred()
        if self.answer:
            found.callback(None)
        else:
            found.errback(TunnelError("refused", Why.UNREACHABLE))
        return found

    def use(self, *, probe: bool = True) -> tuple[AnyWayEndpoint, Speaker]:
        """Connect by a way that is not the best."""
        endpoint = self.world.endpoint(probe=self.probe if probe else None)
        connecting, speaker = self.world.connect(endpoint)
        self.world.run(1.0)
        self.successResultOf(connecting)
        self.assertEqual(endpoint.in_use, direct("get-post"))
        self.world.opener.tried.clear()
        return endpoint, speaker

    def test_schedule(self) -> None:
        """The first round comes after a minute, the others later and later, never quite on time."""
        schedule = Schedule(lambda: 0.5)
        pauses = [schedule.next() for _ in range(8)]
        self.assertEqual(pauses, [60, 120, 240, 480, 900, 900, 900, 900])
        schedule.restart()
        self.assertEqual(schedule.next(), FIRST_PROBE)
        for random, factor in ((0.0, 1 - JITTER), (1.0, 1 + JITTER)):
            self.assertEqual(Schedule(lambda random=random: random).next(), FIRST_PROBE * factor)  # type: ignore[misc]
        self.assertEqual(max(pauses), LATEST_PROBE)

    def test_nothing_better(self) -> None:
        """Each round tries all that is better, those that promise most first, and stops there."""
        self.use()
        self.world.run(FIRST_PROBE)
        self.assertEqual(self.world.tried, ["upgrade", "websocket"])
        self.assertEqual(len(self.probed), 1)
        self.world.run(2 * FIRST_PROBE + 1)
        self.assertEqual(len(self.probed), 2)
        self.assertEqual(self.world.better, [])

    def test_better(self) -> None:
        """Once a better way works, its user hears of it, and the next connect takes it."""
        endpoint, _ = self.use()
        self.world.behave(websocket=GOOD)
        self.world.run(FIRST_PROBE + 1)
        self.assertEqual(self.world.better, [direct("websocket")])
        self.assertTrue(self.world.pipe.aborted)
        connecting, speaker = self.world.connect(endpoint)
        self.world.run(0.3)
        self.successResultOf(connecting)
        self.assertEqual(way_of(speaker.transport), direct("websocket"))

    def test_plain_port(self) -> None:
        """The plain port is shown to work by its user's own probe."""
        self.use()
        self.world.behave(upgrade=GOOD)
        self.world.run(FIRST_PROBE + 1)
        self.assertEqual(self.world.better, [direct("upgrade")])
        self.answer = True
        self.world.behave(upgrade=STRANGE)
        self.world.run(2 * FIRST_PROBE + 1)
        self.assertEqual(self.world.better[1:], [direct(RAW)])
        self.assertEqual(len(self.probed), 2)

    def test_no_probe(self) -> None:
        """Without one the plain port is left to the next connect."""
        self.use(probe=False)
        self.world.run(FIRST_PROBE + 1)
        self.assertNotIn(RAW, self.world.tried)

    def test_closed_road(self) -> None:
        """Where no connection can be made, one attempt a round is enough."""
        self.use()
        self.world.behave(upgrade=REFUSED, websocket=REFUSED)
        self.world.run(FIRST_PROBE + 1)
        self.assertEqual(self.world.tried, ["upgrade"])

    def test_silent(self) -> None:
        """A way that does not answer does not hold the round up for ever."""
        self.use()
        self.world.behave(upgrade=SILENT, websocket=GOOD)
        self.world.run(FIRST_PROBE + 10)
        self.assertEqual(self.world.better, [direct("websocket")])

    def test_silent_port(self) -> None:
        """Nor does a plain port that accepts and says nothing."""
        probed: list[float] = []

        def probe(endpoint: IStreamClientEndpoint) -> Deferred[object]:
            probed.append(self.world.clock.seconds())
            return Deferred()

        self.world.connect(self.world.endpoint(probe=probe))
        self.world.run(3 * FIRST_PROBE + 30)
        self.assertEqual(len(probed), 2)

    def test_best_in_use(self) -> None:
        """Where nothing better is known, nothing is tried."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        endpoint = self.world.endpoint(probe=self.probe)
        connecting, _ = self.world.connect(endpoint, Speaker(b""))
        self.world.run(0.1)
        self.successResultOf(connecting)
        self.world.opener.tried.clear()
        self.world.run(20.0)
        self.world.clock.advance(LATEST_PROBE)
        self.assertEqual(self.world.tried, [])
        self.assertEqual(self.probed, [])

    def test_over(self) -> None:
        """When the connection is over, or the endpoint closed, no timer is left."""
        _, speaker = self.use()
        assert speaker.transport is not None
        speaker.transport.loseConnection()
        self.world.run(10.0)  # what fakes keep
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        endpoint, _ = self.use()
        self.world.behave(upgrade=SILENT, websocket=SILENT)
        self.world.run(FIRST_PROBE)
        self.assertEqual(self.world.tried, ["upgrade"])
        endpoint.close()
        self.world.run(10.0)
        self.assertEqual(self.world.tried, [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
