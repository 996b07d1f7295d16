"""Flows of ours and of the kernel's TCP, alone and side by side on a slow line between two NATs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import flows
from tests.lab.bottleneck import Bottleneck, Pings, Waits
from tests.lab.commands import LabError
from tests.lab.processes import Process, processor_time
from tests.lab.product import Product
from tests.lab.topology import Lab, SiteSettings

__all__ = ["OURS", "TCP", "Alone", "Course", "Road", "Together", "algorithm"]

OURS = "ours"
"""A session of the product, through a punched hole."""

TCP = "TCP"
"""A TCP connection of the kernel, for which the sender's router forwards a port."""

_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_SERVICE, _SERVICE_PORT, _TCP_PORT = "flow", 7300, 7301
_FORWARD = """
table ip forwarded {{
    chain incoming {{
        type nat hook prerouting priority dstnat - 5; policy accept;
        iifname "wan" tcp dport {port} dnat to {address}:{port}
    }}
}}
"""
_START_TIMEOUT = 30.0
_IDLE_PINGS = 0.3  # seconds before a course


def algorithm() -> str:
    """
    Choose the congestion control of TCP: CUBIC, or what the kernel has instead.

    :raises LabError: when it has none.
    """
    available = _AVAILABLE.read_text().split()
    if not available:
        raise LabError("this kernel has no congestion control")
    return "cubic" if "cubic" in available else available[0]


@dataclass(frozen=True, slots=True)
class Course:
    """
    How long everything goes on, in seconds.

    :ivar alone: the first flow alone, its start-up included.
    :ivar settle: both, not looked at.
    :ivar together: both, looked at.
    """

    alone: float
    settle: float
    together: float


@dataclass(frozen=True, slots=True)
class Alone:
    """
    What one flow did alone.

    :ivar used: payload that arrived over the line's rate.
    :ivar waits: of pings meanwhile.
    :ivar later: of pings in the second half, when the start-up is over.
    :ivar agent: processor time of the agent over time.
    :ivar client: the same of the client; 0 for TCP.
    """

    used: float
    waits: Waits
    later: Waits
    agent: float
    client: float


@dataclass(frozen=True, slots=True)
class Together:
    """
    What two flows did.

    :ivar first: payload of the first that arrived over the line's rate.
    :ivar second: the same of the second.
    :ivar waits: of pings meanwhile.
    :ivar busy: what all the processors of the machine were busy for, since the first flow began.
    """

    first: float
    second: float
    waits: Waits
    busy: float

    @property
    def used(self) -> float:
        """Payload of both over the line's rate."""
        return self.first + self.second

    @property
    def second_part(self) -> float:
        """The second one's part of what both got."""
        return self.second / self.used if self.used else 0.0


class _Flow:
    """One flow, from the moment that its first bytes have come."""

    def __init__(self, process: Process, start: float) -> None:
        self.process = process
        process.wait_for_line(r"^[\d.]+ \d+$", _START_TIMEOUT)
        self.started = max(start, float(process.output().split(maxsplit=1)[0]))

    def received(self, moment: float) -> int:
        """Give the bytes that had come at a moment of the past."""
        total = 0
        # The last line may be half written.
        for line in self.process.output().split("\n")[:-1]:
            at, so_far = line.split()
            if float(at) > moment:
                break
            total = int(so_far)
        return total

    def stop(self) -> None:
        """End it."""
        self.process.stop()


