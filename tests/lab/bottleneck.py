"""A slow line in a laboratory: its rate and queue, and how long a ping waits in it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

from tests.lab.hosts import Host
from tests.lab.processes import poll
from tests.lab.topology import Lab, Site

__all__ = ["Bottleneck", "Pings", "Waits"]

_BURST = 0.002  # seconds of sending at full speed: what a late timer of the kernel may catch up
_MIN_BURST = 6000  # bytes
_PING_INTERVAL = "0.04"  # seconds
_PONG = re.compile(r"^\[([\d.]+)\] .* icmp_seq=\d+ .* time=([\d.]+) ms$", re.MULTILINE)
_QUIET = 0.3  # seconds
_QUIET_BYTES = 10_000  # that may pass meanwhile: keep-alives and pings
_QUIET_TIMEOUT = 20.0


class Bottleneck:
    """
    The line from a site to the core, slowed down on its router.

    Delay and loss are those of the laboratory's links, in both directions; the rate and the queue
    are for what leaves the site.

    :ivar rate: Mbit/s of IP packets.
    :ivar queue: bytes that may wait.
    """

    def __init__(self, lab: Lab, site: Site, *, delay: float) -> None:
        """
        Take a line, as fast as it is.

        :param delay: one way of each site, in seconds; the round trip is four times that.
        """
        self.rate = 0.0
        self.queue = 0
        self.round_trip = 4 * delay
        self._lab, self._site, self._delay = lab, site, delay

    def set(self, *, rate: float, queue: float, loss: float = 0.0) -> None:
        """
        Change the line.

        :param rate: Mbit/s.
        :param queue: in bandwidth-delay products.
        :param loss: probability from end to end, in each direction, half of it at each site.
        """
        self.rate = rate
        self.queue = round(queue * rate * 1e6 / 8 * self.round_trip)
        burst = max(_MIN_BURST, round(rate * 1e6 / 8 * _BURST))
        self._site.router.run(
            f"tc qdisc replace dev wan root tbf rate {rate}mbit burst {burst}"
            f" limit {self.queue}".split()
        )
        for site in self._lab.sites:
            assert site.link is not None
            site.link.set(delay=self._delay, loss=1 - (1 - loss) ** 0.5)

    def sent(self) -> tuple[int, int]:
        """Give the bytes and packets that the line has carried since it was set for the first time."""
        command = ["tc", "-s", "-j", "qdisc", "show", "dev", "wan", "root"]
        shown = json.loads(self._site.router.run(command).stdout)[0]
        return shown["bytes"], shown["packets"]

    def wait_until_quiet(self) -> None:
        """Wait until nothing much passes any more."""

        def quiet() -> bool:
            before = self.sent()[0]
            time.sleep(_QUIET)
            return self.sent()[0] - before < _QUIET_BYTES

        poll(quiet, _QUIET_TIMEOUT, lambda: "somebody goes on sending")


@dataclass(frozen=True, slots=True)
class Waits:
    """
    How much longer than on an idle line pings took.

    :ivar median: seconds; half of them took less.
    :ivar high: seconds; 95 % of them took less.
    :ivar count: of pings that came back.
    """

    median: float
    high: float
    count: int


class Pings:
    """A ping from a host through its line, many times a second."""

    def __init__(self, host: Host, address: str) -> None:
        """
        Start it, and wait for the first answer.

        :param host: in the site with the slow line.
        :param address: beyond the line.
        """
        self._wall = time.time() - time.monotonic()
        self._process = host.start(["ping", "-n", "-D", "-i", _PING_INTERVAL, address])
        self._process.wait_for_line("icmp_seq=")

    def waits(self, idle: float, start: float, end: float) -> Waits:
        """
        Look at what was sent within some time.

        :param idle: seconds that a ping takes on the idle line.
        :param start: monotonic, seconds.
        :param end: likewise.
        """
        waits = sorted(
            took - idle for sent, took in self._samples() if start <= sent and sent + took <= end
        )
        if not waits:
            return Waits(float("inf"), float("inf"), 0)
        return Waits(waits[len(waits) // 2], waits[int(0.95 * len(waits))], len(waits))

    def idle(self) -> float:
        """Give the shortest time so far, in seconds."""
        return min(took for _, took in self._samples())

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def _samples(self) -> list[tuple[float, float]]:
        """List when each ping that was answered was sent, and how long it took."""
        found = _PONG.findall(self._process.output())
        return [(float(at) - self._wall - float(ms) / 1e3, float(ms) / 1e3) for at, ms in found]
