"""Benchmarks: what wavesync reaches on this machine, beside the programs that people know."""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalogue import CATALOGUE, Entry, UnknownFigure, find
from benchmarks.everything import measure_all
from benchmarks.machine import ROOT, machine, versions

_EPILOG = """\
NAME is one of --list, or "all".

  python -m benchmarks udt            one UDT flow, ours and libudt's in turn, five times each
  python -m benchmarks udt 3          three times each
  python -m benchmarks udt --carrier plain
                                      ours without bundles of packets
  python -m benchmarks all            every judged figure; table, plot and lines in docs/performance
  python -m benchmarks all --only udt,udt-nat --runs 3 --output /tmp/performance
                                      only these; the others' lines that are there stay
  python -m benchmarks all --redraw   measures nothing, writes table and plot anew

A figure is one line of JSON: "ours" and "peer" are medians, "ratio" is the median of the ratios of
each round, "must" and "goal" are what the ratio has to be, "reached" tells whether it is what it
must be; "also" holds further figures of the same runs.  Keep the machine quiet meanwhile, and trust
ratios before figures: both kinds are run in turn because machines change their minds.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a figure, or all")
    parser.add_argument(
        "runs",
        type=_positive,
        nargs="?",
        metavar="RUNS",
        help="runs of each kind (of holes and parking: how many connections, agents)",
    )
    parser.add_argument("--list", action="store_true", help="list the figures and what they need")
    parser.add_argument("--seconds", type=float, help="length of one run, where it has one")
    parser.add_argument(
        "--carrier", choices=("auto", "gso", "plain"), help="how ours carries packets (UDT)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="congestion: only a few cells; parking: only kill the relay",
    )
    every = parser.add_argument_group("all")
    every.add_argument("--only", metavar="NAME,...", help="only these figures")
    every.add_argument("--runs", type=_positive, dest="all_runs", help="runs of each kind")
    every.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs" / "performance",
        metavar="DIR",
        help="for the table, the plot and the lines (default docs/performance)",
    )
    every.add_argument("--redraw", action="store_true", help="measure nothing")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of runs")
    return number


def _list() -> None:
    for entry in CATALOGUE:
        needs = [*entry.packages, *(["root"] if entry.root else [])]
        needed = f" (needs {', '.join(needs)})" if needs else ""
        print(f"{entry.name:12} {entry.title}{needed}")


def measure(entry: Entry, runs: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """Take one figure.

    :param entry: which.
    :param runs: its first argument; the figure's own default if None.
    :param options: by name; those that are None or false are not asked for.
    :return: the line to be printed.
    :raises SystemExit: the figure knows nothing of an option, or cannot be taken here; the
        sentence says why.
    """
    load = os.getloadavg()[0]
    function = entry.load().measure
    known = inspect.signature(function).parameters
    asked = {name: value for name, value in options.items() if value}
    for name in asked:
        if name not in known:
            raise SystemExit(f"The figure {entry.name} knows no --{name}.")
    first = [runs] if runs is not None else []
    if first and not any(one.kind is not one.KEYWORD_ONLY for one in known.values()):
        raise SystemExit(f"The figure {entry.name} takes no number of runs.")
    result = function(*first, **asked)
    return {
        "figure": entry.name,
        **result,
        "machine": machine(),
        "load_before": round(load, 1),
        "versions": versions(entry.packages),
    }


def main(argv: Sequence[str]) -> int:
    """Read the command line, measure, print.

    :return: the exit status; of ``all`` 1 if anything misses what it must be.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        _list()
        return 0
    if arguments.name is None:
        parser.error("a NAME is needed: see --list")
    options = {name: getattr(arguments, name) for name in ("seconds", "carrier", "quick")}
    try:
        if arguments.name == "all":
            only = arguments.only.split(",") if arguments.only else None
            return measure_all(
                only, arguments.all_runs or arguments.runs, arguments.output, arguments.redraw
            )
        entry = find(arguments.name)
    except UnknownFigure as error:
        parser.error(str(error))
    print(json.dumps(measure(entry, arguments.runs, options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