class Road:
    """
    Two port-restricted NATs, the slow line of one, the product across, and sources of endless flows.

    :ivar line: the slow line; what both flows send takes it.
    """

    def __init__(self, lab: Lab, *, delay: float) -> None:
        """
        Start everything in a laboratory with delay.

        :param lab: of `settings`.
        :param delay: one way of each site, in seconds.
        """
        self.line = Bottleneck(lab, lab.b, delay=delay)
        self._far = lab.mediator.address
        self._product = product = Product(
            lab, services={_SERVICE: f"tcp:127.0.0.1:{_SERVICE_PORT}"}
        )
        self._client, server = product.client_host, product.server_host
        self._server = server
        # No flow shall begin with what the kernel remembers of the one before.
        server.namespace.sysctl({"net.ipv4.tcp_no_metrics_save": 1})
        lab.b.router.nft(_FORWARD.format(port=_TCP_PORT, address=server.address))
        self._tcp_address = (lab.b.wan, str(_TCP_PORT))
        for port, chosen in ((_SERVICE_PORT, ""), (_TCP_PORT, algorithm())):
            source = server.start(_program("source", str(port), chosen), name="source")
            source.wait_for_port(port)
        product.start_mediator()
        product.start_agent()

    @staticmethod
    def settings(delay: float) -> tuple[SiteSettings, SiteSettings]:
        """Tell what sites the laboratory must have."""
        return SiteSettings("port", delay=delay), SiteSettings("port", delay=delay)

    def run(self, first: str, second: str, course: Course) -> tuple[Alone, Together]:
        """
        Let one flow go alone, then another one beside it.

        :param first: `OURS` or `TCP`.
        :param second: likewise.
        :param course: how long.
        """
        self.line.wait_until_quiet()
        pings = Pings(self._server, self._far)
        running: list[_Flow] = []
        try:
            time.sleep(_IDLE_PINGS)
            idle = pings.idle()
            one = self._start(first)
            running.append(one)
            cpu, still = self._seconds(one), _ticks()
            alone_end = self._sleep_until(one.started + course.alone, running)
            spent = [
                (after - before) / course.alone
                for before, after in zip(cpu, self._seconds(one), strict=True)
            ]
            other = self._start(second)
            running.append(other)
            start = self._sleep_until(other.started + course.settle, running)
            end = self._sleep_until(start + course.together, running)
            bits = [
                8e-6 * (flow.received(end) - flow.received(start)) / course.together
                for flow in running
            ]
            alone = Alone(
                8e-6 * one.received(alone_end) / course.alone / self.line.rate,
                pings.waits(idle, one.started, alone_end),
                pings.waits(idle, alone_end - course.alone / 2, alone_end),
                *spent,
            )
            waits = pings.waits(idle, start, end)
            one_part, other_part = (each / self.line.rate for each in bits)
            return alone, Together(one_part, other_part, waits, _busy_since(still))
        finally:
            for flow in running:
                flow.stop()
            pings.stop()

    def _start(self, kind: str) -> _Flow:
        if kind == TCP:
            arguments: Sequence[str] = self._tcp_address
        else:
            target = str(self._product.server.target)
            arguments = self._product.command("connect", "--paths", "udp", target, _SERVICE)
        return _Flow(
            self._client.start(_program("sink", *arguments), name=f"sink-{kind}"),
            time.monotonic(),
        )

    def _sleep_until(self, moment: float, running: Sequence[_Flow]) -> float:
        """Sleep until a moment, and see that all the flows still go on."""
        time.sleep(max(0.0, moment - time.monotonic()))
        for flow in running:
            if not flow.process.running:
                raise LabError(f"{flow.process.name} ended: {flow.process.output()[-500:]}")
        return moment

    def _seconds(self, flow: _Flow) -> tuple[float, float]:
        """Give the processor time that agent and client have used."""
        assert self._product.agent is not None
        children = Path(f"/proc/{flow.process.pid}/task/{flow.process.pid}/children")
        clients = [int(pid) for pid in children.read_text().split()]
        return processor_time(self._product.agent.pid), sum(processor_time(pid) for pid in clients)


def _program(*arguments: str) -> list[str]:
    return [sys.executable, flows.__file__, *(word for word in arguments if word)]


def _ticks() -> tuple[int, int]:
    """Time that all processors have been there and idle, in ticks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[3]


def _busy_since(before: tuple[int, int]) -> float:
    """The busy part of the processors' time since an earlier `_ticks`; what others stole is busy."""
    total, idle = (now - then for now, then in zip(_ticks(), before, strict=True))
    return 1 - idle / total if total else 1.0
