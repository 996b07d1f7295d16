"""Tests for :mod:`wavesync.tunnel.endpoint`, with ways that do as they are told."""

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface.verify import verifyObject

from tests.tunnel.endpoint_case import DEAF, GOOD, REFUSED, SILENT, STRANGE, EndpointCase
from tests.tunnel.test_ladder import PLAIN, TUNNELS, WAYS, direct
from tests.tunnel.ways_world import Behaviour, Speaker, WaysWorld
from wavesync.tunnel.contest import MAX_CAUSES, MAX_CLAUSES
from wavesync.tunnel.endpoint import (
    CONNECT_TIMEOUT,
    WAY_TIMEOUT,
    way_of,
)
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.ladder import SINKS_BY
from wavesync.tunnel.proxies import Proxy
from wavesync.tunnel.race import STAGGER
from wavesync.tunnel.way import RAW, Route, Way, ways_of


class _NoProtocols(Factory):
    """Makes none."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        """Make none."""


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

    def test_so_far(self) -> None:
        """Who has no time to wait for the end learns what was found out until then."""
        self.world.behave(upgrade=STRANGE, websocket=SILENT)
        self.assertEqual(self.endpoint.ailments(), "")
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(1.0)
        self.assertEqual(self.endpoint.ailments(), "an HTML page came")
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.endpoint.ailments(), "")

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
        self.assertIn("works: an HTML page came; HTTP 404; ", str(error))
        self.assertEqual(str(error).count(";"), MAX_CLAUSES)
        self.assertTrue(str(error).endswith("and more"))

    def test_long(self) -> None:
        """Long causes are fewer; one is told in any case."""
        for size, told in ((MAX_CAUSES, 1), (MAX_CAUSES // 2, 2), (MAX_CAUSES // 2 + 1, 1)):
            causes = [letter * size for letter in "abcde"]
            self.world.behave(
                raw=REFUSED,
                upgrade=Behaviour(0.02, 0.04, TunnelError(causes[0], Why.REFUSED)),
                websocket=Behaviour(0.02, 0.04, TunnelError(causes[1], Why.REFUSED)),
                get_post=Behaviour(0.02, 0.04, TunnelError(causes[2], Why.REFUSED)),
                two=Behaviour(0.02, 0.04, TunnelError(causes[3], Why.REFUSED)),
                poll=Behaviour(0.02, 0.04, TunnelError(causes[4], Why.REFUSED)),
            )
            connecting, _ = self.world.connect(self.endpoint)
            self.world.run(2.0)
            sentence = str(self.failureResultOf(connecting, TunnelError).value)
            self.assertEqual(sum(cause in sentence for cause in causes), told, sentence)
            self.assertTrue(sentence.endswith("; and more"), sentence)

    def test_alike(self) -> None:
        """Causes that differ in their details only are one."""
        self.world.behave(
            raw=REFUSED,
            upgrade=Behaviour(0.02, 0.04, TunnelError("no HTTP (status line)", Why.NOT_HTTP)),
            websocket=Behaviour(0.02, 0.04, TunnelError("no HTTP (too long)", Why.NOT_HTTP)),
            get_post=Behaviour(0.02, 0.04, TunnelError("closed", Why.CLOSED)),
            two=Behaviour(0.02, 0.04, TunnelError("closed", Why.CLOSED)),
            poll=Behaviour(0.02, 0.04, TunnelError("no HTTP (a third)", Why.NOT_HTTP)),
        )
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(2.0)
        sentence = str(self.failureResultOf(connecting, TunnelError).value)
        self.assertEqual(sentence.count("no HTTP"), 1, sentence)
        self.assertIn("closed", sentence)

    def test_one_cause(self) -> None:
        """What stops several methods is told once."""
        page = TunnelError("an HTML page came", Why.PAGE)
        self.world.behave(**{way.method.replace("-", "_"): STRANGE for way in WAYS})
        connecting, _ = self.world.connect(self.endpoint)
        self.world.run(4.0)
        error = self.failureResultOf(connecting, TunnelError).value
        self.assertEqual(str(error).count(str(page)), 1)

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
