"""The table and the plot of :mod:`benchmarks.congestion`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.congestion import Alone, Pair

__all__ = ["plot", "table"]

_INTRODUCTION = """\
# Congestion control, simulated

Written by `python -m benchmarks congestion`: the default strategy (`wavesync.udt.bottleneck`) over
paths of a virtual clock, with a drop-tail queue of one or two bandwidth-delay products (BDP). The
connections announce room for 65,536 packets, so that the receive window is no limit (the product's
8,192 packets of 1,456 bytes fill 477 Mbit/s at 200 ms). **Bold** is what misses its goal.

## One flow

Payload delivered as a share of the link's rate; headers leave 97.1 % of it at best. Watched from the
first packet on for 10 s, or 200 round trips if that is longer, start-up included. Goals: 90 % of a
clean path, 80 % at 1 % loss (also asked at 0.1 %; nothing is asked at 3 %). In brackets: the
queue in round trips, what it was below for 95 % of the time (goal: 1) / its peak.
500 Mbit/s are asked for with the longer queue only, and without loss or at 1 %. An empty cell, or a
path that is not listed, has not been simulated.

"""

_PAIRS = """
## Two flows

Clean paths of 10 and 50 Mbit/s (faster ones are not simulated: a minute of two flows takes too
long); what the two got in 30 s, once both had run for 100 round trips, or 10 s if that is
longer. *Together* and *late* (the second begins 5 s after the first) give the smaller one's share of both (goal: 40 %); *CUBIC* the share of
a TCP with CUBIC (RFC 9438) that begins together with a flow of ours (goal: 35 %). In brackets: what both
used of the link.

"""


def _percent(value: float, missed: bool) -> str:
    text = f"{100 * value:.0f} %"
    return f"**{text}**" if missed else text


def _rows(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(solo: list[Alone], pairs: list[Pair]) -> str:
    """Lay out all figures in Markdown.

    :param solo: one flow each.
    :param pairs: two flows each.
    """
    losses = sorted({cell.path.loss for cell in solo})
    solo_rows: dict[tuple[int, int, int], dict[float, str]] = {}
    for cell in solo:
        path = cell.path
        text = _percent(cell.goodput, "goodput" in cell.missed)
        queue = f"{cell.queue_95:.2f}"
        queue = f"**{queue}**" if "queue" in cell.missed else queue
        row = solo_rows.setdefault((path.rate, path.rtt, path.queue), {})
        row[path.loss] = f"{text} ({queue} / {cell.queue_peak:.1f})"
    first = ["Mbit/s", "ms", "BDP"]
    out = _INTRODUCTION + _rows(
        first + [f"{100 * loss:g} % loss" for loss in losses],
        [
            [*map(str, key), *(solo_rows[key].get(loss, "") for loss in losses)]
            for key in sorted(solo_rows)
        ],
    )
    kinds = ["together", "late", "cubic"]
    pair_rows: dict[tuple[int, int, int], dict[str, str]] = {}
    for duel in pairs:
        path = duel.path
        text = f"{_percent(duel.share, bool(duel.missed))} ({100 * duel.used:.0f} %)"
        pair_rows.setdefault((path.rate, path.rtt, path.queue), {})[duel.kind] = text
    out += _PAIRS + _rows(
        [*first, "together", "late", "CUBIC"],
        [
            [*map(str, key), *(pair_rows[key].get(kind, "") for kind in kinds)]
            for key in sorted(pair_rows)
        ],
    )
    missed = [*(cell for cell in solo if cell.missed), *(duel for duel in pairs if duel.missed)]
    return out + f"\n{len(missed)} of {len(solo) + len(pairs)} cells miss a goal.\n"


def plot(solo: list[Alone], file: str) -> str:
    """Draw goodput over loss for each path with two BDP of queue.

    :returns: a sentence about what was done: matplotlib may be missing.
    """
    try:
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return "No plot was drawn: matplotlib is not installed."
    rates = sorted({cell.path.rate for cell in solo})
    figure, axes = pyplot.subplots(1, len(rates), figsize=(3 * len(rates), 3), sharey=True)
    for axis, rate in zip(axes, rates, strict=True):
        for rtt in sorted({cell.path.rtt for cell in solo}):
            points = sorted(
                (100 * cell.path.loss, 100 * cell.goodput)
                for cell in solo
                if (cell.path.rate, cell.path.rtt, cell.path.queue) == (rate, rtt, 2)
            )
            axis.plot(*zip(*points, strict=True), marker="o", label=f"{rtt} ms")
        axis.plot([0, 0.1, 1], [90, 80, 80], "k:", drawstyle="steps-post", label="goal")
        axis.set(title=f"{rate} Mbit/s", xlabel="loss, %", ylim=(0, 100))
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("goodput, % of the link")
    axes[-1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    return f"The plot is in {file}."
