"""Tests for :mod:`wavesync.portmap.gateways`."""

import socket
from pathlib import Path

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from tests.test_routes import IPV4, IPV6
from wavesync.portmap.gateways import MAX_GATEWAYS, Gateway, Own, find_gateways, own_addresses

_HOME = Own("eth0", "192.168.2.5", 24)
_SIX = Own("eth0", "2600::5", 64)


class GatewayTests(SynchronousTestCase):
    """The routers that may help are found, and others are left alone."""

    def find(
        self, *own: Own, ipv4: str | None = IPV4, ipv6: str = "", leaving: str | None = None
    ) -> list[Gateway]:
        """Find them on a host with these addresses and tables of routes."""
        place = Path(self.mktemp())
        place.mkdir()
        if ipv4 is not None:
            (place / "route").write_text(ipv4)
        (place / "ipv6_route").write_text(ipv6)

        def source(family: socket.AddressFamily) -> str | None:
            self.assertIs(family, socket.AF_INET6)
            return leaving

        return find_gateways(
            lambda: own,
            source=source,
            routes=place / "route",
            routes6=place / "ipv6_route",
        )

    def test_home(self) -> None:
        """A host at home: its router, and the own address on its network."""
        other = Own("eth0", "10.9.9.9", 24)
        self.assertEqual(
            self.find(other, _HOME),
            [Gateway("eth0", "192.168.2.1", "192.168.2.5", "192.168.2.0/24")],
        )

    def test_public(self) -> None:
        """A host with a public address does not ask its provider's router for anything."""
        self.assertEqual(self.find(Own("eth0", "44.1.2.3", 24)), [])

    def test_far_router(self) -> None:
        """A router outside of all own networks is reached from whatever address there is."""
        (gateway,) = self.find(Own("eth0", "10.0.0.7", 32))
        self.assertEqual((gateway.own, gateway.network), ("10.0.0.7", "10.0.0.7/32"))

    def test_other_interface(self) -> None:
        """Without an address on the router's interface there is nothing to ask from."""
        self.assertEqual(self.find(Own("wlan0", "192.168.2.5", 24)), [])

    def test_ipv6(self) -> None:
        """For IPv6 the router is asked from the address that packets leave from, if it is public."""
        found = self.find(_SIX, ipv4="", ipv6=IPV6, leaving="2600::5")
        self.assertEqual(found, [Gateway("eth0", "fe80::1", "2600::5", "2600::/64")])
        for leaving in (None, "fd00::5", "2600::77"):
            self.assertEqual(self.find(_SIX, ipv4="", ipv6=IPV6, leaving=leaving), [])

    def test_no_table(self) -> None:
        """Where no routes are known, routers are searched on the networks of private addresses."""
        own = (_HOME, _SIX, Own("eth1", "44.1.2.3", 24), Own("docker0", "172.17.0.1", 16))
        self.assertEqual(
            self.find(*own, ipv4=None), [Gateway("eth0", "", "192.168.2.5", "192.168.2.0/24")]
        )

    def test_many(self) -> None:
        """No more than four routers are asked."""
        for count in (MAX_GATEWAYS, MAX_GATEWAYS + 1):
            own = [Own(f"eth{each}", f"10.0.{each}.2", 24) for each in range(count)]
            table = "".join(
                f"eth{each}\t00000000\t01{each:02x}000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
                for each in range(count)
            )
            self.assertEqual(len(self.find(*own, ipv4=table)), MAX_GATEWAYS)

    def test_neighbours(self) -> None:
        """Who is on the router's network, and who is not."""
        gateway = Gateway("eth0", "192.168.2.1", "192.168.2.5", "192.168.2.0/24")
        self.assertTrue(gateway.neighbour("192.168.2.254"))
        for host in ("192.168.3.1", "8.8.8.8", "fe80::1", "router"):
            self.assertFalse(gateway.neighbour(host))

    def test_own_addresses(self) -> None:
        """All addresses of this host but those of loopback and of one link."""

        def adapters() -> list[ifaddr.Adapter]:
            ips = [("127.0.0.1", 8), ("169.254.3.4", 16), ("192.168.2.5", 24)]
            return [
                ifaddr.Adapter(
                    "eth0",
                    "eth0",
                    [ifaddr.IP(ip, length, "eth0") for ip, length in ips]
                    + [ifaddr.IP((ip, 0, 2), 64, "eth0") for ip in ("fe80::5", "2600::5")],
                )
            ]

        self.assertEqual(own_addresses(adapters), [_HOME, _SIX])
