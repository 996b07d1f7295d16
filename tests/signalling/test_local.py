"""Tests for :mod:`wavesync.signalling.local`."""

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.local import local_hosts


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


class LocalHostsTests(SynchronousTestCase):
    """A site tells only addresses that somebody else may reach."""

    def test_useful_addresses_only(self) -> None:
        """Loopback and link-local are left out, doubles too; IPv4 comes first."""
        self.assertEqual(local_hosts(adapters), ["192.168.1.5", "2001:db8::5"])

    def test_loopback_on_request(self) -> None:
        """With everything on one host, loopback is the candidate."""
        self.assertEqual(
            local_hosts(adapters, loopback=True), ["127.0.0.1", "192.168.1.5", "::1", "2001:db8::5"]
        )

    def test_this_host(self) -> None:
        """The real interfaces can be read; every machine has loopback."""
        self.assertIn("127.0.0.1", local_hosts(loopback=True))
