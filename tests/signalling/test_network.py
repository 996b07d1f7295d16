"""Tests for :mod:`wavesync.signalling.network`."""

from pathlib import Path

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.network import NAME_FOR, NetworkNaming, network_name

_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
_ROUTES = _HEAD + (
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
)
_NEIGHBOURS = (
    "IP address       HW type     Flags       HW address            Mask     Device\n"
    "192.168.1.1      0x1         0x2         {hardware}     *        eth0\n"
)


def adapter(name: str, *ips: tuple[str, int]) -> ifaddr.Adapter:
    """An interface with these addresses."""
    return ifaddr.Adapter(
        name,
        name,
        [ifaddr.IP((ip, 0, 0) if ":" in ip else ip, length, name) for ip, length in ips],
    )


class NetworkNameTests(SynchronousTestCase):
    """What worked at home is not tried in the office, and is known again at home."""

    def name(
        self,
        *adapters: ifaddr.Adapter,
        routes: str = _ROUTES,
        hardware: str | None = "52:54:00:00:00:01",
    ) -> str:
        """Name a network."""
        place = Path(self.mktemp())
        place.mkdir()
        (place / "route").write_text(routes)
        if hardware is not None:
            (place / "arp").write_text(_NEIGHBOURS.format(hardware=hardware))
        return network_name(lambda: adapters, routes=place / "route", neighbours=place / "arp")

    def test_same(self) -> None:
        """Another address on the same network, or a container's interface, changes nothing."""
        one = self.name(adapter("eth0", ("192.168.1.5", 24), ("fe80::1", 64), ("2001:db8::5", 64)))
        two = self.name(
            adapter("docker0", ("172.17.0.1", 16)),
            adapter("lo", ("127.0.0.1", 8)),
            adapter("eth0", ("192.168.1.77", 24), ("2001:db8::99", 128)),
        )
        self.assertEqual(one, two)
        self.assertRegex(one, "^[0-9a-f]{16}$")

    def test_other(self) -> None:
        """Another network, another router, or another box in its place is another network."""
        home = adapter("eth0", ("192.168.1.5", 24))
        names = {
            self.name(home),
            self.name(adapter("eth0", ("192.168.2.5", 24))),
            self.name(home, hardware="52:54:00:00:00:02"),
            self.name(home, hardware=None),
            self.name(home, routes=_HEAD),
            self.name(home, routes=_ROUTES.replace("0101A8C0", "FE01A8C0")),
        }
        self.assertEqual(len(names), 6)

    def test_odd_tables(self) -> None:
        """Tables that cannot be understood are left out."""
        home = adapter("eth0", ("192.168.1.5", 24))
        plain = self.name(home, routes="", hardware=None)
        for routes in ("nonsense\n\n\n", _HEAD + "eth0\t00000000\txyz\t3\t0\t0\t0\t00000000\n"):
            self.assertEqual(self.name(home, routes=routes, hardware=None), plain)
        missing = Path("nowhere at all")
        self.assertEqual(network_name(lambda: [home], routes=missing, neighbours=missing), plain)

    def test_this_host(self) -> None:
        """It works where it runs."""
        self.assertEqual(network_name(), network_name())


class NamingTests(SynchronousTestCase):
    """What asks for the name of the network again and again costs one look."""

    def test_looks(self) -> None:
        """A move to another network is seen after a moment, not at each call."""
        now, names = [5.0], iter(["home", "office"])
        naming = NetworkNaming(lambda: next(names), lambda: now[0])
        self.assertEqual(naming(), "home")
        now[0] += NAME_FOR - 0.01
        self.assertEqual(naming(), "home")
        now[0] += 0.01
        self.assertEqual([naming(), naming()], ["office", "office"])
