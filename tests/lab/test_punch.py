"""Plain hole punching in the laboratory gives what the kinds of NAT let one expect."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.lab.case import LabCase
from tests.lab.processes import Process
from tests.lab.topology import Lab

#: Isolated from whatever is installed, which would only make it start later.
_PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).with_name("punch.py"))]
_PORT = 3345
_END_TIMEOUT = 60.0
_SECOND = 1.0
_SLACK = 2.0  # for a loaded machine


def _start_punch(lab: Lab, *, payload: int = 0, timeout: float = 3.0) -> list[Process]:
    """
    Let both sites punch towards each other.

    :param payload: bytes that each side sends the other one through the hole.
    :param timeout: seconds after which they give up.
    :return: both sides' processes.
    """
    server = lab.mediator.start([*_PROGRAM, "serve", str(_PORT)], name="punch-server")
    server.wait_for_line("^ready$")
    options = ["--payload", str(payload), "--timeout", str(timeout)]
    return [
        site.host.start(
            [
                *(*_PROGRAM, "meet", lab.mediator.address, str(_PORT)),
                *(site.name, other.name, *options),
            ],
            name="punch",
        )
        for site, other in (lab.sites, lab.sites[::-1])
    ]


def _results(sides: list[Process]) -> list[dict[str, Any]]:
    """Wait for both sides, and read what they say."""
    for side in sides:
        side.wait(_END_TIMEOUT)
    return [json.loads(side.output()) for side in sides]


def _punch(lab: Lab, *, payload: int = 0, timeout: float = 3.0) -> list[dict[str, Any]]:
    """Punch to the end; see `_start_punch`."""
    return _results(_start_punch(lab, payload=payload, timeout=timeout))


class PunchTests(LabCase):
    """Which pairs get through."""

    def _direct(self, a: str, b: str, *, delay: float = 0.0) -> list[dict[str, Any]]:
        lab = self.lab(a, b, delay=delay)
        results = _punch(lab)
        for result in results:
            self.assertTrue(result["direct"], f"{a} x {b}: {results}")
            self.assertLess(result["seconds"], _SECOND + _SLACK, f"{a} x {b}")
        lab.close()
        return results

    def test_none(self) -> None:
        """A public host is reached from behind every independent mapping."""
        for other in ("none", "full", "port", "linux"):
            self._direct("none", other)

    def test_full(self) -> None:
        """A full cone is reached from behind every independent mapping."""
        for other in ("full", "port", "linux"):
            self._direct("full", other)

    def test_port(self) -> None:
        """Two port-restricted NATs are punched from both sides, and so is one with a linux one."""
        for other in ("port", "linux"):
            self._direct("port", other)

    def test_linux(self) -> None:
        """Two linux NATs that drop unsolicited datagrams are punched from both sides."""
        self._direct("linux", "linux")

    def test_delay(self) -> None:
        """A punch across 20 ms a site works, and takes the round trips that it must take."""
        for result in self._direct("port", "linux", delay=0.02):
            # To the mediator and back, or half of that when the other one asked later; then
            # the peer's answer.
            self.assertGreater(result["seconds"], 0.08)

    def test_symmetric_with_open_filtering(self) -> None:
        """A cone that lets the other port in is reached from behind a symmetric NAT."""
        for other in ("full", "restricted"):
            self._direct("symmetric", other)
        self._direct("symmetric-open", "symmetric")

    def test_closed(self) -> None:
        """A symmetric NAT and one that filters ports stay closed, and so do two symmetric ones."""
        pairs = [("symmetric", "port"), ("port", "symmetric"), ("symmetric", "symmetric")]
        labs = [self.lab(*pair) for pair in pairs]
        running = [_start_punch(lab, timeout=_SECOND) for lab in labs]
        for pair, sides in zip(pairs, running, strict=True):
            for result in _results(sides):
                self.assertFalse(result["direct"], f"{pair}: {result}")


_SEND_BUNDLE = """
import socket, sys
UDP_SEGMENT = 103
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
sock.sendto(bytes(12000), (sys.argv[1], 9))
"""


class CounterTests(LabCase):
    """What the counters say of where a payload went."""

    _size = 1_000_000
    _signalling = 5_000

    def test_payload_is_direct(self) -> None:
        """Both routers saw a punched payload both ways; the mediator saw none of it."""
        lab = self.lab("port", "linux")
        before = [site.counts() for site in lab.sites]
        for result in _punch(lab, payload=self._size):
            self.assertTrue(result["direct"], result)
            self.assertEqual(result["bytes"], self._size)
        for site, earlier in zip(lab.sites, before, strict=True):
            counts = site.counts() - earlier
            for count in (counts.udp_sent, counts.udp_received):
                self.assertGreater(count.bytes, self._size)
                # 1200 bytes a datagram, and no bundles of many that would count as one.
                self.assertGreater(count.packets, self._size // 1200)
                self.assertLess(count.bytes, 1.1 * self._size)
            self.assertEqual(counts.tcp_sent.packets, 0)
            self.assertGreater(counts.mediator_sent.packets, 0)
            self.assertGreater(counts.mediator_received.packets, 0)
            self.assertLess(counts.with_mediator, self._signalling)

    def test_payload_over_the_mediator_is_seen(self) -> None:
        """A payload that does cross the mediator cannot pass for a direct one."""
        lab = self.lab("port", "linux")
        root = lab.mediator.directory("www")
        (root / "payload").write_bytes(bytes(self._size))
        server = lab.mediator.start([sys.executable, "-m", "http.server", "80"], cwd=root)
        server.wait_for_port(80)
        for site in lab.sites:
            site.host.run(["curl", "-sfo", "/dev/null", f"http://{lab.mediator.address}/payload"])
            counts = site.counts()
            self.assertGreater(counts.with_mediator, self._size)
            self.assertGreater(counts.mediator_received.packets, self._size // 1500)
            self.assertEqual(counts.udp_sent.packets, 0)

    def test_bundles_are_counted_apart(self) -> None:
        """Ten datagrams that a program hands over in one piece count, and may be lost, as ten."""
        for delay in (0.0, 0.001):
            lab = self.lab("linux", "none", delay=delay)
            argv = [sys.executable, "-c", _SEND_BUNDLE, lab.b.host.address]
            lab.a.host.run(argv)
            self.assertEqual(lab.a.counts().udp_sent.packets, 10)
            lab.a.host.run(["ping", "-c", "1", lab.b.host.address])  # which overtakes nothing
            self.assertEqual(lab.b.counts().udp_received.packets, 10)
            lab.close()

    def test_blocked(self) -> None:
        """Blocked UDP stops a punch; the same pair gets through when only that is removed."""
        lab = self.lab("port", "linux")
        lab.a.block_udp()
        self.assertFalse(_punch(lab, timeout=_SECOND)[0]["direct"])
        lab.mediator.close()
        lab.a.unblock_udp()
        self.assertTrue(_punch(lab)[0]["direct"])
