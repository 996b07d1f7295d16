"""Shared routers, hairpins, reboots, new addresses, small packets and IPv6 do what they claim."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.lab.case import LabCase
from tests.lab.commands import LabError
from tests.lab.hosts import Host
from tests.lab.processes import Process, poll
from tests.lab.topology import MEDIATOR_NAME, Lab, SiteSettings

_PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).with_name("punch.py"))]
_PORT = 3345
_ECHO_PORT = 4000

_ECHO = f"""
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", {_ECHO_PORT}))
while True:
    data, source = sock.recvfrom(100)
    sock.sendto(f"{{source[0]}} {{source[1]}}".encode(), source)
"""

_ASK = f"""
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
for line in sys.stdin:
    sock.sendto(b"?", (sys.argv[1], {_ECHO_PORT}))
    print(sock.recv(100).decode(), flush=True)
"""


def _meet(lab: Lab, first: Host, second: Host) -> bool:
    """Let two hosts punch at the addresses that the mediator sees; tell whether both got through."""
    server = lab.mediator.start([*_PROGRAM, "serve", str(_PORT)], name="punch-server")
    server.wait_for_line("^ready$")
    sides = [
        host.start(
            [
                *(*_PROGRAM, "meet", lab.mediator.address, str(_PORT)),
                *(host.name, other.name, "--timeout", "1"),
            ],
            name="punch",
        )
        for host, other in ((first, second), (second, first))
    ]
    for side in sides:
        side.wait(10)
    server.stop()
    results = [json.loads(side.output())["direct"] for side in sides]
    return all(results)


def _ping(host: Host, target: str, *options: str) -> tuple[bool, str]:
    """Ping once: whether an answer came, and all that was said."""
    done = host.run(["ping", "-n", "-c", "1", "-W", "0.5", *options, target], check=False)
    return done.status == 0, done.stdout + done.stderr


class HairpinTests(LabCase):
    """Two hosts that share a public address meet there only if its router turns packets round."""

    def one_lan(self, kind: str, *, hairpin: bool) -> bool:
        """Let two hosts behind one router meet."""
        lab = self.lab(SiteSettings(kind, hosts=2, hairpin=hairpin), "none")
        met = _meet(lab, *lab.a.hosts)
        lab.close()
        return met

    def one_isp(self, kind: str, home: str = "port", *, hairpin: bool) -> bool:
        """Let two homes behind one router of their ISP meet."""
        lab = self.lab(home, "port", isp=SiteSettings(kind, hairpin=hairpin))
        met = _meet(lab, lab.a.host, lab.b.host)
        lab.close()
        return met

    def test_one_lan(self) -> None:
        """Behind one router."""
        for kind in ("port", "linux", "full", "symmetric"):
            self.assertTrue(self.one_lan(kind, hairpin=True), kind)
        self.assertFalse(self.one_lan("port", hairpin=False))

    def test_one_isp(self) -> None:
        """Behind two routers behind one; where the ports change, the homes' filters stop them."""
        self.assertTrue(self.one_isp("port", hairpin=True))
        self.assertFalse(self.one_isp("port", hairpin=False))
        self.assertFalse(self.one_isp("port", "symmetric", hairpin=True))
        self.assertFalse(self.one_isp("symmetric", hairpin=True))


class ChangeTests(LabCase):
    """Routers that lose their memory, or get a new address, under a running socket."""

    def asking(self, lab: Lab) -> Process:
        """Start something that asks, at each line we send it, as whom the mediator sees it."""
        lab.mediator.start([sys.executable, "-c", _ECHO]).wait_for_port(_ECHO_PORT, udp=True)
        return lab.a.host.start(
            [sys.executable, "-c", _ASK, lab.mediator.address], name="ask", pipe=True
        )

    def seen(self, process: Process) -> tuple[str, str]:
        """Ask once more."""
        assert process.stdin is not None
        count = len(process.output().splitlines())
        process.stdin.write(b"\n")
        process.stdin.flush()
        poll(lambda: len(process.output().splitlines()) > count, 30, process.output)
        address, port = process.output().splitlines()[-1].split()
        return address, port

    def test_reboot(self) -> None:
        """After a reboot the same socket has another port outside, behind one router or two."""
        for kind in ("port", "full", "cgnat"):
            lab = self.lab(kind, "none")
            process = self.asking(lab)
            before = self.seen(process)
            self.assertEqual(self.seen(process), before, kind)
            lab.a.reboot()
            after = self.seen(process)
            self.assertEqual(after[0], before[0], kind)
            self.assertNotEqual(after[1], before[1], kind)
            lab.close()

    def test_renumber(self) -> None:
        """A new public address is what the world sees from then on; counters know it."""
        for kind in ("port", "linux", "cgnat"):
            lab = self.lab(kind, "none")
            process = self.asking(lab)
            old = self.seen(process)[0]
            self.assertEqual(old, lab.a.wan, kind)
            lab.a.renumber()
            new = self.seen(process)[0]
            self.assertEqual(new, lab.a.wan, kind)
            self.assertNotEqual(new, old, kind)
            self.assertFalse(_ping(lab.mediator, old)[0], kind)
            before = lab.b.counts()
            _send(lab.a.host, lab.b.host.address)
            self.assertEqual((lab.b.counts() - before).udp_received.packets, 1, kind)
            lab.close()

    def test_public_site(self) -> None:
        """A site whose hosts have public addresses cannot be renumbered."""
        self.assertRaises(LabError, self.lab("firewall", "none").a.renumber)


