"""The laboratory is what it says: isolated sites, true delays, nothing left behind."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

from tests.lab.case import LabCase
from tests.lab.commands import LabError
from tests.lab.hosts import Host
from tests.lab.processes import Process
from tests.lab.topology import MEDIATOR_NAME, Lab, SiteSettings

#: Milliseconds that a crossing of a delayed link may take longer than asked; the quickest of
#: several pings is held to it, because a busy machine delays some of them anywhere.
_CROSSING_ERROR = 0.3


def _ping(host: Host, target: str, *, count: int = 20, interval: float = 0.02) -> list[float]:
    """Give the round trips, in milliseconds, of those pings that were answered."""
    argv = ["ping", "-n", "-c", str(count), "-i", str(interval), "-W", "0.5", target]
    return [float(ms) for ms in re.findall(r"time=([\d.]+) ms", host.run(argv, check=False).stdout)]


class IsolationTests(LabCase):
    """Who reaches whom without anybody's help."""

    def _watch(self, lab: Lab, expression: str) -> Process:
        """Capture on the outside of site b's router."""
        watching = lab.b.router.command(["tcpdump", "-l", "-n", "-i", "wan", expression])
        process = lab.mediator.start(watching, name="tcpdump")
        process.wait_for_line("^listening on wan")
        return process

    def test_everybody_reaches_the_mediator(self) -> None:
        """Hosts of both sites reach both addresses of the mediator, also by its name."""
        lab = self.lab("port", "none")
        for site in lab.sites:
            for target in (*lab.mediator.addresses, MEDIATOR_NAME):
                self.assertEqual(len(_ping(site.host, target, count=1)), 1, target)

    def test_private_addresses(self) -> None:
        """Packets to the other site's private address do not even arrive at its router."""
        lab = self.lab("linux", "port")
        capture = self._watch(lab, "icmp")
        self.assertEqual(_ping(lab.a.host, lab.b.host.address, count=3), [])
        self.assertEqual(len(_ping(lab.a.host, lab.b.wan, count=1)), 1)
        capture.wait_for_line(f"> {lab.b.wan}: ICMP echo request")
        self.assertNotIn(lab.b.host.address, capture.output())

    def test_routers_guard_private_addresses(self) -> None:
        """A neighbour who routes to a private network gets nothing past the router."""
        for kind in ("full", "port", "linux"):
            lab = self.lab("none", kind)
            lab.core.ip(f"route replace {lab.b.network} via {lab.b.wan}")
            capture = self._watch(lab, "icmp")
            self.assertEqual(_ping(lab.a.host, lab.b.host.address, count=1), [], kind)
            capture.wait_for_line(f"> {lab.b.host.address}: ICMP echo request")
            self.assertNotIn("reply", capture.output())
            lab.close()

    def test_unsolicited_tcp(self) -> None:
        """A connection from outside finds silence at a NAT, and the host at a public site."""
        lab = self.lab("linux", "none")
        argv = ["curl", "-s", "--connect-timeout", "0.4", "http://{}:8080/"]

        def status(address: str) -> int:
            return lab.mediator.run([*argv[:-1], argv[-1].format(address)], check=False).status

        self.assertEqual(status(lab.a.wan), 28, "timed out")
        self.assertEqual(status(lab.b.host.address), 7, "refused by the host itself")

    def test_second_host(self) -> None:
        """Hosts of one site reach each other directly, and the mediator both."""
        lab = self.lab(SiteSettings("linux", hosts=2), "none")
        first, second = lab.host("a"), lab.host("a2")
        self.assertEqual(len(_ping(first, second.address, count=1)), 1)
        self.assertEqual(len(_ping(second, MEDIATOR_NAME, count=1)), 1)

    def test_other_names(self) -> None:
        """A name that is not the laboratory's fails at once, without asking the real world."""
        lab = self.lab("port", "none")
        with self.assertRaises(LabError):
            lab.a.host.run(["getent", "hosts", "example.org"], timeout=3)

    def test_two_laboratories(self) -> None:
        """Two laboratories with the same addresses do not disturb each other."""
        first, second = self.lab("port", "linux"), self.lab("port", "linux")
        names = [namespace.name for lab in (first, second) for namespace in lab.namespaces]
        self.assertEqual(len(names), len(set(names)))
        _ping(first.a.host, MEDIATOR_NAME, count=1)
        self.assertEqual(first.a.counts().mediator_sent.packets, 1)
        self.assertEqual(second.a.counts().mediator_sent.packets, 0)


