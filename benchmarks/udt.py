"""One UDT flow over loopback, MSS 1500: ours against libudt 4.11.

Needs Debian's libudt-dev and g++.
"""

import functools
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Bar, Row, compared, line, plain
from benchmarks.samples import Samples, interleave
from benchmarks.udt_ends import LIBUDT, OURS, best_libudt, flow, ours
from benchmarks.udt_places import LOOPBACK, Place

__all__ = ["SECONDS", "THROUGHPUT", "cpu_rows", "measure", "measure_flow"]

SECONDS = 5.0
"""Length of each flow."""

THROUGHPUT = Bar(4, 7)
SENDER_CPU = Bar(0.25, 0.14, higher=False)
RECEIVER_CPU = Bar(0.40, 0.22, higher=False)

_TRIAL = 2.0


def cpu_rows(taken: Mapping[str, Samples]) -> list[Row]:
    """Judge the CPU seconds of both sides."""
    sides = (("sender", SENDER_CPU), ("receiver", RECEIVER_CPU))
    return [
        compared(
            f"the same: CPU of the {side}",
            "s/GB",
            f"{side}_cpu_s_per_gb",
            taken[OURS],
            taken[LIBUDT],
            bar,
            peer="libudt",
        )
        for side, bar in sides
    ]


def measure_flow(
    what: str,
    place: Place,
    bar: Bar,
    runs: int,
    seconds: float,
    *,
    carrier: str = "",
    flows: int = 1,
    judge_cpu: bool = False,
) -> Row:
    """Send flows as fast as they go between two processes of one kind, and judge them.

    :param what: for people.
    :param place: where.
    :param bar: for the throughput.
    :param runs: of each kind.
    :param seconds: length of each.
    :param carrier: of ours.
    :param flows: at a time.
    :param judge_cpu: whether the CPU seconds are figures of their own.
    """
    best, tried = best_libudt(
        lambda kind: flow(kind, place, seconds=min(seconds, _TRIAL), flows=flows)["mbit_s"]
    )
    kinds = {OURS: ours(carrier), LIBUDT: best}
    taken = interleave(
        {
            name: functools.partial(flow, kind, place, seconds=seconds, flows=flows)
            for name, kind in kinds.items()
        },
        runs,
    )
    rows = [compared(what, "Mbit/s", "mbit_s", taken[OURS], taken[LIBUDT], bar, peer="libudt")]
    rows += cpu_rows(taken) if judge_cpu else []
    settings: dict[str, Any] = {name: kind.settings for name, kind in kinds.items()}
    settings |= {"seconds": seconds, "flows": flows, "mss": 1500, "libudt_tried_mbit_s": tried}
    return line(
        rows,
        runs=runs,
        settings=settings,
        medians={name: plain(samples) for name, samples in taken.items()},
    )


def measure(runs: int = 5, seconds: float = SECONDS, carrier: str = "") -> Row:
    """Take the figures.

    :param runs: flows of each kind, interleaved.
    :param seconds: length of each.
    :param carrier: of ours: how packets are carried; empty for the product's own choice.
    """
    return measure_flow(
        "UDT, one flow, loopback",
        LOOPBACK,
        THROUGHPUT,
        runs,
        seconds,
        carrier=carrier,
        judge_cpu=True,
    )
