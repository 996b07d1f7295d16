"""A router that was punched too early spoils a UDP port of the agent: the agent takes another one."""

from __future__ import annotations

import json
import re
import sys

from tests.lab.case import LabCase
from tests.lab.processes import poll
from tests.lab.product import WEB, Product

_FORWARD = 8100
_FIRST, _LAST = 40000, 40031  # where the first client's UDP port is from
_OTHERS = 41000, 60999  # where the next one's is from
_EARLY = """
import socket, sys
host, port, first, last = sys.argv[1], *map(int, sys.argv[2:])
for own in range(first, last + 1):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as punch:
        punch.bind(("", own))
        punch.sendto(b"early", (host, port))
"""


class FreshPortTests(LabCase):
    """The agent is behind a router that accepts what nobody has asked for."""

    def setUp(self) -> None:
        self.product = Product(self.lab("linux", "linux-accept", delay=0.02))
        self.digest = self.product.payload("small", 1000)
        self.product.start()
        self.report = self.product.forward(WEB, _FORWARD)

    def mapped(self) -> list[tuple[str, str]]:
        """Where the mediator has seen the agent's UDP port, so far."""
        assert self.product.agent is not None
        return re.findall(r"UDP port as (\S+) port (\d+)", self.product.agent.output())

    def fetch(self) -> tuple[str, float]:
        """Connect cold; returns the path and the milliseconds until it was authenticated."""
        fetched = self.product.fetch("small")
        self.assertEqual((fetched.status, fetched.digest), (0, self.digest), fetched.errors)
        return str(fetched.report["path"]), fetched.report["ms"]["authenticated"]

    def through_hole(self, count: int) -> dict[str, object]:
        """Connect through the hole of ``wavesync forward``; returns the last report of so many."""
        url = f"http://127.0.0.1:{_FORWARD}/small"
        self.product.client_host.run(["curl", "-sSf", "-o", "/dev/null", url], timeout=60)
        return self.product.reports(self.report, count)[-1]

    def take_ports_from(self, first: int, last: int) -> None:
        """Have the client's host choose among these ports."""
        write = f"echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range"
        self.product.client_host.namespace.run(["sh", "-c", write])

    def test_early_punch(self) -> None:
        """One packet too early costs one connect its path by UDP; the next has it, and holes live on."""
        first = self.through_hole(1)
        self.assertEqual((first["path"], first["reused"]), ("udp", False))
        self.take_ports_from(_FIRST, _LAST)
        ((host, port),) = self.mapped()
        early = [sys.executable, "-c", _EARLY, host, port, str(_FIRST), str(_LAST)]
        self.product.client_host.run(early)
        spoiled = self.fetch()
        poll(lambda: len(self.mapped()) > 1, 20, lambda: "the agent keeps its UDP port")
        self.assertNotEqual(self.mapped()[1][1], port)
        self.take_ports_from(*_OTHERS)
        healed = self.fetch()
        print(json.dumps({"spoiled": spoiled, "healed": healed}))
        self.assertEqual((spoiled[0], healed[0]), ("tcp", "udp"))
        again = self.through_hole(2)
        self.assertEqual((again["path"], again["reused"]), ("udp", True))
