"""Tests for :mod:`wavesync.lan.links`."""

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from wavesync.lan.links import MAX_HOSTS, MAX_LINKS, Link, find_links


def adapter(name: str, index: int, *addresses: tuple[str, int]) -> ifaddr.Adapter:
    """An interface."""
    ips = [
        ifaddr.IP((host, 0, 0) if ":" in host else host, length, name) for host, length in addresses
    ]
    return ifaddr.Adapter(name, name, ips, index)


LO = adapter("lo", 1, ("127.0.0.1", 8), ("::1", 128))
ETH = adapter("eth0", 2, ("10.0.0.5", 24), ("10.1.0.5", 16), ("fd00::5", 64), ("fe80::5", 64))
SIX = adapter("wlan0", 3, ("fe80::6", 64))
DOCKER = adapter("docker0", 4, ("172.17.0.1", 16))


class LinkTests(SynchronousTestCase):
    """Which interfaces are used, and who is on them."""

    def found(self, **options: object) -> list[str]:
        """Names of what is found."""
        links = find_links(lambda: [LO, ETH, SIX, DOCKER], **options)  # type: ignore[arg-type]
        return [link.name for link in links]

    def test_chosen(self) -> None:
        """Containers' interfaces only if asked for, loopback only by itself."""
        self.assertEqual(self.found(), ["eth0", "wlan0"])
        self.assertEqual(self.found(virtual=True), ["eth0", "wlan0", "docker0"])
        self.assertEqual(self.found(loopback=True), ["lo"])
        self.assertEqual(self.found(names=("wlan0", "docker0", "eth9")), ["wlan0", "docker0"])

    def test_addresses(self) -> None:
        """One IPv4 address of each network that somebody else can be on, and whether there is IPv6."""
        odd = adapter("eth1", 5, ("10.9.0.1", 32), ("10.3.0.1", 24), ("10.3.0.2", 24))
        eth, six, one = find_links(lambda: [ETH, SIX, odd])
        self.assertEqual((eth.index, eth.hosts, eth.ipv6), (2, ("10.0.0.5", "10.1.0.5"), True))
        self.assertEqual((six.index, six.hosts, six.ipv6), (3, (), True))
        self.assertEqual((one.index, one.hosts, one.ipv6), (5, ("10.3.0.1",), False))
        self.assertFalse(one.reaches("10.9.0.1"))

    def test_reaches(self) -> None:
        """Hosts of its networks and link-local ones, nobody else."""
        eth, docker = find_links(lambda: [ETH, DOCKER], virtual=True)
        for host in ("10.0.0.9", "10.1.77.1", "fd00::9", "fe80::9", "fe80::9%eth0"):
            self.assertTrue(eth.reaches(host), host)
        for host in ("10.0.1.9", "10.2.0.1", "fd00:0:0:1::9", "8.8.8.8", "nonsense", ""):
            self.assertFalse(eth.reaches(host), host)
        self.assertTrue(docker.reaches("172.17.3.4"))
        self.assertFalse(docker.reaches("fe80::9"))

    def test_networks(self) -> None:
        """Of one interface, four IPv4 networks at most."""
        for count in (MAX_HOSTS, MAX_HOSTS + 1):
            addresses = [(f"10.{n}.0.1", 16) for n in range(count)]
            (link,) = find_links(lambda of=addresses: [adapter("eth0", 2, *of)])  # type: ignore[misc]
            self.assertEqual(link.hosts, tuple(host for host, _ in addresses[:MAX_HOSTS]))

    def test_limit(self) -> None:
        """Sixteen at most."""
        for count in (MAX_LINKS, MAX_LINKS + 1):
            many = [adapter(f"eth{n}", n, (f"10.{n}.0.1", 16)) for n in range(count)]
            links: list[Link] = find_links(lambda many=many: many)  # type: ignore[misc]
            self.assertEqual(len(links), MAX_LINKS)