class LinkTests(LabCase):
    """Delay, loss and rate of the links."""

    def test_delay(self) -> None:
        """20 ms one way a site are 40 ms to the mediator and back, 80 ms to the other site."""
        lab = self.lab("port", "linux", delay=0.02)
        for target, crossings in ((MEDIATOR_NAME, 2), (lab.b.wan, 4)):
            trips = _ping(lab.a.host, target)
            expected, median = crossings * 20, statistics.median(trips)
            print(f"{crossings} crossings of 20 ms: min {min(trips)}, median {median:.1f} ms")
            self.assertGreaterEqual(min(trips), expected)
            self.assertLess(min(trips), expected + crossings * _CROSSING_ERROR)

    def test_no_delay(self) -> None:
        """Without a delay, there is no forwarder in the way."""
        lab = self.lab("port", "linux")
        self.assertIsNone(lab.a.link)
        self.assertLess(min(_ping(lab.a.host, lab.b.wan, count=5)), 1)

    def test_different_sites(self) -> None:
        """Each site has its own delay, which can change while it runs."""
        lab = self.lab(SiteSettings("port", delay=0.005), SiteSettings("linux"))
        self.assertGreaterEqual(min(_ping(lab.a.host, lab.b.wan, count=3)), 10)
        link = lab.a.link
        assert link is not None
        link.set(delay=0.03, loss=0)
        self.assertGreaterEqual(min(_ping(lab.a.host, lab.b.wan, count=3)), 60)

    def test_loss(self) -> None:
        """Packets are lost as often as asked, in both directions; and no more when told so."""
        lab = self.lab(SiteSettings("port", loss=0.2), "none")
        answered = len(_ping(lab.a.host, MEDIATOR_NAME, count=300, interval=0.002))
        self.assertTrue(0.8**2 - 0.1 < answered / 300 < 0.8**2 + 0.1, answered)
        link = lab.a.link
        assert link is not None
        carried, lost, full = link.counts()
        self.assertEqual(lost, 300 - answered, "every unanswered ping was lost once")
        self.assertTrue(0.15 < lost / (carried + lost) < 0.25, (carried, lost))
        self.assertEqual(full, 0)
        link.set(delay=0, loss=0)
        self.assertEqual(len(_ping(lab.a.host, MEDIATOR_NAME, count=100, interval=0.002)), 100)

    def test_rate(self) -> None:
        """A delayed link carries a fast download: the laboratory is not what limits one."""
        size = 12_500_000
        lab = self.lab(SiteSettings("linux", delay=0.001), "none")
        root = lab.mediator.directory("www")
        (root / "payload").write_bytes(bytes(size))
        server = lab.mediator.start([sys.executable, "-m", "http.server", "80"], cwd=root)
        server.wait_for_port(80)
        url = f"http://{MEDIATOR_NAME}/payload"
        argv = ["curl", "-sfo", "/dev/null", "-w", "%{speed_download}", url]
        rate = float(lab.a.host.run(argv).stdout) * 8 / 1e6
        print(f"one delayed link: {rate:.0f} Mbit/s")
        self.assertGreater(rate, 50)


_ECHO_SOURCE = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 4000))
while True:
    data, source = sock.recvfrom(100)
    sock.sendto(str(source[1]).encode(), source)
"""

_ASK_TWICE = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
for pause in sys.argv[2:]:
    time.sleep(float(pause))
    sock.sendto(b"?", (sys.argv[1], 4000))
    print(sock.recv(100).decode())
"""


_ANSWER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b"open", (sys.argv[1], 4000))
print("open", flush=True)
while True:
    data, source = sock.recvfrom(100)
    sock.sendto(data, source)
