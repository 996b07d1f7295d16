"""Tests for :mod:`wavesync.tunnel.watch`: what comes of connections says something of their ways."""

from pathlib import Path

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from tests.tunnel.endpoint_case import GOOD, REFUSED, EndpointCase
from tests.tunnel.test_ladder import TUNNELS, WAYS, direct
from tests.tunnel.ways_world import Behaviour, Speaker, WaysWorld
from wavesync.tunnel.endpoint import (
    CUT_DIRECT,
    CUT_THROUGH_PROXY,
    AnyWayEndpoint,
    blame,
    cut_short,
    way_of,
)
from wavesync.tunnel.ladder import AVOIDED_FOR, SINKS_BY
from wavesync.tunnel.probing import FIRST_PROBE
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.watch import GIVEN_UP_AFTER, SHORT_LIFE, SILENT_AFTER
from wavesync.tunnel.way import RAW, Route, ways_of


class UselessTests(EndpointCase):
    """A plain connection says little: it works only when bytes have come."""

    def test_silent(self) -> None:
        """Nothing comes for 5 s after the first write: tunnels are first next time."""
        self.world.behave(raw=Behaviour(0.0, 0.02), upgrade=GOOD)
        self.connected()
        self.assertEqual(self.depth(RAW), 0.0)
        self.world.run(SILENT_AFTER + 0.1)
        self.assertGreater(self.depth(RAW), SINKS_BY - 5)
        self.world.opener.tried.clear()
        self.connected()
        self.assertEqual(self.world.tried, ["upgrade", "websocket"])

    def test_given_up(self) -> None:
        """A user that has not got so long has learned as much when it gives up after 2 s, not before."""
        for seconds, sunk in ((GIVEN_UP_AFTER - 1.5, False), (GIVEN_UP_AFTER + 0.1, True)):
            self.world.behave(raw=Behaviour(0.0, 0.02))
            _, speaker = self.world.connect(self.endpoint)
            self.world.run(seconds)
            speaker.transport.abortConnection()  # type: ignore[union-attr]
            self.assertEqual(self.depth(RAW) > 0, sunk)

    def test_late_answer(self) -> None:
        """What comes late comes all the same."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        self.connected()
        self.world.run(SILENT_AFTER + 0.1)
        self.world.pipe.protocol.dataReceived(b"answer")  # type: ignore[union-attr]
        self.assertEqual(self.depth(RAW), 0.0)

    def test_nothing_said(self) -> None:
        """Where nothing was asked, no answer is missed."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        _, speaker = self.world.connect(self.endpoint, Speaker(b""))
        self.world.run(30.0)
        self.assertEqual(self.depth(RAW), 0.0)
        assert speaker.transport is not None
        speaker.transport.writeSequence([b"hel", b"lo"])
        self.world.run(SILENT_AFTER + 0.1)
        self.assertGreater(self.depth(RAW), SINKS_BY - 5)

    def test_ended(self) -> None:
        """It is closed before a byte has come."""
        for why in (ConnectionDone(), ConnectionLost()):
            world = WaysWorld(WAYS)
            world.behave(raw=Behaviour(0.0, 0.02))
            endpoint = world.endpoint()
            world.connect(endpoint)
            world.run(0.1)
            world.pipe.end(why)
            self.assertGreater(endpoint.ladder().depth(direct(RAW), world.clock.seconds()), 99)

    def test_spoken_to_first(self) -> None:
        """Where the other end speaks first, it need not answer what is said then."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        _, speaker = self.world.connect(self.endpoint, Speaker(b""))
        self.world.run(0.1)
        self.world.pipe.protocol.dataReceived(b"welcome")  # type: ignore[union-attr]
        assert speaker.transport is not None
        speaker.transport.write(b"hello")
        self.world.run(SILENT_AFTER + 0.1)
        self.assertEqual(self.depth(RAW), 0.0)

    def test_said_too_late(self) -> None:
        """What is written when all is over is nothing that an answer could be missed of."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        _, speaker = self.world.connect(self.endpoint, Speaker(b""))
        self.world.run(0.1)
        assert speaker.transport is not None
        speaker.transport.loseConnection()
        speaker.transport.write(b"hello")
        self.world.run(30.0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_left(self) -> None:
        """Whoever leaves by himself tells nothing of the way."""
        for leave in ("loseConnection", "abortConnection"):
            self.world.behave(raw=Behaviour(0.0, 0.02))
            _, speaker = self.world.connect(self.endpoint)
            self.world.run(0.1)
            getattr(speaker.transport, leave)()
            self.assertEqual(self.depth(RAW), 0.0)
            self.assertIsNotNone(speaker.lost)

    def test_blamed(self) -> None:
        """Whoever gets garbage says so, also when the connection is over."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        speaker = self.connected()
        self.world.pipe.protocol.dataReceived(b"<html>")  # type: ignore[union-attr]
        self.assertEqual(self.depth(RAW), 0.0)
        self.endpoint.failed(speaker, "something that is not STUN came")
        self.assertGreater(self.depth(RAW), SINKS_BY - 1)
        self.assertIsNone(self.endpoint.ladder().proven)
        self.world.pipe.end(ConnectionDone())
        blame(speaker.transport, "and again")
        self.assertGreater(self.depth(RAW), 2 * SINKS_BY - 10)

    def test_no_way(self) -> None:
        """Connections that no way has brought are left alone."""
        blame(None, "x")
        blame(object(), "x")
        self.assertIsNone(way_of(None))
        self.assertIsNone(way_of(Speaker()))

    def test_tunnel_is_known_to_work(self) -> None:
        """A tunnel is open only when bytes have passed both ways."""
        self.world.behave(upgrade=GOOD)
        self.connected()
        self.assertEqual(self.endpoint.ladder().proven, direct("upgrade"))

    def test_told(self) -> None:
        """An operator reads which way is taken where it is a detour, once for each change."""
        said: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event["log_level"] is LogLevel.info:
                said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.world.behave(raw=Behaviour(0.0, 0.02))
        self.connected()
        self.world.pipe.protocol.dataReceived(b"answer")  # type: ignore[union-attr]
        self.assertEqual(said, [])
        self.world.behave(raw=REFUSED, upgrade=GOOD)
        for _ in range(2):
            self.connected()
        self.assertEqual(said, [f"mediator.example is reached by {direct('upgrade')}"])

    def cut_after(self, endpoint: AnyWayEndpoint, *lives: float) -> None:
        """Have connections cut after so many seconds each; the way is the same each time."""
        for lasts in lives:
            speaker = self.connected(endpoint)
            self.assertEqual(way_of(speaker.transport), self.first, lives)
            self.world.clock.advance(lasts)
            self.world.pipe.end(ConnectionDone())

    def through_proxy(self) -> None:
        """Go through a proxy from now on."""
        ways = ways_of([], [TUNNELS], lambda url: Proxy("corp", 3128))
        self.world = WaysWorld(
            tuple(way for way in ways if way.route is Route.ABSOLUTE), Path(self.mktemp())
        )
        self.world.behave(upgrade=GOOD, websocket=GOOD, get_post=GOOD, two=GOOD, poll=GOOD)
        self.first = self.world.ways[0]

    def test_cut_again_and_again(self) -> None:
        """Where a proxy cuts what should last after 20 s, short polls are taken, and that for long."""
        self.through_proxy()
        endpoint = self.world.endpoint(lasting=True)
        self.cut_after(endpoint, *[20.0] * CUT_THROUGH_PROXY)
        speaker = self.connected(endpoint)
        self.assertEqual(endpoint.in_use, self.world.ways[-1])
        self.world.run(3 * FIRST_PROBE + 30)
        self.assertEqual(self.world.better, [])
        assert speaker.transport is not None
        speaker.transport.loseConnection()
        self.world.restart()
        endpoint = self.world.endpoint(lasting=True)
        self.connected(endpoint)
        self.assertEqual(endpoint.in_use, self.world.ways[-1])

    def test_cut_once_each(self) -> None:
        """A program that runs for one connection only learns of the proxy as well, from what was kept."""
        self.through_proxy()
        for pause, avoided in ((60.0, True), (AVOIDED_FOR, False)):
            for _ in range(CUT_THROUGH_PROXY):
                endpoint = self.world.endpoint()
                speaker = self.connected(endpoint)
                self.assertEqual(way_of(speaker.transport), self.first)
                self.world.clock.advance(20.0)
                self.world.pipe.end(ConnectionDone())
                cut_short(speaker.transport)
                self.world.ladders.save()
                self.world.clock.advance(pause)
                self.world.restart()
            endpoint = self.world.endpoint()
            self.connected(endpoint)
            self.assertEqual(endpoint.in_use == self.world.ways[-1], avoided)
            self.through_proxy()

    def test_cut_long_ago(self) -> None:
        """What was cut an hour ago is forgotten."""
        self.through_proxy()
        endpoint = self.world.endpoint()
        for pause in (AVOIDED_FOR, 0.0):
            speaker = self.connected(endpoint)
            self.world.clock.advance(20.0)
            self.world.pipe.end(ConnectionDone())
            cut_short(speaker.transport)
            self.world.clock.advance(pause)
        speaker = self.connected(endpoint)
        self.assertEqual(way_of(speaker.transport), self.first)

    def test_cut_while_network_is_named(self) -> None:
        """A cut counts though its connection was made before the network was known by its name."""
        self.through_proxy()
        endpoint = self.world.endpoint(lasting=True)
        for _ in range(CUT_THROUGH_PROXY):
            speaker = self.connected(endpoint)
            self.assertEqual(way_of(speaker.transport), self.first)
            self.world.network = "router"
            self.world.clock.advance(20.0)
            self.world.pipe.end(ConnectionDone())
        self.connected(endpoint)
        self.assertEqual(endpoint.in_use, self.world.ways[-1])

    def test_cut_on_every_road(self) -> None:
        """It does not have to happen on each road through the proxy anew."""
        self.world = WaysWorld(
            ways_of([], [TUNNELS], lambda url: Proxy("corp", 3128)), Path(self.mktemp())
        )
        behaviours = self.world.opener.behaviours
        endpoint = self.world.endpoint(lasting=True)
        for road in (Route.CONNECT, Route.ABSOLUTE):
            behaviours.update(
                {way: GOOD if way.route is road else REFUSED for way in self.world.ways}
            )
            self.connected(endpoint)
            assert endpoint.in_use is not None
            self.assertEqual(endpoint.in_use.route, road)
            self.world.run(18.0)
            self.world.pipe.end(ConnectionDone())
        self.connected(endpoint)
        assert endpoint.in_use is not None
        self.assertEqual(endpoint.in_use.method, "poll")

    def test_cut_by_chance(self) -> None:
        """A proxy, or the other end, that is started anew now and then cuts as well, but not so evenly."""
        self.through_proxy()
        endpoint = self.world.endpoint(lasting=True)
        self.cut_after(endpoint, 3.0, 20.0, 40.0, 10.0, SHORT_LIFE, 10.0, 30.0)
        speakers = [self.connected(endpoint) for _ in range(7)]
        for _, pipe in self.world.opener.pipes[-len(speakers) :]:
            pipe.end(ConnectionDone())
        self.cut_after(endpoint, 50.0)

    def test_cut_without_proxy(self) -> None:
        """Without a proxy it has to come more often: a mediator may be started anew twice."""
        endpoint = self.world.endpoint(lasting=True)
        self.world.behave(upgrade=GOOD, poll=GOOD)
        self.first = direct("upgrade")
        self.cut_after(endpoint, *[20.0] * CUT_DIRECT)
        self.connected(endpoint)
        self.assertEqual(endpoint.in_use, direct("poll"))

    def test_said_to_be_cut(self) -> None:
        """A user whose connections last only at times says when one should have."""
        self.through_proxy()
        endpoint = self.world.endpoint()
        for lasts in (20.0, SHORT_LIFE, 20.0, 20.0):
            speaker = self.connected(endpoint)
            self.assertEqual(way_of(speaker.transport), self.first)
            self.world.clock.advance(lasts)
            self.world.pipe.end(ConnectionDone())
            self.world.clock.advance(500.0)  # how long it stood is what counts
            cut_short(speaker.transport)
        self.connected(endpoint)
        self.assertEqual(endpoint.in_use, self.world.ways[-1])
        cut_short(None)

    def test_lasted(self) -> None:
        """One that lasted, or that was left, counts for its way."""
        endpoint = self.world.endpoint(lasting=True)
        self.world.behave(upgrade=GOOD)
        for lasts in (20.0, SHORT_LIFE, 20.0, SHORT_LIFE):
            self.connected(endpoint)
            self.world.clock.advance(lasts)
            self.world.pipe.end(ConnectionDone())
        for _ in range(4):
            speaker = self.connected(endpoint)
            assert speaker.transport is not None
            speaker.transport.loseConnection()
        self.assertEqual(self.endpoint.ladder().proven, direct("upgrade"))

    def test_user_does_not_last(self) -> None:
        """Connections that come and go, as a client's do, tell nothing by their end."""
        self.world.behave(upgrade=GOOD)
        for _ in range(4):
            self.connected()
            self.world.pipe.end(ConnectionDone())
        self.assertEqual(self.endpoint.ladder().proven, direct("upgrade"))
