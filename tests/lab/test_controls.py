"""Negative controls: what must not connect does not, and does once only the fault is removed."""

from __future__ import annotations

import time

from tests.lab.case import LabCase
from tests.lab.product import Product
from wavesync.identity.system import SystemCredentials

_SIZE = 10_000


class ControlTests(LabCase):
    """Each fault has its own sentence and exit status."""

    def product(self, *, agent: bool = True) -> tuple[Product, str]:
        """Start everything across two port-restricted NATs.

        :param agent: register the server.
        :returns: the product and the digest of ``file``.
        """
        product = Product(self.lab("port", "port"))
        digest = product.payload("file", _SIZE)
        if agent:
            product.start()
        else:
            product.start_web()
            product.start_mediator()
        return product, digest

    def works(self, product: Product, digest: str, *options: str) -> None:
        """See the same fetch succeed."""
        fetched = product.fetch("file", *options)
        self.assertEqual((fetched.status, fetched.digest), (0, digest), fetched.errors)

    def test_no_introduction(self) -> None:
        """A server that no mediator can introduce cannot be reached, although it is there."""
        product, digest = self.product(agent=False)
        fetched = product.fetch("file", "--paths", "udp")
        self.assertEqual((fetched.status, fetched.size), (1, 0))
        self.assertIn("is not online", fetched.errors)
        product.start_agent()
        self.works(product, digest, "--paths", "udp")

    def test_no_mediator(self) -> None:
        """Without a mediator there is no introduction either, and that is said."""
        product, digest = self.product()
        assert product.mediator is not None
        product.mediator.stop()
        fetched = product.fetch("file", "--paths", "udp")
        self.assertEqual((fetched.status, fetched.size), (1, 0))
        self.assertIn("cannot reach the mediator", fetched.errors)
        product.start_mediator()
        product.wait_for_agent()
        self.works(product, digest, "--paths", "udp")

    def test_other_system(self) -> None:
        """The credentials of another system open nothing; those of this one do."""
        product, digest = self.product()
        other = SystemCredentials.create(tuple(product.system.mediators))
        stranger = product.save(other.add_client("lab", now=time.time()), "stranger.pem")
        fetched = product.fetch("file", credentials=stranger)
        self.assertEqual((fetched.status, fetched.size), (3, 0))
        self.assertIn("another system", fetched.errors)
        self.works(product, digest)

    def test_udp_blocked(self) -> None:
        """With UDP blocked on one site there is no hole, and the client says what that may be."""
        product, digest = self.product()
        product.client_site.block_udp()
        fetched = product.fetch("file", "--paths", "udp")
        self.assertEqual((fetched.status, fetched.size), (1, 0))
        self.assertIn("UDP may be blocked", fetched.errors)
        product.client_site.unblock_udp()
        self.works(product, digest, "--paths", "udp")