def _send(host: Host, address: str) -> None:
    """Send one datagram."""
    program = "import socket,sys;socket.socket(2,2).sendto(b'x',(sys.argv[1],9))"
    host.run([sys.executable, "-I", "-S", "-c", program, address])


class SizeTests(LabCase):
    """Links that carry small packets only."""

    def test_told(self) -> None:
        """Whoever sends too large a packet in either direction is told; smaller ones pass."""
        lab = self.lab(SiteSettings("port", mtu=1400), "none")
        for sender, target in ((lab.a.host, MEDIATOR_NAME), (lab.b.host, lab.a.wan)):
            self.assertTrue(_ping(sender, target, "-M", "do", "-s", str(1400 - 28))[0])
            answered, told = _ping(sender, target, "-M", "do", "-s", str(1401 - 28))
            self.assertFalse(answered)
            self.assertRegex(told, "mtu = ?1400")

    def test_not_told(self) -> None:
        """With the errors suppressed, large packets vanish in both directions."""
        lab = self.lab(SiteSettings("port", mtu=1400, too_big=False, delay=0.001), "none")
        for sender, target in ((lab.a.host, MEDIATOR_NAME), (lab.b.host, lab.a.wan)):
            self.assertTrue(_ping(sender, target, "-M", "do", "-s", str(1400 - 28))[0])
            answered, told = _ping(sender, target, "-M", "do", "-s", str(1401 - 28))
            self.assertFalse(answered)
            self.assertNotIn("mtu", told)


class IPv6Tests(LabCase):
    """Sites with public IPv6 addresses, with and without IPv4 beside them."""

    def test_dual_stack(self) -> None:
        """Both families reach the mediator; from outside only a flow gets past the router."""
        lab = self.lab(SiteSettings("linux", ipv6=True), SiteSettings("none", ipv6=True))
        (_, inside), (_, open_address) = lab.a.host.addresses, lab.b.host.addresses
        for target in (lab.mediator.address, lab.mediator.addresses[-1], open_address):
            self.assertTrue(_ping(lab.a.host, target)[0], target)
        self.assertTrue(_ping(lab.mediator, open_address)[0])
        self.assertFalse(_ping(lab.mediator, inside)[0])
        self.assertFalse(_ping(lab.b.host, inside)[0])

    def test_counted(self) -> None:
        """What passes by IPv6 is counted as well."""
        lab = self.lab(SiteSettings("linux", ipv6=True), SiteSettings("none", ipv6=True))
        before = lab.a.counts()
        program = "import socket,sys;socket.socket(10,2).sendto(b'x',(sys.argv[1],9))"
        lab.a.host.run([sys.executable, "-c", program, lab.b.host.addresses[1]])
        _ping(lab.a.host, lab.mediator.addresses[-1])
        passed = lab.a.counts() - before
        self.assertEqual(passed.udp_sent.packets, 1)
        self.assertEqual(passed.mediator_received.packets, 1)

    def test_ipv6_only(self) -> None:
        """Without IPv4, names lead to IPv6 addresses, and nothing else can be reached."""
        lab = self.lab(SiteSettings("firewall", ipv4=False, ipv6=True), "none")
        self.assertEqual(len(lab.a.host.addresses), 1)
        self.assertTrue(_ping(lab.a.host, MEDIATOR_NAME)[0])
        self.assertFalse(_ping(lab.a.host, lab.mediator.address)[0])

    def test_isp(self) -> None:
        """An ISP's router has IPv4 only, and a laboratory that asks for more is refused."""
        with self.assertRaises(LabError):
            self.lab(SiteSettings("cgnat", ipv6=True), "none")
