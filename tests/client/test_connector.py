"""Tests for :mod:`wavesync.client.connector` and :mod:`wavesync.client.hole`, on a network in memory."""

from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.client.world import CLIENT_HOST, MEDIATOR_HOST, SERVER_HOST, Talker, World
from tests.signalling.provers import client, server
from wavesync.client.connector import MAX_KNOWN, MAX_TIMELINES
from wavesync.client.hole import IDLE_LIMIT
from wavesync.client.options import check_paths
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed, NotAllowed, SettingsError
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.session.errors import Refused
from wavesync.signalling.messages import Refusal
from wavesync.signalling.numbers import ConnectType, ErrorCode, ResultCode


class ConnectorTests(SynchronousTestCase):
    """The first connection finds the way, the others take it."""

    def setUp(self) -> None:
        self.world = World()
        self.connector = self.world.connector

    def connect(self) -> Talker:
        """Open the service, and see that it works."""
        talker, opening = self.world.open()
        self.world.run(0.5)
        self.assertIs(self.successResultOf(opening), talker)
        self.assertEqual(talker.heard, b"hello")
        return talker

    def assert_nothing_left(self) -> None:
        """Everything can be closed, and nothing is left running."""
        self.assertEqual(self.world.shut(), [])

    def test_first(self) -> None:
        """Introduced, punched, verified, accepted, in that order; the mediator learns how it went."""
        self.connect()
        (timeline,) = self.connector.timelines
        self.assertEqual(
            (timeline.path, timeline.outcome, timeline.reused, timeline.server),
            ("udp", "ok", False, str(server().target)),
        )
        stages = [timeline.ms[name] for name in ("introduced", "authenticated", "accepted")]
        self.assertEqual(stages, sorted(stages))
        # 10 ms one way: asked and answered, then no more than five round trips.
        self.assertLess(stages[0], 21)
        self.assertLess(stages[2], 120)
        (result,) = self.world.results
        self.assertEqual(result.connection_id, self.world.requests[0].connection_id)
        self.assertEqual((result.result, result.connect_type), (ResultCode.OK, ConnectType.UDP))
        self.assertApproximates(result.duration * 1000, stages[1], 2)
        self.assert_nothing_left()

    def test_reused(self) -> None:
        """Later connections do not ask the mediator; there may even be none any more."""
        self.connect()
        self.world.answering = False
        for _ in range(3):
            self.connect()
        self.assertEqual(len(self.world.requests), 1)
        self.assertEqual([timeline.reused for timeline in self.connector.timelines],
                         [False, True, True, True])  # fmt: skip
        self.assert_nothing_left()

    def test_followers(self) -> None:
        """Twenty at once: one introduction, and all of them through the same hole."""
        opened = [self.world.open() for _ in range(20)]
        self.world.run(1)
        for talker, opening in opened:
            self.assertIs(self.successResultOf(opening), talker)
            self.assertEqual(talker.heard, b"hello")
        self.assertEqual(len(self.world.requests), 1)
        self.assertEqual(sum(timeline.reused for timeline in self.connector.timelines), 19)
        self.assert_nothing_left()

    def test_whole_system(self) -> None:
        """The server that was found for a system is known by either name."""
        system = Target(server().system, None)
        talker = Talker()
        opening = self.connector.connect(system, "echo", talker)
        self.world.run(0.5)
        self.assertIs(self.successResultOf(opening), talker)
        self.connect()
        again = self.connector.connect(system, "echo", Talker())
        self.world.run(0.5)
        self.successResultOf(again)
        self.assertEqual(len(self.world.requests), 1)

    def test_followers_fail_too(self) -> None:
        """When the first finds no way, those who waited for it are told the same."""
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        opened = [self.world.open() for _ in range(3)]
        self.world.run(0.5)
        for talker, opening in opened:
            failure = self.failureResultOf(opening, ConnectFailed)
            self.assertIn("is not online", failure.getErrorMessage())
            self.assertFalse(talker.lost)
        self.assertEqual(len(self.world.requests), 1)
        # And the next one asks again.
        self.world.refusal = None
        self.connect()
        self.assert_nothing_left()

    def test_first_gives_up(self) -> None:
        """Whoever gives up the first connection does not take the others with it."""
        _, first = self.world.open()
        talker, second = self.world.open()
        self.world.run(0.005)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.world.run(0.5)
        self.assertIs(self.successResultOf(second), talker)
        self.assertEqual(len(self.world.requests), 2)
        self.assert_nothing_left()

    def test_cancelled_anywhere(self) -> None:
        """Giving up in whatever moment leaves nothing behind."""
        for milliseconds in range(0, 100, 7):
            world = World()
            _, opening = world.open()
            world.run(milliseconds / 1000)
            opening.addErrback(lambda failure: failure.trap(CancelledError))
            opening.cancel()
            self.assertEqual(world.shut(), [], f"after {milliseconds} ms")
            self.assertEqual(world.client_port.connections, 0)

    def test_closed_anywhere(self) -> None:
        """The same for closing the connector, with others waiting; nothing is held open."""
        for milliseconds in range(0, 100, 7):
            world = World()
            openings = [world.open()[1] for _ in range(3)]
            world.run(milliseconds / 1000)
            for opening in openings:
                opening.addErrback(lambda failure: failure.trap(CancelledError, ConnectFailed))
            self.assertEqual(world.shut(), [], f"after {milliseconds} ms")
            self.assertEqual(world.client_port.connections, 0)
            self.assertTrue(all(opening.called for opening in openings))

    def test_closed_when_verified(self) -> None:
        """Closed in the very moment in which the server is verified, it begins no hole."""
        timeline = Timeline("t", self.world.reactor.seconds)
        session = self.connector.session(server().target, timeline)
        session.addCallback(lambda _: self.connector.close())
        self.world.run(3)
        self.successResultOf(session)
        self.assertEqual(self.world.client_port.connections, 0)
        self.assert_nothing_left()

    def test_close_lets_holes_go(self) -> None:
        """Closing ends a hole at once, whatever else may still keep the port busy."""
        self.connect()
        self.world.run(1)
        self.connector.close()
        now = self.world.reactor.seconds()
        late = [call for call in self.world.reactor.getDelayedCalls() if call.getTime() > now + 60]
        self.assertEqual(late, [])
        self.assert_nothing_left()

    def test_closed(self) -> None:
        """A closed connector opens nothing."""
        self.connector.close()
        _, opening = self.world.open()
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(failure.getErrorMessage(), "the client is closing")
        self.assert_nothing_left()

    def test_hole_fails(self) -> None:
        """A hole that has silently closed is noticed by the next connection, which asks anew."""
        self.connect()
        # The server has moved to another port: packets to the old one get lost.
        old: Address = self.world.server_port.address
        self.world.network.drop = lambda data, source, to: old in (source, to)
        self.world.server_port = type(self.world.server_port)(
            self.world.reactor,
            self.world.network.members[SERVER_HOST].carrier(4200),  # type: ignore[union-attr]
        )
        talker, opening = self.world.open()
        self.world.run(4)
        self.assertIs(self.successResultOf(opening), talker)
        self.assertEqual(len(self.world.requests), 2)
        self.assertFalse(self.connector.timelines[-1].reused)

    def interrupt(self) -> Deferred[Any]:
        """Begin to connect while nothing passes between client and server, for two seconds.

        That is enough for the hole to be given up; the mediator does not answer any more.
        """
        self.world.answering = False
        self.world.network.drop = lambda data, source, to: MEDIATOR_HOST not in (source[0], to[0])
        opening: Deferred[Any] = self.world.open()[1]
        self.world.run(2)
        self.world.network.drop = None
        return opening

    def test_interrupted_without_mediator(self) -> None:
        """While no mediator answers, a hole that was given up after an interruption is tried again,
        and is a hole like any other when it is there."""
        self.connect()
        opening = self.interrupt()
        self.world.run(6)
        self.successResultOf(opening)
        asked = len(self.world.requests)
        self.assertGreater(asked, 1)
        self.assertTrue(self.connector.timelines[-1].reused)
        self.connect()
        self.assertEqual(len(self.world.requests), asked)
        self.assert_nothing_left()

    def test_interrupted_for_good(self) -> None:
        """When the hole is not there, the sentence is about the mediator, as without it."""
        self.connect()
        opening = self.interrupt()
        self.world.network.drop = lambda data, source, to: True
        self.world.run(9)
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("the mediator", failure.getErrorMessage())
        self.world.network.drop = None
        self.assert_nothing_left()

    def test_interrupted_and_gone(self) -> None:
        """A mediator that says that the server is not there is believed, at once."""
        self.connect()
        opening = self.interrupt()
        self.world.answering = True
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.world.run(1)
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("is not online", failure.getErrorMessage())
        self.assert_nothing_left()

    def test_hole_is_given_up(self) -> None:
        """A hole whose control session ends is not taken any more: no time is lost on it."""
        self.connect()
        self.world.run(1)
        self.world.sessions.close_all()
        self.world.run(1)
        self.connect()
        self.assertEqual(len(self.world.requests), 2)

    def test_hole_is_held(self) -> None:
        """Both sides send through an idle hole at least every fifteen seconds."""
        talker = self.connect()
        assert talker.transport is not None
        talker.transport.loseConnection()
        self.world.run(5)
        sent: list[tuple[float, str]] = []

        def note(data: bytes, source: Address, to: Address) -> bool:
            sent.append((self.world.reactor.seconds(), source[0]))
            return False

        self.world.network.drop = note
        begin = self.world.reactor.seconds()
        self.world.run(200)
        for host in (CLIENT_HOST, SERVER_HOST):
            times = [begin, *(at for at, source in sent if source == host), begin + 200]
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertLessEqual(max(gaps), 15.5, host)
        self.connect()
        self.assertEqual(len(self.world.requests), 1)

    def test_idle_hole(self) -> None:
        """After eight minutes without a connection a hole is let go."""
        talker = self.connect()
        assert talker.transport is not None
        talker.transport.loseConnection()
        self.world.run(IDLE_LIMIT - 60)
        self.assertEqual(self.world.client_port.connections, 1)
        self.connect().transport.loseConnection()  # type: ignore[union-attr]
        self.world.run(IDLE_LIMIT - 10)
        self.assertEqual(self.world.client_port.connections, 1)
        self.world.run(30)
        self.assertEqual(self.world.client_port.connections, 0)
        self.connect()
        self.assertEqual(len(self.world.requests), 2)

    def test_no_path(self) -> None:
        """When nothing works, the sentence names every kind of path, and the mediator is told."""
        self.world.punching = False
        _, opening = self.world.open()
        self.world.run(20)
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            "no path works: udp: the other side was never heard; UDP may be blocked on either side;"
            " allow UDP at both sites, or forward a TCP port to the server and name it in its"
            " agent's public_addresses, or run a relay that both sites reach",
        )
        (result,) = self.world.results
        self.assertEqual(
            (result.result, result.connect_type), (ResultCode.NO_SUITABLE_PATH, ConnectType.NONE)
        )
        self.assertEqual(self.connector.timelines[-1].outcome, failure.getErrorMessage())
        self.assert_nothing_left()

    def test_tcp_beside(self) -> None:
        """Every address that the server has signed is tried over TCP at the same time."""
        world = World(tcp=(("10.0.0.9", 7001), ("10.1.0.9", 7001)))
        talker, opening = world.open()
        world.run(0.025)
        tried = [entry[:2] for entry in world.reactor.tcpClients]
        self.assertEqual(tried, [("10.0.0.9", 7001), ("10.1.0.9", 7001)])
        world.run(0.5)
        self.assertIs(self.successResultOf(opening), talker)
        results = {c.address: c.result for c in world.connector.timelines[-1].candidates}
        self.assertEqual(
            results, {"198.51.100.1:4100": "won", "10.0.0.9:7001": "lost", "10.1.0.9:7001": "lost"}
        )
        self.assertEqual(world.shut(), [])

    def test_unknown_service(self) -> None:
        """A service that is not there is refused by the server, in its words."""
        talker, opening = self.world.open("nothing")
        self.world.run(0.5)
        failure = self.failureResultOf(opening, Refused)
        self.assertEqual(failure.getErrorMessage(), "no service 'nothing' here; known: echo")
        self.assertTrue(talker.lost)
        self.assertEqual(self.connector.timelines[-1].outcome, failure.getErrorMessage())
        self.connect()
        self.assertEqual(len(self.world.requests), 1)

    def test_impossible_service(self) -> None:
        """A name that no service can have is refused before anything is sent."""
        _, opening = self.world.open("No Service")
        self.failureResultOf(opening, SettingsError)
        self.world.run(1)
        self.assertEqual(self.world.requests, [])

    def test_other_system(self) -> None:
        """So is a server of another system."""
        opening = self.connector.connect(server(1, of=2).target, "echo", Protocol())
        self.failureResultOf(opening, NotAllowed)
        self.assertEqual(self.world.requests, [])

    def test_session(self) -> None:
        """A session alone, for a ping, makes the way known too."""
        timeline = Timeline("t", self.world.reactor.seconds)
        session = self.connector.session(server().target, timeline)
        self.world.run(0.5)
        self.assertEqual(self.successResultOf(session).path_kind, "udp")
        self.assertEqual(timeline.path, "udp")
        self.connect()
        self.assertEqual(len(self.world.requests), 1)

    def test_timelines(self) -> None:
        """So many timelines are kept and not one more."""
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        for _ in range(MAX_TIMELINES + 1):
            _, opening = self.world.open()
            self.world.run(0.05)
            self.failureResultOf(opening, ConnectFailed)
        self.assertEqual(len(self.connector.timelines), MAX_TIMELINES)
        self.assertGreater(MAX_KNOWN, 0)

    def test_options(self) -> None:
        """Wrong options are refused with a sentence."""
        error = self.assertRaises(SettingsError, self.world.make_connector, server())
        self.assertIn("these are a server's credentials", str(error))
        for paths, words in (({"smoke"}, "no such path: smoke"), ((), "no path is named")):
            error = self.assertRaises(
                SettingsError, self.world.make_connector, client(), paths=paths
            )
            self.assertIn(words, str(error))
        self.assertEqual(check_paths(["udp", "udp"]), {"udp"})

    def test_garbage(self) -> None:
        """Noise at the port is nothing."""
        for data in (b"", b"x" * 20, bytes(1500)):
            self.connector.stun_received(data, ("192.0.2.66", 1))
        self.connect()
