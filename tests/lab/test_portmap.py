"""A router that maps ports (miniupnpd) makes a site direct that needs a relay without it."""

from __future__ import annotations

import sys
import time

from tests.lab.case import LabCase
from tests.lab.igd import PROTOCOLS, PortMapRouter
from tests.lab.processes import Process
from tests.lab.product import Product
from tests.lab.scene import Figure
from tests.lab.topology import Lab, Site, SiteSettings
from tests.lab.truth import expected

_MAPPED, _BACK = 30.0, 30.0  # seconds, on a busy machine
_ADDRESS = r"forwards to here \((.*)\): TCP (\S+) port (\d+), UDP (\S+) port (\d+)"
_CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])):
    print("open")
"""


def reaches(lab: Lab, host: str, port: int, *, patience: float) -> bool:
    """Whether a stranger on the internet reaches a TCP port."""
    call = [sys.executable, "-c", _CALL, host, str(port), str(patience)]
    return lab.mediator.run(call, check=False).stdout == "open\n"


class PortMapTests(LabCase):
    """What a user notices of port mapping."""

    def test_symmetric_pair(self) -> None:
        """Two symmetric sites, which have no direct path else: direct by UDP and by TCP, again after
        the router was rebooted; and nothing is left when the agent stops."""
        self.assertEqual(expected("symmetric", "symmetric"), {"error"})
        lab = self.lab("symmetric", "symmetric", delay=0.01)
        router = PortMapRouter(lab.b)
        product = Product(lab)
        digest = product.payload("file", 100_000)
        product.start()
        assert product.agent is not None
        product.agent.wait_for_line(_ADDRESS, _MAPPED)
        self.assertEqual(len(router.rules), 2)
        for path in ("udp", "tcp"):
            self.fetched(product, digest, path, "--paths", path)

        began = time.monotonic()
        router.reboot()
        router.wait_for_rules(2, _BACK)
        said = product.agent.output()
        Figure(
            "ports mapped again, from the router's reboot", time.monotonic() - began, _BACK
        ).tell(said)
        # The mediator has to hear of the server again: its connection has not survived either.
        product.agent.wait_for_line(r"(?s)forgotten its mappings.*registered with", 60)
        self.fetched(product, digest, "udp tcp", "--paths", "udp,tcp")
        product.agent.stop()
        self.assertEqual(router.rules, [])

    def fetched(self, product: Product, digest: str, paths: str, *options: str) -> None:
        """Fetch a file, and see by which path it came."""
        fetched = product.fetch("file", *options)
        assert product.agent is not None
        said = f"{fetched.errors}\n{fetched.report}\n{product.agent.output()}"
        self.assertEqual((fetched.status, fetched.digest), (0, digest), said)
        self.assertIn(fetched.report["path"], paths.split())

    def test_every_protocol(self) -> None:
        """PCP, NAT-PMP and UPnP each do by themselves: strangers get in while the agent runs, through
        an IPv6 firewall, too.  Behind an ISP's router they do not, and the agent says why."""
        lab = self.lab(SiteSettings("symmetric", ipv6=True), "port")
        sites = (*lab.sites, lab.add_site(SiteSettings("linux")))
        routers = [
            PortMapRouter(site, (name,)) for name, site in zip(PROTOCOLS, sites, strict=True)
        ]
        home = lab.add_site(SiteSettings("cgnat"))
        PortMapRouter(home)
        agents = [self.agent(lab, site) for site in (*sites, home)]
        for name, site, router, agent in zip(PROTOCOLS, sites, routers, agents, strict=False):
            told = agent.wait_for_line(_ADDRESS, _MAPPED)
            self.assertEqual((told[1], told[2], told[4]), (name, site.wan, site.wan))
            self.assertEqual(len(router.rules), 2)
            self.assertTrue(reaches(lab, site.wan, int(told[3]), patience=10.0))
            if site.settings.ipv6:
                six = site.host.addresses[1]
                agent.wait_for_line(rf"\(PCP\): TCP {six} port {told[3]}", _MAPPED)
                self.assertTrue(reaches(lab, six, int(told[3]), patience=10.0))
            agent.stop()
            self.assertEqual((router.rules, router.pinholes), ([], []))
            self.assertFalse(reaches(lab, site.wan, int(told[3]), patience=0.3))
            if site.settings.ipv6:
                self.assertFalse(reaches(lab, six, int(told[3]), patience=0.3))
        agents[-1].wait_for_line("does not let the internet in.*behind one more router", _MAPPED)

    def agent(self, lab: Lab, site: Site) -> Process:
        """Start an agent at a site, of a system of its own."""
        product = Product(lab, hosts=(site.host, site.host))
        lines = [f'credentials = "{product.server_file}"', "[services]", 'web = "tcp:127.0.0.1:80"']
        (product.files / "agent.toml").write_text("\n".join(lines) + "\n")
        return product.agent_on(site.host)
