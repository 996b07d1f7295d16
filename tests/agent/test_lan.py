"""Tests for :mod:`wavesync.agent.lan`."""

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from wavesync.agent.lan import LAN
from wavesync.agent.settings import AgentSettings
from wavesync.errors import SettingsError
from wavesync.identity.ids import Target, new_id
from wavesync.interfaces import Address, IReactor
from wavesync.lan.discovery import Discovery
from wavesync.settings import parse_settings

reactor: IReactor = _reactor  # type: ignore[assignment]


class LANTests(TestCase):
    """What the settings say about a server's own networks."""

    timeout = 30

    def setUp(self) -> None:
        self.server = Target(new_id(), new_id())
        self.found: list[tuple[str, Address]] = []

    def lan(self, accepting: IPv4Address | IPv6Address, settings: str = "") -> LAN:
        """Make one that answers."""
        text = f"allow_loopback = true\n{settings}"
        lan = LAN(reactor, parse_settings(text, AgentSettings, name="agent.toml"), self.server)
        lan.start(accepting)
        self.addCleanup(lan.stop)
        return lan

    def search(self) -> Deferred[int]:
        """Search for it."""
        discovery = Discovery.on(reactor, self.server.system, loopback=True)
        return discovery.search(None, lambda *found: self.found.append(found))

    def test_default(self) -> Deferred[None]:
        """It is found at the port where it accepts."""

        async def test() -> None:
            lan = self.lan(IPv6Address("TCP", "::", 7001))
            self.assertEqual((lan.interfaces, lan.answered), (1, 0))
            await self.search()
            self.assertGreaterEqual(lan.answered, 1)
            self.assertEqual(self.found, [(self.server.server, ("127.0.0.1", 7001))])

        return Deferred.fromCoroutine(test())

    def test_off(self) -> Deferred[None]:
        """Switched off, it is not found, and can be stopped all the same."""

        async def test() -> None:
            lan = self.lan(IPv6Address("TCP", "::", 7001), "lan = false")
            self.assertIsNone(lan.listener)
            self.assertEqual((lan.interfaces, lan.answered), (0, 0))
            await self.search()
            self.assertEqual(self.found, [])

        return Deferred.fromCoroutine(test())

    def test_interfaces(self) -> None:
        """Only the interfaces that are named are used."""
        for names, joined in (('["lo"]', ["lo"]), ('["eth7"]', [])):
            lan = self.lan(IPv6Address("TCP", "::", 7001), f"lan_interfaces = {names}")
            assert lan.listener is not None
            self.assertEqual(lan.listener.joined[0], joined)

    def test_ipv4_only(self) -> None:
        """Who does not accept over IPv6 does not answer there either."""
        for accepting in (IPv4Address("TCP", "0.0.0.0", 7001), IPv6Address("TCP", "::", 7001)):
            listener = self.lan(accepting).listener
            assert listener is not None
            families = {sock.ipv6 for sock in listener._sockets}
            self.assertEqual(families, {False, ":" in accepting.host})

    def test_wrong_settings(self) -> None:
        """A setting of the wrong kind is told in a sentence."""
        for line in ('lan = "yes"', 'lan_interfaces = "eth0"'):
            self.assertRaises(SettingsError, parse_settings, line, AgentSettings, name="agent.toml")
