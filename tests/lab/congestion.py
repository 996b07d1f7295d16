"""Congestion control on real packets: ``python -m tests.lab.congestion``.

A laboratory of two port-restricted NATs, 20 ms one way each, and a slow line at the sender's:
first one flow alone, then a second one beside it, without and with loss.  The table goes to standard
output, and with ``--output FILE`` to a file; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.lab.commands import LabError, unavailable
from tests.lab.congestion_table import Cell, goals_missed, table
from tests.lab.sharing import OURS, TCP, Course, Road, algorithm
from tests.lab.topology import Lab

__all__ = ["COURSES", "main", "measure"]

DELAY = 0.02
"""One way of each site, in seconds: a round trip of 80 ms."""

QUEUE = 2.0
"""Bandwidth-delay products."""

RATES = (20.0, 50.0, 100.0)
"""Mbit/s."""

LOSSES = (0.0, 0.01)
"""Probabilities from end to end, in each direction."""

COURSES = {
    (0.0, TCP): Course(4, 4, 12),
    (0.0, OURS): Course(5, 8, 9),
    (0.01, TCP): Course(4, 2, 6),
    (0.01, OURS): Course(5, 2, 5),
}
"""By loss and by who is there first; one of ours comes second."""


def measure(rates: Sequence[float], queue: float) -> Iterator[Cell]:
    """
    Take all figures.

    :param rates: Mbit/s.
    :param queue: in bandwidth-delay products.
    """
    with Lab(*Road.settings(DELAY)) as lab:
        road = Road(lab, delay=DELAY)
        for rate in rates:
            for (loss, first), course in COURSES.items():
                road.line.set(rate=rate, queue=queue, loss=loss)
                yield Cell(rate, loss, first, *road.run(first, OURS, course))


def _machine() -> str:
    hardware = f"{platform.machine()}, {os.cpu_count()} CPUs"
    return f"{hardware}, Linux {platform.release()}, Python {platform.python_version()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.congestion",
        description="How flows of ours use a slow line between two NATs, and share it with TCP.",
    )
    parser.add_argument(
        "--rates",
        metavar="MBITS,...",
        default=",".join(f"{rate:g}" for rate in RATES),
        help="Mbit/s of the line (default %(default)s)",
    )
    parser.add_argument(
        "--queue",
        type=float,
        default=QUEUE,
        metavar="BDP",
        help="queue of the line, in bandwidth-delay products (default %(default)g)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the Markdown table there"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """
    Run the command line.

    :return: the exit status; goals that are missed do not change it.
    """
    options = _parser().parse_args(argv)
    rates = [float(rate) for rate in options.rates.split(",")]
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    began, load = time.monotonic(), os.getloadavg()[0]
    cells: list[Cell] = []
    try:
        for cell in measure(rates, options.queue):
            cells.append(cell)
            done = f"{len(cells)}/{len(rates) * len(COURSES)}, {time.monotonic() - began:.0f} s"
            print(f"{done}: {cell.as_text()}", file=sys.stderr, flush=True)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    chosen, machine = algorithm(), _machine()
    text = table(
        cells,
        algorithm=chosen,
        round_trip=4 * DELAY,
        queue=options.queue,
        machine=f"{machine}; load before: {load:.1f}",
    )
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    result = {
        "figure": "congestion_lab",
        "tcp": chosen,
        "round_trip": 4 * DELAY,
        "queue": options.queue,
        "cells": [asdict(cell) for cell in cells],
        "missed": [miss for cell in cells for miss in goals_missed(cell, 4 * DELAY)],
        "load_before": load,
        "seconds": round(time.monotonic() - began),
        "machine": machine,
    }
    print(json.dumps(_rounded(result)))
    return 0


def _rounded(value: object) -> object:
    """Leave four digits after each point."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
