"""Tests for :mod:`wavesync.tunnel.endpoint`, with ways that do as they are told."""

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from tests.tunnel.test_ladder import PLAIN, TUNNELS, WAYS, direct
from tests.tunnel.ways_world import Behaviour, Speaker, WaysWorld
from wavesync.tunnel.contest import MAX_CLAUSES
from wavesync.tunnel.endpoint import (
    CONNECT_TIMEOUT,
    CUT_TWICE,
    WAY_TIMEOUT,
    AnyWayEndpoint,
    blame,
    way_of,
)
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.ladder import SINKS_BY
from wavesync.tunnel.probing import FIRST_PROBE, JITTER, LATEST_PROBE, Schedule
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.race import STAGGER
from wavesync.tunnel.watch import SHORT_LIFE, SILENT_AFTER
from wavesync.tunnel.way import RAW, Route, Way, ways_of

REFUSED = Behaviour(None, 0.02, TunnelError("refused", Why.UNREACHABLE))
STRANGE = Behaviour(0.02, 0.04, TunnelError("an HTML page came", Why.PAGE))
SILENT = Behaviour(0.02, None)
DEAF = Behaviour(None, None)
GOOD = Behaviour(0.05, 0.1)


class _NoProtocols(Factory):
    """Makes none."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        """Make none."""


class EndpointCase(SynchronousTestCase):
    """An endpoint to a destination with all ways."""

    def setUp(self) -> None:
        self.world = WaysWorld(WAYS, Path(self.mktemp()))
        self.endpoint = self.world.endpoint()

    def depth(self, method: str) -> float:
        """How far a method has sunk."""
        way = direct(method)
        return self.endpoint.ladder().depth(way, self.world.clock.seconds()) - way.cost

    def connected(self, endpoint: AnyWayEndpoint | None = None) -> Speaker:
        """Connect, and come through."""
        connecting, speaker = self.world.connect(endpoint or self.endpoint)
        self.world.run(2.0)
        self.assertIs(self.successResultOf(connecting), speaker)
        return speaker


class EndpointTests(EndpointCase):
    """Whoever connects gets the way that is open first, and knows nothing of the others."""

    def test_interface(self) -> None:
        """It is an endpoint like others."""
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_first_one_wins(self) -> None:
        """The plain port is there: the tunnel that was tried beside it is given up."""
        self.world.behave(raw=Behaviour(0.05, 0.05), upgrade=GOOD)
        connecting, speaker = self.world.connect(self.endpoint)
        self.assertEqual(self.world.tried, [RAW, "upgrade"])
        self.world.run(0.06)
        self.assertIs(self.successResultOf(connecting), speaker)
        self.assertEqual(self.world.opener.cancelled, [direct("upgrade")])
        self.assertEqual(way_of(speaker.transport), direct(RAW))
        self.assertEqual(self.endpoint.in_use, direct(RAW))
        self.assertEqual(self.endpoint.describe(speaker.transport), direct(RAW).key)
        self.assertEqual(self.endpoint.describe(None), "")
        self.assertEqual(self.world.pipe.value(), b"hello")
        self.world.pipe.protocol.dataReceived(b"answer")  # type: ignore[union-attr]
        self.assertEqual(speaker.heard, b"answer")
        self.world.pipe.end(ConnectionDone())
        self.assertIsNotNone(speaker.lost)
        self.assertIsNone(self.endpoint.in_use)

    def test_known_way_alone(self) -> None:
        """Once the plain port has worked, no other connection is made for nothing."""
        self.world.behave(raw=Behaviour(0.05, 0.05), upgrade=GOOD)
        self.connected()
        self.world.pipe.protocol.dataReceived(b"answer")  # type: ignore[union-attr]
        self.world.opener.tried.clear()
        self.connected()
        self.assertEqual(self.world.tried, [RAW])

    def test_slow(self) -> None:
        """While nothing is open, one more way is tried each 0.3 s."""
        self.world.behave(upgrade=SILENT, websocket=SILENT, get_post=GOOD)
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(1.0)
        self.successResultOf(connecting)
        found = [(round(at, 1), way.method) for at, way in self.world.opener.tried]
        self.assertEqual(
            found, [(0.0, RAW), (0.0, "upgrade"), (STAGGER, "websocket"), (2 * STAGGER, "get-post")]
        )

    def test_refused(self) -> None:
        """Where ways fail, the next are tried at once."""
        self.world.behave(raw=REFUSED, upgrade=STRANGE, websocket=STRANGE, get_post=GOOD)
        connecting, speaker = self.world.connect(self.endpoint)
        self.world.run(0.25)
        self.successResultOf(connecting)
        self.assertEqual(way_of(speaker.transport), direct("get-post"))
        for method in (RAW, "upgrade", "websocket"):
            self.assertGreater(self.depth(method), SINKS_BY - 1, method)
        self.world.opener.tried.clear()
        self.connected()
        self.assertEqual(self.world.tried, ["get-post"])

    def test_closed_host(self) -> None:
        """A host that refuses connections is asked once, not once for each method."""
        self.world.behave(raw=REFUSED, upgrade=REFUSED)
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(0.1)
        error = self.failureResultOf(connecting, TunnelError).value
        self.assertEqual(self.world.tried, [RAW, "upgrade"])
        self.assertIs(error.reason, Why.UNREACHABLE)
        self.assertIn("mediator.example", str(error))
        self.assertEqual(self.depth(RAW), 0.0)

    def test_nothing_answers(self) -> None:
        """Where packets are dropped, the end comes in time, with a sentence."""
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(WAY_TIMEOUT + 0.1)
        error = self.failureResultOf(connecting, TunnelError).value
        self.assertIs(error.reason, Why.SILENT)
        self.assertIn("no answer came in time", str(error))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_limit(self) -> None:
        """All ways together have their time, too."""
        self.world.behave(**{way.method.replace("-", "_"): SILENT for way in WAYS})
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(CONNECT_TIMEOUT + 0.1)
        self.failureResultOf(connecting, TunnelError)

    def test_sentence(self) -> None:
        """It names what has to be done above all, and does not go on for ever."""
        self.world.behave(
            raw=REFUSED,
            upgrade=Behaviour(0.02, 0.04, TunnelError("HTTP 404", Why.REFUSED)),
            websocket=STRANGE,
            get_post=Behaviour(0.02, 0.04, TunnelError("closed", Why.CLOSED)),
            two=Behaviour(0.02, 0.04, TunnelError("silent", Why.SILENT)),
            poll=Behaviour(0.02, 0.04, TunnelError("nonsense", Why.NOT_HTTP)),
        )
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(2.0)
        error = self.failureResultOf(connecting, TunnelError).value
        self.assertIs(error.reason, Why.PAGE)
        self.assertIn("websocket direct: an HTML page came", str(error))
        self.assertEqual(str(error).count(";"), MAX_CLAUSES)
        self.assertTrue(str(error).endswith("and more"))

    def test_password(self) -> None:
        """A proxy that wants a password is asked once for each way to use it."""
        ways = ways_of([PLAIN], [TUNNELS], lambda url: Proxy("corp", 3128))
        world = WaysWorld(ways)
        wants = Behaviour(None, 0.02, TunnelError("the proxy corp:3128 wants", Why.PROXY_PASSWORD))
        says = Behaviour(0.01, 0.02, TunnelError("the proxy corp:3128 wants", Why.PROXY_PASSWORD))
        for way in ways:
            direct_way = way.route is Route.DIRECT
            absolute = way.route is Route.ABSOLUTE
            world.opener.behaviours[way] = REFUSED if direct_way else says if absolute else wants
        connecting, _ = world.connect(world.endpoint())
        world.run(2.0)
        error = self.failureResultOf(connecting, TunnelError).value
        self.assertIs(error.reason, Why.PROXY_PASSWORD)
        self.assertEqual(str(error).count("wants"), 1)
        self.assertLessEqual(len(world.tried), 6)

    def test_cancel(self) -> None:
        """Whoever gives up leaves nothing behind."""
        self.world.behave(upgrade=SILENT)
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(0.5)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(len(self.world.opener.cancelled), 3)
        self.world.run(30.0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_not_wanted(self) -> None:
        """A factory that makes no protocol gets no connection."""
        self.world.behave(raw=GOOD)
        connecting = self.endpoint.connect(_NoProtocols())
        self.world.run(1.0)
        self.failureResultOf(connecting)

    def test_usable(self) -> None:
        """Some ways can be left out of one connect."""
        self.world.behave(raw=GOOD, upgrade=GOOD)
        connecting = self.endpoint.connect(
            Factory.forProtocol(Speaker), usable=lambda way: way.method != RAW
        )
        self.world.run(1.0)
        self.successResultOf(connecting)
        self.assertNotIn(RAW, self.world.tried)

    def test_broken_opener(self) -> None:
        """A way that cannot even be tried is one that fails."""
        ways = ways_of([PLAIN], [TUNNELS], lambda url: None)
        world = WaysWorld(ways)
        world.behave(raw=GOOD)

        class Broken(type(world.opener)):  # type: ignore[misc]
            def open(self, way: Way, *args: object, **kwargs: object) -> object:
                if way.method != RAW:
                    raise ValueError("no proxy leads there")
                return super().open(way, *args, **kwargs)

        world.opener = Broken(world.clock, world.opener.behaviours)
        connecting, _ = world.connect(world.endpoint())
        world.run(0.5)
        self.successResultOf(connecting)


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

    def test_cut_again_and_again(self) -> None:
        """A way on which what should last is cut after 20 s gives place to the next."""
        endpoint = self.world.endpoint(lasting=True)
        self.world.behave(upgrade=GOOD, websocket=GOOD)
        for _ in range(CUT_TWICE):
            self.assertLess(self.depth("upgrade"), SINKS_BY - 30)
            speaker = self.connected(endpoint)
            self.assertEqual(way_of(speaker.transport), direct("upgrade"))
            self.world.run(20.0)
            self.world.pipe.end(ConnectionDone())
        self.assertGreater(self.depth("upgrade"), SINKS_BY - 1)
        self.assertEqual(way_of(self.connected(endpoint).transport), direct("websocket"))

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


class RestartTests(EndpointCase):
    """What was learned is known to the next process, and only on that network."""

    def test_plain_port(self) -> None:
        """The plain port is known to work once a byte has come, and is then taken alone."""
        self.world.behave(raw=Behaviour(0.0, 0.02))
        self.connected()
        self.world.pipe.protocol.dataReceived(b"answer")  # type: ignore[union-attr]
        self.world.opener.tried.clear()
        self.world.restart()
        self.connected(self.world.endpoint())
        self.assertEqual(self.world.tried, [RAW])

    def test_restart(self) -> None:
        """The first connect after a restart takes the way that worked, at once."""
        self.world.behave(raw=DEAF, upgrade=SILENT, websocket=STRANGE, get_post=SILENT, poll=GOOD)
        self.connected()
        self.world.opener.tried.clear()
        self.world.restart()
        endpoint = self.world.endpoint()
        began = self.world.clock.seconds()
        connecting, _ = self.world.connect(endpoint)
        self.world.run(0.11)
        self.successResultOf(connecting)
        self.assertIn("poll", self.world.tried[:2])
        self.assertLess(self.world.clock.seconds() - began, 0.2)

    def test_other_network(self) -> None:
        """Elsewhere all begins anew."""
        self.world.behave(raw=DEAF, upgrade=SILENT, poll=GOOD)
        self.connected()
        self.world.opener.tried.clear()
        self.world.network = "office"
        self.world.restart()
        self.world.behave(raw=Behaviour(0.0, 0.02))
        self.connected(self.world.endpoint())
        self.assertEqual(self.world.tried, [RAW, "upgrade"])


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
