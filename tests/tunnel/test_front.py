"""Tests for :mod:`wavesync.tunnel.front` and :mod:`wavesync.tunnel.connection`."""

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory  # it has no public name
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tunnel.world import HELLO, RawClient, World, request
from wavesync.tunnel.limits import TunnelLimits

_GET = request("GET", "two")
_UPGRADE = request("GET", "upgrade", "ab" * 16, "Connection: Upgrade", "Upgrade: wavesync-tunnel/1")


class FrontTests(SynchronousTestCase):
    """Connections to a port for tunnels."""

    def test_connections(self) -> None:
        """One more than there may be is closed at once; when one leaves there is room again."""
        world = World(TunnelLimits(connections=2))
        clients = [world.raw() for _ in range(3)]
        self.assertEqual([client.lost is None for client in clients], [True, True, False])
        self.assertEqual(world.server.statistics.refused, {"connections": 1})
        clients[0].transport.loseConnection()
        world.pump()
        self.assertIsNone(world.raw().lost)
        self.assertEqual(len(world.front), 2)

    def test_connections_of_a_host(self) -> None:
        """One address cannot take all of them."""
        world = World(TunnelLimits(connections_per_host=1))
        first = world.raw(_GET)
        second = world.raw(_GET)
        other = world.raw(request("GET", "two", "cd" * 16), "192.0.2.8")
        self.assertIsNotNone(second.lost)
        self.assertEqual(second.received, b"")
        self.assertIsNone(other.lost)
        first.transport.loseConnection()
        world.pump()
        self.assertIsNone(world.raw(_GET).lost)
        self.assertEqual(world.server.statistics.refused, {"connections-of-host": 1})

    def test_heads(self) -> None:
        """Where too many have not said what they want, the oldest goes."""
        world = World(TunnelLimits(heads=2))
        clients = [world.raw(b"GET ") for _ in range(3)]
        self.assertEqual([client.lost is None for client in clients], [False, True, True])
        self.assertEqual(world.server.statistics.refused, {"heads": 1})
        busy = [world.raw(request("GET", "two", f"{number:032x}")) for number in range(3)]
        self.assertEqual([client.lost for client in busy], [None] * 3)

    def test_head_time(self) -> None:
        """A request has 10 s to come, in however many pieces."""
        world = World()
        slow, mute = world.raw(b"GET "), world.raw()
        for _ in range(9):
            world.wait(1.0)
            slow.say(b"x")
        self.assertEqual((slow.lost, mute.lost), (None, None))
        world.wait(1.1)
        self.assertIsNotNone(slow.lost)
        self.assertIsNotNone(mute.lost)
        self.assertEqual(world.server.statistics.refused, {"head-time": 2})
        self.assertEqual((len(world.front), world.clock.getDelayedCalls()), (0, []))

    def test_refusal_not_read(self) -> None:
        """Whoever does not take his refusal is cut off after 5 s; what he says is not read."""
        world = World()
        client = world.raw()
        world.paths[0][0].reading = False
        client.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        world.pump()
        client.say(_UPGRADE + HELLO)
        world.pump()
        world.wait(4.9)
        self.assertEqual(len(world.front), 1)
        world.wait(0.2)
        self.assertEqual(len(world.front), 0)
        self.assertEqual(world.guests, [])

    def test_from_nowhere(self) -> None:
        """What is no network has no address to count, and is closed."""
        world = World()
        client = world.raw()
        world.paths[0][1]._peer = UNIXAddress(None)
        client.say(_GET)
        world.pump()
        self.assertIsNotNone(client.lost)
        self.assertEqual(len(world.front), 0)

    def test_proxy_protocol(self) -> None:
        """Behind the PROXY protocol a tunnel comes from where the proxy says."""
        world = World()
        wrapping = HAProxyWrappingFactory(world.front)
        server: Any = wrapping.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        client = RawClient()
        world.join(client, server)
        client.say(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 3355\r\n" + _UPGRADE + HELLO + b"up")
        world.pump()
        self.assertEqual(world.guests[0].received, b"up")
        self.assertEqual(world.told, [IPv4Address("TCP", "203.0.113.9", 4711)])

    def test_interface(self) -> None:
        """It is a factory as ports want them."""
        self.assertTrue(verifyObject(IProtocolFactory, World().front))
