"""Bad paths: loss and reordering, addresses that lead nowhere, narrow links.

``python -m tests.lab.connects --help`` measures more than there is time for here.
"""

from __future__ import annotations

import hashlib
import re

from tests.lab.case import LabCase
from tests.lab.connects import LIMIT, connect_often, crowd
from tests.lab.product import WEB, Product
from tests.lab.sites import SiteSettings

_CONNECTS = 12
_USELESS = 32
_MTU = 1400
_BULK = 5_000_000
_LEAST_RATE = 5e6  # bits a second; 100 and more where nothing else runs


class LossTests(LabCase):
    """3 % loss on each site's link, and packets that overtake each other."""

    def test_connecting(self) -> None:
        """Connecting takes three seconds at most; usually it takes half of one."""
        bad = SiteSettings("port", delay=0.02, loss=0.03, jitter=0.02)
        lab = self.lab(bad, bad)
        product = Product(lab)
        product.start()
        pings = lab.a.host.run(["ping", "-c", "100", "-i", "0.004", lab.mediator.address])
        answered = [int(number) for number in re.findall(r"icmp_seq=(\d+)", pings.stdout)]
        self.assertNotEqual(answered, sorted(answered), "nothing was overtaken")
        connects = connect_often(product, _CONNECTS, "--paths", "udp")
        print(connects)
        self.assertEqual(connects.failures, [])
        self.assertEqual(len(connects.reports), _CONNECTS)
        self.assertLessEqual(connects.quantile(0.95), LIMIT)
        for site in lab.sites:
            assert site.link is not None
            carried, lost, _ = site.link.counts()
            self.assertTrue(0.005 < lost / (carried + lost) < 0.06, (carried, lost))


class UselessAddressTests(LabCase):
    """Hosts with dozens of addresses that lead nowhere."""

    def test_not_slower(self) -> None:
        """The address that works is among those that are told, and is found as soon as without."""
        lab = self.lab("port", "port", delay=0.02)
        product = Product(lab)
        product.start()
        without = connect_often(product, _CONNECTS)
        for site in lab.sites:
            crowd(site.host, _USELESS)
        assert product.agent is not None
        product.agent.stop()
        product.start_agent()
        crowded = connect_often(product, _CONNECTS)
        print(f"without: {without}\nwith {_USELESS} more on both sides: {crowded}")
        for connects in (without, crowded):
            self.assertEqual(connects.failures, [])
            self.assertEqual({report["path"] for report in connects.reports}, {"udp"})
        # The machine may be busier at one time than at the other.
        self.assertLess(crowded.quantile(0.5), 2 * without.quantile(0.5) + 0.1)
        for report in crowded.reports:
            tried = [each["address"] for each in report["candidates"]]
            useless = [address for address in tried if address.startswith("10.9.")]
            self.assertTrue(0 < len(useless) <= 16, tried)
            self.assertIn(f"{product.server_host.address}:", " ".join(tried))

    def test_one_network(self) -> None:
        """Nor do they hide the address at which a host of the same network is found."""
        lab = self.lab(SiteSettings("port", hosts=2), "port")
        client, server = lab.a.hosts
        for host in (client, server):
            crowd(host, _USELESS)
        product = Product(lab, hosts=(client, server))
        product.start()
        for kind in ("udp", "tcp"):
            fetched = product.fetch("nothing", "--paths", kind)
            self.assertEqual((fetched.status, fetched.report["path"]), (0, kind), fetched.errors)
            won = [each for each in fetched.report["candidates"] if each["result"] == "won"]
            self.assertTrue(won[0]["address"].startswith(f"{server.address}:"), won)


class NarrowTests(LabCase):
    """Both sites' links carry packets of 1400 octets at most."""

    def download(self, *, too_big: bool) -> None:
        """Connect, and load a file through it.

        :param too_big: senders are told of packets that are too large.
        """
        narrow = SiteSettings("port", delay=0.005, mtu=_MTU, too_big=too_big)
        lab = self.lab(narrow, narrow)
        product = Product(lab)
        digest = product.payload("file", _BULK)
        product.start()
        product.forward(WEB, 7000)
        before = product.counts()
        got = product.files / "got"
        done = product.client_host.run(
            [
                *("curl", "-sf", "-o", str(got), "-w", "%{speed_download}"),
                "http://127.0.0.1:7000/file",
            ],
            timeout=60,
        )
        rate = float(done.stdout) * 8
        sent = (product.counts()[1] - before[1]).udp_sent
        average = sent.bytes / sent.packets
        print(f"{rate / 1e6:.0f} Mbit/s in packets of {average:.0f} octets, told: {too_big}")
        self.assertEqual(hashlib.sha256(got.read_bytes()).hexdigest(), digest)
        self.assertGreater(rate, _LEAST_RATE)
        self.assertGreater(average, 1250, "larger packets than the smallest were found to pass")
        self.assertLessEqual(average, _MTU)

    def test_black_hole(self) -> None:
        """Larger packets vanish without a word."""
        self.download(too_big=False)

    def test_told(self) -> None:
        """Routers answer larger packets with ICMP errors."""
        self.download(too_big=True)
