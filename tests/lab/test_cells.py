"""Cells of the matrix: a client behind one NAT fetches real data from behind another."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.counters import Counts
from tests.lab.product import Product
from tests.lab.topology import Lab

_SIZE = 1_000_000
_SIGNALLING = 20_000  # what registering, one introduction and keep-alives take, with room to spare


class CellTests(LabCase):
    """Every pair of these kinds is direct by UDP, and the mediator sees none of the payload."""

    def punched(self, client: str, server: str) -> None:
        """Fetch a file across one pair of sites by UDP and look at all counters."""
        lab = self.lab(client, server)
        product = Product(lab)
        digest = product.payload("file", _SIZE)
        product.start()
        before = product.counts()
        fetched = product.fetch("file", "--paths", "udp")
        cell = f"{client} x {server}"
        self.assertEqual(fetched.status, 0, f"{cell}: {fetched.errors}")
        self.assertEqual(fetched.digest, digest, cell)
        self.assertEqual(fetched.report["path"], "udp", cell)
        self.check_flow(lab, product, before, cell)
        lab.close()

    def check_flow(
        self, lab: Lab, product: Product, before: tuple[Counts, Counts], cell: str
    ) -> None:
        """Both routers saw the payload pass between the sites; the mediator's link did not."""
        at_client, at_server = (
            now - earlier for now, earlier in zip(product.counts(), before, strict=True)
        )
        self.assertGreater(at_client.udp_received.bytes, _SIZE, cell)
        self.assertGreater(at_server.udp_sent.bytes, _SIZE, cell)
        self.assertGreater(at_client.udp_sent.packets, 0, cell)
        self.assertGreater(at_server.udp_received.packets, 0, cell)
        self.assertEqual(at_client.tcp_received.packets, 0, cell)
        self.assertLess(at_client.with_mediator, _SIGNALLING, cell)
        self.assertLess(at_server.with_mediator, _SIGNALLING, cell)

    def test_from_none(self) -> None:
        """A client with a public address."""
        for server in ("none", "full", "port", "linux"):
            self.punched("none", server)

    def test_from_full(self) -> None:
        """A client behind a full cone."""
        for server in ("none", "full", "port", "linux"):
            self.punched("full", server)

    def test_from_port(self) -> None:
        """A client behind a port-restricted NAT."""
        for server in ("none", "full", "port", "linux"):
            self.punched("port", server)

    def test_from_linux(self) -> None:
        """A client behind a Linux router that drops what nobody asked for."""
        for server in ("none", "full", "port", "linux"):
            self.punched("linux", server)

    def test_direct_tcp(self) -> None:
        """A server with a public address is reached by TCP where that is all that is allowed."""
        lab = self.lab("port", "none")
        product = Product(lab)
        digest = product.payload("file", _SIZE)
        product.start()
        before = product.counts()
        fetched = product.fetch("file", "--paths", "tcp")
        self.assertEqual((fetched.status, fetched.digest), (0, digest), fetched.errors)
        self.assertEqual(fetched.report["path"], "tcp")
        at_client = product.counts()[0] - before[0]
        self.assertGreater(at_client.tcp_received.bytes, _SIZE)
        self.assertEqual(at_client.udp_received.packets, 0)
        self.assertLess(at_client.with_mediator, _SIGNALLING)

    def test_whole_system(self) -> None:
        """Asked for a system, the client is given its server, and says which it is."""
        product = Product(self.lab("port", "linux"))
        product.start()
        done = product.wavesync("ping", "-c", "2", "-i", "0", product.system.system)
        self.assertEqual(done.status, 0, done.stderr)
        self.assertIn(f"{product.server.target}: udp via", done.stdout)
        self.assertEqual(done.stdout.count("pong"), 2)
