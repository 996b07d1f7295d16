"""Tests for :mod:`wavesync.client.stream_opening`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cli.support import Site, reactor
from tests.client.world import Talker, World
from tests.signalling.provers import NOW, client, server
from tests.tcp.support import descriptors, free_port
from wavesync.agent.link import Listed
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.client.connector import MAX_ALONE
from wavesync.client.introduction import Introduction
from wavesync.client.opening import open_connector
from wavesync.client.race import Race
from wavesync.client.report import Timeline
from wavesync.client.stream_opening import LONGEST_PATIENCE, StreamOpener, patience
from wavesync.errors import ConnectFailed
from wavesync.session.client import ClientSession
from wavesync.signalling.numbers import STREAM_COPY_DELAY
from wavesync.signalling.urls import Mediator, parse_mediators


def introduction(mediator: Mediator) -> Introduction:
    """An introduction to the server of the tests."""
    return Introduction(
        mediator, "c0" * 16, server().target, (), (), (), 7, 0.0, ("203.0.113.1", 1)
    )


class PatienceTests(SynchronousTestCase):
    """TCP from both ends does not get in the way of punching that works."""

    def test_punching_first(self) -> None:
        """Punching has a quarter of a second, and on long ways two round trips more."""
        self.assertAlmostEqual(patience(0.04, 0.04, punching=True), 0.21)
        self.assertAlmostEqual(patience(0.2, 0.2, punching=True), 0.4)
        self.assertAlmostEqual(patience(0.24, 0.04, punching=True), 0.08)

    def test_no_udp(self) -> None:
        """Nor does anybody wait for it who heard nothing from the mediator over UDP."""
        self.assertEqual(patience(0.34, 0.04, punching=True), 0.0)

    def test_limit(self) -> None:
        """But not for ever."""
        self.assertEqual(patience(1.0, 1.0, punching=True), LONGEST_PATIENCE)

    def test_nothing_to_punch(self) -> None:
        """Where nothing can be punched nobody waits."""
        self.assertEqual(patience(0.04, 0.04, punching=False), 0.0)


class FakeOpener:
    """Notes the races that it is asked to take part in, and does not."""

    def __init__(self) -> None:
        self.asked: list[dict[str, float]] = []
        self.closed = 0

    def enter(
        self, race: Race[ClientSession], _: Introduction, __: object, **options: float
    ) -> Callable[[], None]:
        """Note it."""
        self.asked.append(options)
        race.no_more()

        def close() -> None:
            self.closed += 1

        return close


class RaceTests(SynchronousTestCase):
    """When TCP from both ends is a part of the race."""

    def connect(self, paths: set[str]) -> FakeOpener:
        """Connect where nobody punches back, until that is given up."""
        opener = FakeOpener()
        world = World(paths=paths, opener=opener)
        world.punching = False
        _, opening = world.open()
        world.run(10)
        self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(world.shut(), [])
        return opener

    def test_with_tcp(self) -> None:
        """With punching it waits for its time; what it holds is closed with the race."""
        opener = self.connect({"tcp", "udp"})
        (options,) = opener.asked
        self.assertApproximates(options["delay"], STREAM_COPY_DELAY - 0.02, 0.005)
        self.assertGreater(options["timeout"], 2.0)
        self.assertEqual(opener.closed, 1)

    def test_without_tcp(self) -> None:
        """Who takes no TCP takes none of this kind either."""
        self.assertEqual(self.connect({"udp"}).asked, [])


def no_sessions() -> tuple[IProtocolFactory, Deferred[ClientSession]]:
    """Sessions for paths that never come."""
    raise AssertionError("there is no path")


class EntryTests(TestCase):
    """A race ends although no TCP connection from both ends comes of it."""

    timeout = 20

    def race(self, mediator: Mediator, timeout: float) -> Deferred[Any]:
        """Take part in a race that has no other paths."""
        race: Race[ClientSession] = Race(Timeline("server", reactor.seconds))
        opener = StreamOpener(reactor, client(), wall_clock=lambda: NOW, allow_loopback=True)
        close = opener.enter(race, introduction(mediator), no_sessions, delay=0.0, timeout=timeout)
        self.addCleanup(close)
        return race.result

    async def test_no_mediator(self) -> None:
        """The mediator is known by UDP only, or not there any more, or says nothing in time."""
        _, port = free_port()
        before = descriptors()
        for mediator, timeout in (
            (Mediator("127.0.0.1", 3345, None), 10.0),
            (Mediator("127.0.0.1", None, port), 10.0),
        ):
            await self.assertFailure(self.race(mediator, timeout), ConnectFailed)
        silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        mediator = Mediator("127.0.0.1", None, silent.getHost().port)
        began = reactor.seconds()
        await self.assertFailure(self.race(mediator, 0.2), ConnectFailed)
        self.assertLess(reactor.seconds() - began, 5)
        await silent.stopListening()
        self.assertLessEqual(descriptors(), before + 1)  # the silent one's end may still be there


class HiddenAgent(AgentService):
    """An agent that names no address of its own, as behind a NAT that only lets answers in."""

    def addresses(self) -> Listed:
        """None."""
        return (), ()


class WholeTests(TestCase):
    """Mediator, agent and client on real sockets: the only way is TCP from both ends."""

    timeout = 30

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        self.site.agent = HiddenAgent(
            reactor,
            self.site.server_credentials,
            self.site.services,
            parse_mediators((self.site.url,)),
            settings=AgentSettings(allow_loopback=True),
        )
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    async def test_connect(self) -> None:
        """Services are opened over it, one connection after the other, each by the mediator."""
        before = descriptors()
        connector = open_connector(
            reactor, self.site.client_credentials, paths={"tcp"}, allow_loopback=True
        )
        for count in (1, 2):
            talker = Talker(b"hello")
            await connector.connect(self.site.target, "echo", talker)
            timeline = connector.timelines[-1]
            (candidate,) = timeline.candidates
            leg = self.site.agent.links[0].ends
            assert leg is not None
            self.assertEqual((candidate.kind, candidate.result), ("tcp", "won"))
            self.assertEqual(candidate.address, f"{leg[0][0]}:{leg[0][1]}")
            self.assertEqual((timeline.path, timeline.reused), ("tcp", False))
            self.assertEqual(self.site.mediator.mediator.statistics.streams, count)
            assert talker.transport is not None
            talker.transport.loseConnection()
        await connector.close()
        await self.closed(before)

    async def closed(self, before: int) -> None:
        """The agent's ends of all connections are closed, too."""
        for _ in range(200):
            if descriptors() <= before:
                break
            await deferLater(reactor, 0.02)
        self.assertLessEqual(descriptors(), before)

    async def test_many(self) -> None:
        """Those who wait for the first one do not wait for each other."""
        before = descriptors()
        connector = open_connector(
            reactor, self.site.client_credentials, paths={"tcp"}, allow_loopback=True
        )
        self.addCleanup(connector.close)
        count = MAX_ALONE + 4
        talkers = [Talker(b"hello") for _ in range(count)]
        await gatherResults(
            [connector.connect(self.site.target, "echo", talker) for talker in talkers]
        )
        self.assertEqual(self.site.mediator.mediator.statistics.streams, count)
        _, second, *_ = sorted(connector.timelines, key=lambda timeline: timeline.ms["accepted"])
        self.assertEqual({timeline.outcome for timeline in connector.timelines}, {"ok"})
        third = sorted(timeline.ms["introduced"] for timeline in connector.timelines)[2]
        self.assertLess(third, second.ms["accepted"])
        for talker in talkers:
            assert talker.transport is not None
            talker.transport.loseConnection()
        await connector.close()
        await self.closed(before)

    async def test_not_allowed(self) -> None:
        """A client that takes no TCP does not ask for it."""
        connector = open_connector(
            reactor, self.site.client_credentials, paths={"udp"}, allow_loopback=True
        )
        await connector.connect(self.site.target, "echo", Talker(b"hello"))
        self.assertEqual(self.site.mediator.mediator.statistics.streams, 0)
        await connector.close()
