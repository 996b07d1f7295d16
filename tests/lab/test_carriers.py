"""Bursts over devices that cannot take them, and over ways that are or become narrow."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.commands import unavailable
from tests.lab.namespaces import Namespace, new_prefix

_SIZE = 4_000_000
_TIMEOUT = 60.0


class CarrierTests(SynchronousTestCase):
    """``here`` -- ``router`` -- ``there``, and a stream from here to there."""

    skip = unavailable()
    port: ClassVar[int] = 9000

    def setUp(self) -> None:
        """Lay the cables."""
        prefix = new_prefix()
        names = ("here", "router", "there")
        self.here, self.router, self.there = (Namespace(f"{prefix}-{name}") for name in names)
        for namespace in (self.here, self.router, self.there):
            self.addCleanup(namespace.delete)
        for end, network in ((self.here, 1), (self.there, 2)):
            end.ip(f"link add e0 type veth peer name to{network} netns {self.router.name}")
            end.ip(f"addr add 10.77.{network}.2/24 dev e0", "link set e0 up")
            self.router.ip(
                f"addr add 10.77.{network}.1/24 dev to{network}", f"link set to{network} up"
            )
            end.ip(f"route add default via 10.77.{network}.1")
        self.router.sysctl({"net.ipv4.ip_forward": 1})

    def begin(self, ours: str, theirs: str) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """Start a stream; both ends have said that they are there."""
        ends = []
        for namespace, role, carrier, more in (
            (self.there, "sink", theirs, ()),
            (self.here, "send", ours, (str(_SIZE), "1")),
        ):
            command = [sys.executable, "-m", "tests.lab.stream", role, "10.77.2.2", "9000", carrier]
            process = subprocess.Popen(
                namespace.command([*command, *more]), stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            self.addCleanup(process.stdout.close)
            ends.append(process)
            self.assertIn(process.stdout.readline(), ("listening\n", "connected\n"))
        sink, source = ends
        return sink, source

    def arrives(self, sink: subprocess.Popen[str], source: subprocess.Popen[str]) -> None:
        """Wait for the end: every byte has come, once and in order."""
        (closed, sent), (total, came) = (
            end.communicate(timeout=_TIMEOUT)[0].split() for end in (source, sink)
        )
        self.assertEqual((closed, int(total), came), ("ConnectionDone", _SIZE, sent))

    def packets(self, device: str) -> tuple[int, int]:
        """:return: bytes and packets that came to the router from one side, as it counts."""
        base = f"/sys/class/net/{device}/statistics"
        text = self.router.run(["cat", f"{base}/rx_bytes", f"{base}/rx_packets"]).stdout
        size, count = text.split()
        return int(size), int(count)

    def test_segmentation_off(self) -> None:
        """A device that cannot cut bursts up gets them cut; nobody above notices.  With one that can, they
        pass in large pieces."""
        average = {}
        for state in ("off", "on"):
            self.here.run(["ethtool", "-K", "e0", "tx-udp-segmentation", state])
            before = self.packets("to1")
            self.arrives(*self.begin("gso", "auto"))
            size, count = (b - a for a, b in zip(before, self.packets("to1"), strict=True))
            average[state] = size / count
        self.assertLessEqual(average["off"], 1514)
        self.assertGreater(average["on"], 3000)

    def test_narrow_router(self) -> None:
        """Behind a router to a narrow network packets of its size are found and used, and pass it
        unfragmented."""
        self.router.ip("link set to2 mtu 1400")
        self.there.ip("link set e0 mtu 1400")
        for carrier in ("auto", "plain"):
            self.arrives(*self.begin(carrier, carrier))
        fragments = self.router.run(["sh", "-c", "grep ^Ip: /proc/net/snmp"]).stdout.splitlines()
        counted = dict(zip(*(line.split() for line in fragments), strict=True))
        self.assertEqual(counted["FragCreates"], "0")
        self.assertEqual(counted["FragOKs"], "0")

    def begin_slowly(self) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
        """Start a stream that takes a while, and wait until a tenth of it has passed."""
        shaper = "qdisc add dev e0 root tbf rate 40mbit burst 200kb latency 100ms"
        self.here.run(["tc", *shaper.split()])
        sink, source = self.begin("auto", "auto")
        deadline = time.monotonic() + _TIMEOUT
        while self.packets("to1")[0] < _SIZE // 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertIsNone(source.poll())
        return sink, source

    def test_becomes_narrow(self) -> None:
        """A device that takes only smaller packets from now on stops nothing."""
        sink, source = self.begin_slowly()
        self.here.ip("link set e0 mtu 1300")
        self.arrives(sink, source)

    def test_becomes_black_hole(self) -> None:
        """Nor does a router that loses larger packets without a word from now on, unless it may fragment them."""
        self.here.run(["ethtool", "-K", "e0", "tx-udp-segmentation", "off"])
        sink, source = self.begin_slowly()
        lost = "ip length > 1300 ip frag-off & 0x4000 == 0x4000 counter drop"
        chain = f"chain forward {{\ntype filter hook forward priority 0;\n{lost}\n}}"
        self.router.nft(f"table ip hole {{\n{chain}\n}}")
        self.arrives(sink, source)
        counted = self.router.run(["nft", "list", "table", "ip", "hole"]).stdout
        self.assertNotIn("packets 0 ", counted)
