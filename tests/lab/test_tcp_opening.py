"""TCP connections that both ends open: real data where UDP is blocked or not taken."""

from __future__ import annotations

import json

from tests.lab.case import LabCase
from tests.lab.counters import Counts
from tests.lab.product import Product
from tests.lab.sites import SiteSettings
from tests.lab.topology import Lab
from tests.lab.truth import ERROR_LIMIT

_SIZE = 1_000_000
_SIGNALLING = 30_000  # what registering, one introduction and keep-alives take, with room to spare
_SYN_SIZE = 60
_SLACK = 2.0  # seconds, for a loaded machine
_MAX_SYNS = 24  # twenty of ours, and what the kernel repeats


class TCPOpeningTests(LabCase):
    """NATs that let in nothing but answers are passed by TCP when both sides dial."""

    def product(self, lab: Lab) -> tuple[Product, str]:
        """Start everything; the digest of a file to fetch."""
        product = Product(lab)
        digest = product.payload("file", _SIZE)
        product.start_web()
        product.start_mediator()
        product.start_agent(udp=product.server_site.kind.udp)
        return product, digest

    def fetched(self, product: Product, digest: str, *options: str) -> None:
        """Fetch the file, and find it in the counters of both routers and not at the mediator's."""
        before = product.counts()
        fetched = product.fetch("file", *options)
        self.assertEqual((fetched.status, fetched.digest), (0, digest), fetched.errors)
        self.assertEqual(fetched.report["path"], "tcp")
        (won,) = [each for each in fetched.report["candidates"] if each["result"] == "won"]
        self.assertEqual(won["kind"], "tcp")
        self.assertEqual(won["address"].rpartition(":")[0], product.server_site.wan)
        at_client, at_server = self.passed(product, before)
        self.assertGreater(at_client.tcp_received.bytes, _SIZE)
        self.assertGreater(at_server.tcp_sent.bytes, _SIZE)
        self.assertEqual((at_client.udp_received.packets, at_server.udp_received.packets), (0, 0))
        self.assertLess(at_client.with_mediator, _SIGNALLING)
        self.assertLess(at_server.with_mediator, _SIGNALLING)

    def passed(self, product: Product, before: tuple[Counts, Counts]) -> tuple[Counts, Counts]:
        """What has passed the client's and the server's router since then."""
        at_client, at_server = product.counts()
        return at_client - before[0], at_server - before[1]

    def test_client_without_udp(self) -> None:
        """A client whose network passes no UDP fetches from behind a Linux router."""
        product, digest = self.product(self.lab("no-udp", "linux"))
        self.fetched(product, digest)
        # A connection that both ends opened is no way to remember: the next one works as well.
        report = product.forward("web", 8000)
        for count in (1, 2):
            product.client_host.run(
                ["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8000/file"]
            )
            told = product.reports(report, count)[-1]
            self.assertEqual((told["path"], told["reused"], told["outcome"]), ("tcp", False, "ok"))

    def test_nobody_has_udp(self) -> None:
        """Neither network passes UDP."""
        product, digest = self.product(self.lab("no-udp", "no-udp"))
        self.fetched(product, digest)

    def test_server_without_udp(self) -> None:
        """A server whose network passes no UDP is reached from behind a port-restricted NAT."""
        product, digest = self.product(self.lab("port", "no-udp"))
        self.fetched(product, digest)

    def test_routers_that_refuse(self) -> None:
        """A router that answers early SYNs with a RST stops nobody, nor do legs of unlike length."""
        near, far = (
            SiteSettings("linux-reject", delay=0.005),
            SiteSettings("linux-reject", delay=0.04),
        )
        product, digest = self.product(self.lab(near, far))
        self.fetched(product, digest, "--paths", "tcp")

    def test_routers_that_refuse_nearby(self) -> None:
        """Nor do such routers where a refusal is back in no time."""
        product, digest = self.product(self.lab("linux-reject", "linux-reject"))
        self.fetched(product, digest, "--paths", "tcp")

    def test_symmetric(self) -> None:
        """Where the mappings depend on the remote, the error comes in time, after a few SYNs."""
        product, _ = self.product(self.lab("symmetric", "no-udp"))
        before = product.counts()
        report = product.files / "report.json"
        done = product.wavesync("ping", "--report", str(report), str(product.server.target))
        self.assertEqual(done.status, 1, done.stdout)
        self.assertIn("from both ends", done.stderr)
        ended = [each["ended"] / 1000 for each in json.loads(report.read_text())["candidates"]]
        self.assertLessEqual(max(ended), ERROR_LIMIT + _SLACK)
        for passed in self.passed(product, before):
            self.assertLessEqual(passed.tcp_sent.packets, _MAX_SYNS)
            self.assertLessEqual(passed.tcp_sent.bytes, _MAX_SYNS * _SYN_SIZE)

    def test_ipv6(self) -> None:
        """Two IPv6 firewalls are passed in the same way."""
        settings = SiteSettings("firewall", ipv4=False, ipv6=True)
        product, digest = self.product(self.lab(settings, settings))
        fetched = product.fetch("file", "--paths", "tcp")
        self.assertEqual((fetched.status, fetched.digest), (0, digest), fetched.errors)
        self.assertEqual(fetched.report["path"], "tcp")
