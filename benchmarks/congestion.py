"""The default congestion control over simulated paths, by a virtual clock.

10 to 500 Mbit/s, 20 to 200 ms, 0 to 3 % random loss, queues of one and two bandwidth-delay products
(BDP): one flow alone, two that share, and one beside a model of a CUBIC TCP.  Writes
``docs/congestion.md``, and ``docs/congestion.png`` where matplotlib is installed.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

from benchmarks.congestion_report import plot, table
from wavesync.testing.cubic import CubicReceiver, cubic_pair
from wavesync.testing.link import End, Link, Simulation, connect_pair
from wavesync.udt.connection import Connection

__all__ = ["Alone", "Pair", "Path", "alone", "measure", "pair"]

RATES = (10, 50, 100, 500)
"""Mbit/s."""

ROUND_TRIPS = (20, 50, 100, 200)
"""Milliseconds."""

LOSSES = (0.0, 0.001, 0.01, 0.03)
"""Probabilities, in the direction of the data."""

QUEUES = (1, 2)
"""Bandwidth-delay products."""

MAX_PAIR_RATE = 50
"""Mbit/s; two flows need most of a minute to settle, which takes too long to simulate beyond."""

MAX_FULL_RATE = 100
"""Mbit/s; beyond, only the longer queue, and no or 1 % loss, is looked at, for the same reason."""

KINDS = ("together", "late", "cubic")
"""Two that begin together, one that begins 5 s after another, one beside a CUBIC TCP."""

_LATE = 5.0
_PAIR_SECONDS = 30.0
_WINDOW = 1 << 16
_PAYLOAD = 1456  # bytes of the 1500 of a packet, which leaves 97.1 % of a link
_BLOCK = bytes(1 << 18)
_QUICK = ((10, 100), (20, 100))


@dataclass(frozen=True, slots=True)
class Path:
    """A bottleneck.

    :ivar rate: Mbit/s.
    :ivar rtt: milliseconds without a queue.
    :ivar queue: bandwidth-delay products.
    :ivar loss: probability.
    """

    rate: int
    rtt: int
    queue: int
    loss: float = 0.0

    @property
    def product(self) -> float:
        """The bandwidth-delay product, bytes."""
        return self.rate * self.rtt * 125

    def there(self) -> Link:
        """Make the link that the data takes."""
        queue = int(self.queue * self.product)
        return Link(rate=self.rate * 1e6, delay=self.rtt / 2e3, queue=queue, loss=self.loss, seed=3)

    def back(self) -> Link:
        """Make the link that the ACKs take."""
        return Link(delay=self.rtt / 2e3)


@dataclass(frozen=True, slots=True)
class Alone:
    """What one flow did, start-up included.

    :ivar path: where.
    :ivar goodput: payload delivered over the link's rate.
    :ivar queue: average queue, in round trips.
    :ivar queue_95: what the queue was below for 95 % of the time, in round trips.
    :ivar queue_peak: the longest queue, in round trips.
    """

    path: Path
    goodput: float
    queue: float
    queue_95: float
    queue_peak: float

    @property
    def missed(self) -> str:
        """What this misses; empty for nothing."""
        goal = 0.9 if not self.path.loss else 0.8 if self.path.loss <= 0.01 else 0.0
        faults = ["goodput"] if self.goodput < goal else []
        return ", ".join(faults + (["queue"] if self.queue_95 > 1 else []))


@dataclass(frozen=True, slots=True)
class Pair:
    """How two flows shared a clean bottleneck, once they had time to settle.

    :ivar path: where.
    :ivar kind: one of :data:`KINDS`.
    :ivar share: of what both got: the smaller share, or the CUBIC flow's.
    :ivar used: payload of both over the link's rate.
    """

    path: Path
    kind: str
    share: float
    used: float

    @property
    def missed(self) -> str:
        """What this misses; empty for nothing."""
        return "share" if self.share < (0.35 if self.kind == "cubic" else 0.4) else ""


def _fill(connection: Connection) -> None:
    connection.write(_BLOCK)


def _flow(path: Path, there: Link, now: float = 0.0) -> Simulation:
    window = {"peer_window": _WINDOW}
    sim = connect_pair(there, path.back(), now=now, left=window, right={"receive_window": _WINDOW})
    sim.left.source = _fill
    return sim


def seconds(path: Path) -> float:
    """Tell how long a flow alone is watched."""
    return max(10.0, path.rtt / 5)


def settling(path: Path) -> float:
    """Tell how long two flows have before it is looked at who gets what."""
    return max(10.0, path.rtt / 10)


def alone(path: Path, duration: float | None = None) -> Alone:
    """Let one flow use a path.

    :param duration: seconds; by default 10, or 200 round trips if that is longer.
    """
    duration = seconds(path) if duration is None else duration
    there = path.there()
    sim = _flow(path, there)
    queues = []
    for step in range(1, round(duration * 50) + 1):
        sim.run(step / 50 - sim.now)
        queues.append(there.backlog(sim.now) / path.product)
    queues.sort()
    return Alone(
        path,
        sim.right.received * 8e-6 / path.rate / duration,
        sum(queues) / len(queues),
        queues[int(0.95 * len(queues))],
        there.peak_queue / path.product,
    )


def _received(end: End) -> int:
    tcp = end.connection
    return tcp.received * _PAYLOAD if isinstance(tcp, CubicReceiver) else end.received


def pair(path: Path, kind: str, duration: float = _PAIR_SECONDS) -> Pair:
    """Let two flows share a path.

    :param kind: one of :data:`KINDS`.
    :param duration: seconds that both are watched, once they have settled.
    """
    there = path.there()
    sim = Simulation(*cubic_pair(there, path.back())) if kind == "cubic" else _flow(path, there)
    if kind == "late":
        sim.run(_LATE)
    other = _flow(path, there, sim.now)
    sim.join(other.left, other.right)
    ends = (sim.right, other.right)
    sim.run(settling(path))
    before = [_received(end) for end in ends]
    sim.run(duration)
    first, second = (_received(end) - start for end, start in zip(ends, before, strict=True))
    part = first if kind == "cubic" else min(first, second)
    used = (first + second) * 8e-6 / path.rate / duration
    return Pair(path, kind, part / (first + second), used)


def _tasks(quick: bool) -> Iterable[tuple[Callable[..., Alone | Pair], tuple[object, ...]]]:
    """Give all cells, those that take long first."""
    rates, rtts = _QUICK if quick else (RATES, ROUND_TRIPS)
    for rate, rtt, queue in product(sorted(rates, reverse=True), reversed(rtts), QUEUES):
        if rate <= MAX_PAIR_RATE:
            for kind in KINDS:
                yield pair, (Path(rate, rtt, queue), kind)
        for loss in LOSSES:
            if rate <= MAX_FULL_RATE or (queue == max(QUEUES) and loss in (0.0, 0.01)):
                yield alone, (Path(rate, rtt, queue, loss),)


def measure(*, quick: bool = False) -> dict[str, object]:
    """Take all figures, write the table and the plot.

    :param quick: only four of the sixteen paths, and nothing is written.
    """
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in _tasks(quick)]
        cells = [future.result() for future in futures]
    solo = [cell for cell in cells if isinstance(cell, Alone)]
    pairs = [cell for cell in cells if isinstance(cell, Pair)]
    missed = [f"{cell.path}: {cell.missed}" for cell in cells if cell.missed]
    result: dict[str, object] = {"cells": len(cells), "missed": missed}
    if not quick:
        docs = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")
        with open(os.path.join(docs, "congestion.md"), "w", encoding="utf-8") as file:
            file.write(table(solo, pairs))
        result["plot"] = plot(solo, os.path.join(docs, "congestion.png"))
    return result