"""

_STRANGERS = """
import socket, sys, time
def udp(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(1)
    sock.bind(("0.0.0.0", port))
    return sock
first, second, third = udp(4000), udp(4001), udp(4002)
print("ready", flush=True)
mapping = first.recvfrom(100)[1]
for _ in range(5):
    time.sleep(0.4)
    second.sendto(b"?", mapping)
    second.recv(100)
third.sendto(b"?", mapping)
print(third.recv(100) == b"?", flush=True)
"""


class MappingTests(LabCase):
    """How long a router's mappings live."""

    def test_timeout(self) -> None:
        """An unused mapping is forgotten after its time; one in use is not."""
        lab = self.lab(SiteSettings("port", mapping_timeout=2), "none")
        echo = lab.mediator.start([sys.executable, "-c", _ECHO_SOURCE])
        echo.wait_for_port(4000, udp=True)
        ask = [sys.executable, "-c", _ASK_TWICE, lab.mediator.address]
        pauses = ["0", "0.7", "0.7", "0.7", "3.2"]
        first, *kept, late = lab.a.host.run([*ask, *pauses]).stdout.split()
        self.assertEqual(kept, [first] * 3)
        self.assertNotEqual(late, first)

    def test_answers_keep_a_mapping(self) -> None:
        """A mapping that only carries answers to a stranger stays open to further strangers."""
        lab = self.lab(SiteSettings("full", mapping_timeout=1), "none")
        strangers = lab.mediator.start([sys.executable, "-c", _STRANGERS])
        strangers.wait_for_line("^ready$")
        lab.a.host.start([sys.executable, "-c", _ANSWER, lab.mediator.address])
        strangers.wait_for_line("^True$")


class ProcessTests(LabCase):
    """Processes in a laboratory."""

    def test_output_and_end(self) -> None:
        """A process gets its environment, is waited for, and leaves its output in a file."""
        host = self.lab("none", "none").a.host
        process = host.start(["sh", "-c", 'echo "$GREETING"; exit 3'], env={"GREETING": "hello"})
        self.assertEqual(process.wait_for_line(r"^(\w+)$")[1], "hello")
        self.assertEqual(process.wait(5), 3)
        self.assertEqual(process.output(), "hello\n")

    def test_failures(self) -> None:
        """Waiting for what never comes ends with the process's own words."""
        host = self.lab("none", "none").a.host
        for wait in (
            lambda process: process.wait_for_line("never"),
            lambda process: process.wait_for_port(9),
        ):
            with self.assertRaises(LabError) as caught:
                wait(host.start(["sh", "-c", "echo no such luck"]))
            self.assertIn("no such luck", str(caught.exception))
        sleeping = host.start(["sleep", "60"])
        for bounded in (
            lambda: sleeping.wait_for_line("never", timeout=0.1),
            lambda: sleeping.wait_for_port(9, timeout=0.1),
            lambda: sleeping.wait(0.1),
        ):
            self.assertRaises(LabError, bounded)
        self.assertLess(sleeping.stop(), 0)

    def test_stop_stubborn(self) -> None:
        """A process that does not listen to SIGTERM is killed, with its children."""
        host = self.lab("none", "none").a.host
        process = host.start(["sh", "-c", "trap '' TERM; sleep 60 & echo ready; wait; wait"])
        process.wait_for_line("ready")
        self.assertEqual(process.stop(timeout=0.2), -9)
        self.assertEqual(host.namespace.pids(), [])


class FilesTests(LabCase):
    """What the laboratory writes where."""

    def test_log_names(self) -> None:
        """Every process of every host has a log of its own in the laboratory's directory."""
        lab = self.lab("none", "none")
        for host in (lab.a.host, lab.a.host, lab.b.host):
            host.start(["true"]).wait(5)
        logs = sorted(Path(lab.directory).glob("*-true.log"))
        self.assertEqual(
            [log.name for log in logs], ["a-1-true.log", "a-2-true.log", "b-1-true.log"]
        )
