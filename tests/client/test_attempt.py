"""Tests for :mod:`wavesync.client.attempt`, on a network in memory."""

from twisted.trial.unittest import SynchronousTestCase

from tests.client.world import CLIENT_HOST, SERVER_HOST, World
from tests.signalling.provers import server
from wavesync.client.attempt import CONNECT_LIMIT, LEAST_LIMIT, VERIFY_GRACE
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.signalling.numbers import MAX_START_DELAY
from wavesync.udt.paths import MAX_UNHEARD, OFFSETS, PERIOD

SIX: Address = ("2001:db8::5", 5100)


class DeadlineTests(SynchronousTestCase):
    """Whoever cannot connect is told so in time, and nobody who can is cut off."""

    def failed_after(self, world: World) -> tuple[float, str]:
        """Seconds from the call to the sentence, and the sentence."""
        _, opening = world.open()
        began = world.reactor.seconds()
        while not opening.called and world.reactor.seconds() < began + 30:
            world.run(0.01)
        failure = self.failureResultOf(opening, ConnectFailed)
        return world.reactor.seconds() - began, failure.getErrorMessage()

    def test_limit(self) -> None:
        """The limits leave time for every punch, a repeated SYN, and a busy host."""
        self.assertLess(CONNECT_LIMIT, 3.0)
        last_punch = OFFSETS[-1] + PERIOD * (MAX_UNHEARD - len(OFFSETS))
        self.assertGreater(CONNECT_LIMIT - 0.5, last_punch)

    def test_unheard(self) -> None:
        """Nothing is heard of the server: that is told in time, with advice."""
        world = World()
        world.punching = False
        seconds, told = self.failed_after(world)
        self.assertApproximates(seconds, CONNECT_LIMIT, 0.02)
        self.assertIn("udp: the other side was never heard", told)
        self.assertTrue(told.endswith("or run a relay that both sites reach"), told)

    def test_late_answer(self) -> None:
        """An introduction that took long is taken off the time for the paths."""
        world = World()
        world.punching = False
        world.network.drop = lambda data, source, to: world.reactor.seconds() < 0.8
        seconds, _ = self.failed_after(world)
        self.assertApproximates(seconds, CONNECT_LIMIT, 0.02)

    def test_very_late_answer(self) -> None:
        """But never all of it."""
        world = World()
        world.punching = False
        world.network.drop = lambda data, source, to: world.reactor.seconds() < 1.7
        seconds, _ = self.failed_after(world)
        introduced = world.connector.timelines[-1].ms["introduced"] / 1000
        self.assertGreater(introduced, CONNECT_LIMIT - LEAST_LIMIT)
        self.assertApproximates(seconds, introduced + LEAST_LIMIT, 0.03)

    def test_never_verified(self) -> None:
        """Somebody takes a TCP connection and says nothing: that is not waited for much longer."""
        # Nothing ever comes of a connection in this reactor, not even its time-out.
        world = World(tcp=(("10.0.0.9", 7001),))
        world.punching = False
        seconds, told = self.failed_after(world)
        self.assertApproximates(seconds, CONNECT_LIMIT + VERIFY_GRACE, 0.03)
        self.assertIn("tcp: somebody is there, but took too long to prove who it is", told)
        self.assertEqual(world.shut(), [])


class FamilyTests(SynchronousTestCase):
    """Addresses that this host cannot send to are not tried."""

    def test_none_in_common(self) -> None:
        """A client with the other family alone knows at once, and is told what is missing."""
        world = World(own=[SIX])
        _, opening = world.open()
        world.run(0.1)
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            f"no path is possible: this host has IPv6 only and {server().target} has IPv4 only;"
            " give either of them the other, too",
        )
        (entry,) = world.connector.timelines[-1].candidates
        self.assertEqual((entry.result, entry.why), ("failed", "this host has no IPv4"))
        self.assertEqual(world.results[0].result, 10)
        self.assertEqual(world.shut(), [])

    def test_one_in_common(self) -> None:
        """What the host has no family for is named in the report, and the rest is tried."""
        world = World(tcp=(("2001:db8::9", 7001),))
        talker, opening = world.open()
        world.run(0.5)
        self.assertIs(self.successResultOf(opening), talker)
        self.assertEqual(world.reactor.tcpClients, [])
        why = {each.address: each.why for each in world.connector.timelines[-1].candidates}
        self.assertEqual(why["[2001:db8::9]:7001"], "this host has no IPv6")
        self.assertEqual(world.shut(), [])

    def test_nothing_known(self) -> None:
        """A host that does not know its own addresses tries everything."""
        world = World(own=[], tcp=(("2001:db8::9", 7001),))
        _, opening = world.open()
        world.run(0.5)
        self.successResultOf(opening)
        self.assertEqual(len(world.reactor.tcpClients), 1)
        self.assertEqual(world.shut(), [])


class TogetherTests(SynchronousTestCase):
    """Both sides punch first at the same time."""

    def first_punches(self, *, start_delay: float, told_after: float) -> tuple[float, float]:
        """When client and server first send to the other, in seconds."""
        world = World(start_delay=start_delay, told_after=told_after)
        times: dict[str, float] = {}

        def note(data: bytes, source: Address, to: Address) -> bool:
            if {source[0], to[0]} == {CLIENT_HOST, SERVER_HOST}:
                times.setdefault(source[0], world.reactor.seconds())
            return False

        world.network.drop = note
        _, opening = world.open()
        world.run(2)
        self.successResultOf(opening)
        self.assertEqual(world.shut(), [])
        return times[CLIENT_HOST], times[SERVER_HOST]

    def test_far_server(self) -> None:
        """Answered at 20 ms, with a server that is told at 210 ms: neither is early."""
        ours, theirs = self.first_punches(start_delay=0.2, told_after=0.2)
        self.assertApproximates(ours, theirs, 0.005)

    def test_alike(self) -> None:
        """Legs that are alike cost nobody a millisecond, nor do small differences."""
        for start_delay in (0.0, 0.01, 0.018):
            ours, _ = self.first_punches(start_delay=start_delay, told_after=0.01)
            self.assertApproximates(ours, 0.02, 0.002)

    def test_lying_mediator(self) -> None:
        """Whatever a mediator says, the first punch leaves soon."""
        ours, _ = self.first_punches(start_delay=3600.0, told_after=1.0)
        self.assertApproximates(ours, 0.02 + MAX_START_DELAY, 0.005)
