"""Tests for :mod:`wavesync.signalling.local`."""

import socket

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.local import local_hosts, route_source
from wavesync.signalling.numbers import MAX_ADDRESSES


def adapters() -> list[ifaddr.Adapter]:
    """Two interfaces as ifaddr describes them."""
    return [
        ifaddr.Adapter(
            "lo", "lo", [ifaddr.IP("127.0.0.1", 8, "lo"), ifaddr.IP(("::1", 0, 0), 128, "lo")]
        ),
        ifaddr.Adapter(
            "eth0",
            "eth0",
            [
                ifaddr.IP(("2001:db8::5", 0, 0), 64, "eth0"),
                ifaddr.IP(("fe80::1", 0, 2), 64, "eth0"),
                ifaddr.IP("169.254.1.1", 16, "eth0"),
                ifaddr.IP("192.168.1.5", 24, "eth0"),
                ifaddr.IP("192.168.1.5", 24, "eth0"),
            ],
        ),
    ]


def nowhere(family: socket.AddressFamily) -> str | None:
    """A host without a way to the internet."""
    return None


def at_home(family: socket.AddressFamily) -> str | None:
    """A host that reaches the internet by its last address."""
    return "192.168.7.7" if family == socket.AF_INET else "2001:db8::7"


class LocalHostsTests(SynchronousTestCase):
    """A site tells only addresses that somebody else may reach."""

    def test_useful_addresses_only(self) -> None:
        """Loopback and link-local are left out, doubles too; IPv4 comes first."""
        self.assertEqual(local_hosts(adapters, source=nowhere), ["192.168.1.5", "2001:db8::5"])

    def test_loopback_on_request(self) -> None:
        """With everything on one host, loopback is the candidate."""
        self.assertEqual(
            local_hosts(adapters, loopback=True, source=nowhere),
            ["127.0.0.1", "192.168.1.5", "::1", "2001:db8::5"],
        )

    def test_this_host(self) -> None:
        """The real interfaces can be read; every machine has loopback."""
        self.assertIn("127.0.0.1", local_hosts(loopback=True))

    def test_real_ones_first(self) -> None:
        """Dozens of useless addresses crowd out neither the ones that work nor other interfaces."""
        useless = [ifaddr.IP(f"10.9.0.{n}", 32, "eth0") for n in range(32)]
        useless += [ifaddr.IP((f"2001:db8:9::{n:x}", 0, 0), 128, "eth0") for n in range(32)]
        real = [
            ifaddr.IP("192.168.7.7", 24, "eth0"),
            ifaddr.IP(("2001:db8::7", 0, 0), 64, "eth0"),
        ]
        hosts = local_hosts(
            lambda: [
                ifaddr.Adapter("docker0", "docker0", [ifaddr.IP("172.17.0.1", 16, "docker0")]),
                ifaddr.Adapter("eth0", "eth0", useless + real),
                ifaddr.Adapter("wlan0", "wlan0", [ifaddr.IP("192.168.8.8", 24, "wlan0")]),
            ],
            source=at_home,
        )
        self.assertEqual(
            hosts[:5],
            ["192.168.7.7", "2001:db8::7", "10.9.0.0", "192.168.8.8", "2001:db8:9::"],
        )
        self.assertLess(5, MAX_ADDRESSES // 2, "an agent tells a TCP and a UDP address of each")
        self.assertEqual(hosts[-1], "172.17.0.1")
        self.assertEqual(len(hosts), 68)

    def test_route(self) -> None:
        """The default route's address is one of this host's own, where there is a route."""
        for family in (socket.AF_INET, socket.AF_INET6):
            host = route_source(family)
            if host is not None:
                self.assertIn(host, local_hosts(loopback=True))
