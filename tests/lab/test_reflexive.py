"""Rendezvous with the introduction's token: peers at addresses nobody has named, and forgers."""

from __future__ import annotations

import json
import re
import sys

from tests.lab.case import LabCase
from tests.lab.connects import connect_often
from tests.lab.hosts import Host
from tests.lab.processes import poll
from tests.lab.product import Product

_CONNECTS = 10
_FORGER = "44.9.0.1"


class PeerReflexiveTests(LabCase):
    """A symmetric NAT gives each of its flows a port of its own: the mediator sees another one."""

    def test_learnt(self) -> None:
        """A client that lets the server's address in answers the port that it comes from."""
        for client in ("restricted", "full"):
            lab = self.lab(client, "symmetric")
            product = Product(lab)
            product.start()
            assert product.agent is not None
            mapped = re.search(r"UDP port as (\S+) port (\d+)", product.agent.output())
            assert mapped is not None
            fetched = product.fetch("nothing", "--paths", "udp")
            self.assertEqual((fetched.status, fetched.report["path"]), (0, "udp"), fetched.errors)
            (won,) = (c for c in fetched.report["candidates"] if c["result"] == "won")
            host, _, port = won["address"].rpartition(":")
            self.assertTrue(won["why"].startswith("peer-reflexive"), won)
            self.assertEqual((host, mapped[1]), (lab.b.wan, lab.b.wan))
            self.assertNotEqual(port, mapped[2])
            self.assertIn(f"{mapped[1]}:{mapped[2]}", str(fetched.report["candidates"]))
            lab.close()


class ForgerTests(LabCase):
    """Somebody in the core sees every handshake, and forges others before it can arrive."""

    def test_introductions(self) -> None:
        """Every introduction succeeds, and the forger gets back no more than it has sent.

        Both sites let strangers in, so that all that is forged arrives.
        """
        lab = self.lab("full", "full", delay=0.02)
        product = Product(lab)
        product.start()
        lab.core.ip(f"addr add {_FORGER}/32 dev lo")
        core = Host("forger", lab.core, [_FORGER], lab.directory)
        self.addCleanup(core.close)
        forger = core.start(
            [sys.executable, "-m", "tests.lab.forger", lab.a.wan, lab.b.wan, _FORGER],
            name="forger",
            pipe=True,
        )
        forger.wait_for_line("^ready$")
        connects = connect_often(product, _CONNECTS, "--paths", "udp")
        self.assertEqual(connects.failures, [])
        self.assertEqual(len(connects.reports), _CONNECTS)
        for report in connects.reports:
            won = [c["address"] for c in report["candidates"] if c["result"] == "won"]
            self.assertEqual([address.rpartition(":")[0] for address in won], [lab.b.wan])
        assert forger.stdin is not None
        forger.stdin.close()
        poll(lambda: not forger.running, 60, forger.output)
        figures = json.loads(forger.output().splitlines()[-1])
        print(connects, figures)
        self.assertGreater(figures["handshakes"], 5 * _CONNECTS)
        self.assertGreater(figures["sent"][lab.b.wan], 0)
        self.assertGreater(figures["got"].get(lab.b.wan, 0), 0, "nothing of it has arrived")
        self.assertLessEqual(figures["got"][lab.b.wan], figures["sent"][lab.b.wan])
        assert product.agent is not None
        self.assertNotIn("Traceback", product.agent.output())
