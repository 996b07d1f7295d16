"""A hole lives as long as somebody needs it, dies unnoticed by none, and carries hundreds."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from benchmarks.holes import ECHO
from tests.lab.case import LabCase
from tests.lab.commands import Completed
from tests.lab.counters import Counts
from tests.lab.processes import Process, poll
from tests.lab.product import Product
from tests.lab.topology import SiteSettings

_FORWARD = 8100
_TIMEOUT = 10
_NOTICED = 8.0  # seconds after the last byte
_SLACK = 8.0  # for a loaded machine; the times themselves are printed
_CLOCK = """
import asyncio
async def answer(reader, writer):
    request = await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + bytes(1000))
    while b"/ticks" in request:
        writer.write(bytes(1000))
        await writer.drain()
        await asyncio.sleep(0.1)
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 7200)
    await server.serve_forever()
asyncio.run(main())
"""


class HoleTests(LabCase):
    """Behind routers that forget an unused mapping after ten seconds."""

    def setUp(self) -> None:
        lab = self.lab(
            SiteSettings("port", mapping_timeout=_TIMEOUT),
            SiteSettings("port", mapping_timeout=_TIMEOUT),
        )
        services = {"echo": "tcp:127.0.0.1:7100", "clock": "tcp:127.0.0.1:7200"}
        self.product = Product(lab, services=services)
        self.digest = self.product.payload("small", 1000)
        self.product.start()
        clock = self.product.server_host.start([sys.executable, "-c", _CLOCK], name="clock")
        clock.wait_for_port(7200)
        self.report = self.product.forward("clock", _FORWARD)
        self.fetched = 0

    def curl(self, *options: str, times: int = 1) -> Completed:
        """Ask the service for a little, through ``wavesync forward``, so often at the same time."""
        url = f"http://127.0.0.1:{_FORWARD}/"
        self.fetched += times
        urls = ["-o", "/dev/null", url] * times
        return self.product.client_host.run(
            ["curl", "-sS", "-Z", "--fail-early", *options, *urls], check=False, timeout=120
        )

    def last_report(self) -> dict[str, object]:
        """What is told of the last connection."""
        return self.product.reports(self.report, self.fetched)[-1]

    def test_life(self) -> None:
        """An idle hole outlives three timeouts, and so does the way by which the agent is found."""
        self.assertEqual(self.curl().status, 0)
        self.assertEqual((self.last_report()["path"], self.last_report()["reused"]), ("udp", False))
        before = self.product.counts()
        time.sleep(3.2 * _TIMEOUT)
        at_client, at_server = self.passed_since(before)
        self.check_keep_alives(at_client, at_server)
        self.assertEqual(self.curl().status, 0)
        self.assertEqual((self.last_report()["path"], self.last_report()["reused"]), ("udp", True))
        fetched = self.product.fetch("small", "--paths", "udp")
        self.assertEqual((fetched.status, fetched.digest), (0, self.digest), fetched.errors)
        assert self.product.agent is not None
        seen = re.findall("sees this server's UDP port as (.*)", self.product.agent.output())
        self.assertEqual(len(seen), 1, seen)
        self.check_many()
        self.check_dead()

    def passed_since(self, before: tuple[Counts, Counts]) -> tuple[Counts, Counts]:
        """What both routers have passed meanwhile."""
        at_client, at_server = self.product.counts()
        return at_client - before[0], at_server - before[1]

    def check_keep_alives(self, at_client: Counts, at_server: Counts) -> None:
        """Both sides have sent through the hole often enough, and not much more than that.

        A PING and its answer, each acknowledged by UDT, make three packets a side.
        """
        for side, counts in (("client", at_client), ("server", at_server)):
            sent = counts.udp_sent.packets
            print(f"{side}: {sent} packets through an idle hole in {3.2 * _TIMEOUT} s")
            self.assertGreaterEqual(sent, 3.2 * _TIMEOUT / 5 - 1, side)
            self.assertLessEqual(sent, 5 * 3.2 * _TIMEOUT / 5, side)
        self.assertGreaterEqual(at_server.mediator_sent.packets, 3.2 * _TIMEOUT / 5 - 1)

    def check_many(self) -> None:
        """Hundreds of connections at once take one introduction."""
        host = self.product.server_host
        host.start([sys.executable, "-c", ECHO], name="echo").wait_for_port(7100)
        command = ["benchmarks.holes_client", str(self.product.client_file)]
        command += [str(self.product.server.target), "echo", "500"]
        done = self.product.client_host.run([sys.executable, "-m", *command], timeout=300)
        result = json.loads(done.stdout)
        print(done.stdout.strip())
        self.assertEqual((result["connections"], result["reused_hole"]), (500, 500))
        self.assertGreater(result["connections_per_second"], 2)  # the benchmark tells the rate

    def check_dead(self) -> None:
        """A hole that dies is noticed while it is used, and when it is needed; then a new one is made."""
        site = self.product.client_site
        began = time.monotonic()
        site.reboot()
        done = self.curl("--max-time", "60", times=5)
        print(f"needed: answered {time.monotonic() - began:.2f} s after the hole had died")
        self.assertEqual(done.status, 0, done.stderr)
        self.last_report()
        last = self.product.reports(self.report, self.fetched)[-5:]
        self.assertEqual(sum(not each["reused"] for each in last), 1, "one introduction for all")
        self.assertLess(time.monotonic() - began, 3.0 + _SLACK)

        stream = self.start_stream()
        site.reboot()
        began = time.monotonic()
        poll(lambda: not stream.running, 60, lambda: "the stream goes on")
        noticed = time.monotonic() - began
        print(f"used: noticed {noticed:.2f} s after the hole had died")
        self.assertLess(noticed, _NOTICED + _SLACK)
        self.assertEqual(self.curl("--max-time", "60").status, 0)
        answered = time.monotonic() - began - noticed
        print(f"used: the next connection is answered {answered:.2f} s later")
        self.assertLess(answered, 1.0 + _SLACK)

    def start_stream(self) -> Process:
        """A connection over the same hole in which something comes all the time."""
        seen = Path(self.product.files / "ticks")
        url = f"http://127.0.0.1:{_FORWARD}/ticks"
        stream = self.product.client_host.start(["curl", "-sN", "-o", str(seen), url], name="ticks")
        self.fetched += 1
        poll(lambda: seen.exists() and seen.stat().st_size > 5000, 60, lambda: "no tick came")
        return stream
