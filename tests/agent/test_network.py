"""Tests for wavesync.agent.network: what an agent knows of its own network."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from wavesync.agent.network import AGAIN_AFTER, BLOCKED_AFTER, OwnNetwork
from wavesync.interfaces import Address
from wavesync.portmap.service import Standing
from wavesync.stun.behaviour_words import Behaviour, Dependence

FIRST, SECOND = ("192.0.2.1", 3345), ("192.0.2.2", 3345)
HERE, THERE = ("203.0.113.7", 4000), ("203.0.113.7", 4001)
SYMMETRIC = Behaviour(
    mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Dependence.ENDPOINT_INDEPENDENT,
    hairpinning=False,
)


@implementer(IReactorUDP)
class Reactor(Clock):
    """A clock that could have sockets."""

    def listenUDP(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody does."""
        raise AssertionError("no socket is needed")


class OwnNetworkTests(SynchronousTestCase):
    """Who cannot reach a server is told what the server itself knows of the reason."""

    def setUp(self) -> None:
        """Nothing is known."""
        self.reactor = Reactor()
        self.seen: list[tuple[Address, tuple[Address, ...]]] = []
        self.registered = False
        self.standing: list[Standing] = []
        self.asked: list[tuple[Address, Deferred[Behaviour]]] = []
        self.network = self.make()
        self.network.start()

    def make(self, **options: Any) -> OwnNetwork:
        """What is tested."""
        return OwnNetwork(
            self.reactor,
            mapped=lambda: self.seen,
            registered=lambda: self.registered,
            routers=lambda: self.standing,
            lan=True,
            discover=self.discover,
            hosts=lambda: ["192.168.1.5", "fd00::5"],
            **options,
        )

    def discover(self, reactor: Any, mediator: Address) -> Deferred[Behaviour]:
        """Note who is asked."""
        self.asked.append((mediator, Deferred()))
        return self.asked[-1][1]

    def test_nothing(self) -> None:
        """Before anything is known nothing is told."""
        self.assertIsNone(self.network.summary)
        self.assertEqual(self.asked, [])

    def test_examined(self) -> None:
        """A mediator is asked once; what it shows is told, with what is known anyhow."""
        self.seen = [(FIRST, (HERE,))]
        before = self.network.summary
        assert before is not None
        self.assertEqual((before.udp, before.translated, before.mapping), (True, True, None))
        self.assertEqual((before.ipv6, before.lan), (False, True))
        ((mediator, asked),) = self.asked
        self.assertEqual(mediator, FIRST)
        asked.callback(SYMMETRIC)
        summary = self.network.summary
        assert summary is not None
        self.assertEqual(summary.mapping, Dependence.ADDRESS_AND_PORT_DEPENDENT)
        self.assertEqual(summary.filtering, Dependence.ENDPOINT_INDEPENDENT)
        self.assertIs(summary.hairpinning, False)
        self.reactor.advance(10 * AGAIN_AFTER)
        self.assertEqual(self.network.summary, summary)
        self.assertEqual(len(self.asked), 1)

    def test_moved(self) -> None:
        """Another address outside is another network: it is examined, but not over and over."""
        self.seen = [(FIRST, (HERE,))]
        self.assertIsNotNone(self.network.summary)
        self.asked[0][1].callback(SYMMETRIC)
        self.seen = [(FIRST, (("198.51.100.7", 4000),))]
        self.assertIsNotNone(self.network.summary)
        self.assertEqual(len(self.asked), 1)
        self.reactor.advance(AGAIN_AFTER)
        summary = self.network.summary
        assert summary is not None
        self.assertEqual(len(self.asked), 2)
        self.asked[1][1].errback(OSError("no socket"))
        summary = self.network.summary
        assert summary is not None
        self.assertIsNone(summary.mapping)

    def test_two_mediators(self) -> None:
        """Where no mediator has a second address, two of them show what the router does."""
        for place, expected in (
            (HERE, Dependence.ENDPOINT_INDEPENDENT),
            (THERE, Dependence.ADDRESS_DEPENDENT),
        ):
            self.seen = [(FIRST, (HERE,)), (SECOND, (place,))]
            summary = self.network.summary
            assert summary is not None
            self.assertEqual(summary.mapping, expected)

    def test_blocked(self) -> None:
        """A server that is registered, and gets nothing over UDP, says so after a while."""
        self.registered = True
        self.assertIsNone(self.network.summary)
        self.reactor.advance(BLOCKED_AFTER)
        summary = self.network.summary
        assert summary is not None
        self.assertEqual((summary.udp, summary.translated), (False, None))
        self.registered = False
        self.assertIsNone(self.network.summary)

    def test_proxy(self) -> None:
        """A server whose mediators are reached through a proxy only says so, whatever else is known."""
        proxied: list[bool | None] = [None]
        network = self.make(proxied=lambda: proxied[0])
        network.start()
        self.assertIsNone(network.summary)
        proxied[0] = True
        summary = network.summary
        assert summary is not None
        self.assertEqual((summary.proxy, summary.udp), (True, None))
        proxied[0] = False
        self.assertIsNone(network.summary)
        self.seen = [(FIRST, (HERE,))]
        summary = network.summary
        assert summary is not None
        self.assertIs(summary.proxy, False)

    def test_routers(self) -> None:
        """What the router speaks is told, and whether it forwards."""
        self.seen = [(FIRST, (HERE,))]
        for method, why, router in (
            ("UPnP", "", "UPnP"),
            ("", "it is silent", "none"),
            ("", "", ""),
        ):
            self.standing = [Standing("192.168.1.1", "eth0", method, (), "", why)]
            summary = self.network.summary
            assert summary is not None
            self.assertEqual((summary.router, summary.forwarded), (router, False))

    def test_stop(self) -> None:
        """An examination ends with the agent, which waits for its sockets."""
        self.seen = [(FIRST, (HERE,))]
        self.assertIsNotNone(self.network.summary)
        self.assertNoResult(self.asked[0][1])
        self.successResultOf(self.network.stop())
        self.successResultOf(self.network.stop())
        self.assertIsNotNone(self.network.summary)
        self.assertEqual(len(self.asked), 1)

    def test_everything_on_one_host(self) -> None:
        """Where it is not to be examined, nobody is asked."""
        network = self.make(examines=False)
        network.start()
        self.seen = [(FIRST, (HERE,))]
        self.assertIsNotNone(network.summary)
        self.assertEqual(self.asked, [])
