"""The laboratory by hand: ``python -m tests.lab --help``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from tests.lab.commands import LabError, unavailable
from tests.lab.doctors import consult, pair_complaints
from tests.lab.kinds import KINDS, kind_named
from tests.lab.matrix import Cell, all_cells, as_markdown, run_cells
from tests.lab.namespaces import clean
from tests.lab.topology import MEDIATOR_NAME, Lab, SiteSettings
from tests.lab.whole import Diagnosis, diagnose_all
from tests.lab.whole import as_markdown as diagnoses_as_markdown

_FULL_DELAY = 20.0  # milliseconds: without any, a side that starts late is punished everywhere

_JOBS, _DOCTORS = 6, 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description="A small internet in network namespaces: a mediator and two sites behind NATs.",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="list the kinds of site")
    action.add_argument(
        "--shell",
        nargs=2,
        metavar="KIND",
        help="build a laboratory of two sites; open a shell in host a, or hold it until Ctrl-C "
        "when there is no terminal",
    )
    action.add_argument(
        "--clean", action="store_true", help="remove what dead processes left, and nothing else"
    )
    action.add_argument(
        "--full",
        action="store_true",
        help="run the product between all kinds of site and compare with tests/lab/truth.py; "
        "the exit status is 1 when a cell deviates",
    )
    action.add_argument(
        "--doctor",
        action="store_true",
        help="have doctors examine all kinds of site, and compare their verdicts on all pairs with "
        "tests/lab/truth.py; the exit status is 1 when one is wrong",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="with --doctor: run wavesync doctor TARGET in every cell, with agents and a relay, and hold "
        "all it says against the truth",
    )
    parser.add_argument(
        "--delay",
        type=float,
        metavar="MS",
        help="one-way delay between each site and the core, in milliseconds "
        f"(default 0, with --full and --doctor {_FULL_DELAY})",
    )
    parser.add_argument(
        "--loss",
        type=float,
        default=0.0,
        metavar="PERCENT",
        help="packets lost there, in each direction (default 0)",
    )
    parser.add_argument(
        "--hosts", type=int, default=1, metavar="N", help="hosts at each site (default 1)"
    )
    full = parser.add_argument_group(
        "with --full, and with --doctor --whole, but for --rounds and --relay"
    )
    full.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="connects in each cell (default 3)"
    )
    full.add_argument(
        "--only",
        metavar="KIND,KIND",
        help="only the pairs within these kinds, and no other scene (with --doctor alone, too)",
    )
    full.add_argument(
        "--relay",
        action="store_true",
        help="have a relay beside the mediator, and connect again two seconds after each connect",
    )
    full.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown table there")
    full.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"clients at one time (default {_JOBS}, with --doctor --whole {_DOCTORS})",
    )
    return parser


def _doctor(options: argparse.Namespace, delay: float) -> int:
    """Judge all pairs; the exit status tells whether all verdicts are right."""
    only = [kind_named(name).name for name in (options.only or "").split(",") if name]
    opinions, slowest = consult(only, delay=delay)
    for opinion in opinions:
        print(opinion)
    wrong = sum(not each.right for each in opinions)
    print(
        f"{len(opinions)} verdicts, {wrong} of them wrong; the longest examination took {slowest:.1f} s"
    )
    complaints = [] if only else list(pair_complaints())
    for complaint in complaints:
        print(complaint)
    return 1 if wrong or complaints else 0


def _whole(options: argparse.Namespace, delay: float) -> int:
    """Run a doctor in every cell; the exit status tells whether all is right that they say."""
    only = [kind_named(name).name for name in (options.only or "").split(",") if name]
    cells = all_cells(only, relay=True)
    done: list[Diagnosis] = []
    began = time.monotonic()
    try:
        for each in diagnose_all(cells, delay=delay, jobs=options.jobs or _DOCTORS):
            done.append(each)
            now = time.monotonic() - began
            what = f"{each.cell.name}: {each.as_text()}"
            if each.visits > 1:
                what += f" (visit {each.visits})"
            print(f"{len(done)}/{len(cells)}, {now:.0f} s: {what}", file=sys.stderr, flush=True)
            for complaint in each.complaints:
                print(f"    {complaint}", file=sys.stderr, flush=True)
    finally:
        if options.output is not None:
            text = diagnoses_as_markdown(done, delay=delay)
            options.output.write_text(text, encoding="utf-8")
    wrong = sum(bool(each.complaints) for each in done)
    print(f"{len(done)} cells; the doctor is wrong in {wrong} of them")
    return 1 if wrong or len(done) < len(cells) else 0


def _full(options: argparse.Namespace, delay: float) -> int:
    """Run the matrix; the exit status tells whether all is as it must be."""
    only = [kind_named(name).name for name in (options.only or "").split(",") if name]
    cells = all_cells(only, relay=options.relay)
    total = len(cells) * options.rounds
    done: list[Cell] = []
    began = time.monotonic()
    try:
        for cell in run_cells(
            cells, rounds=options.rounds, delay=delay, jobs=options.jobs or _JOBS
        ):
            done.append(cell)
            tried = sum(len(each.trials) for each in cells)
            print(
                f"{len(done)}/{len(cells)}, {tried}/{total} connects,"
                f" {time.monotonic() - began:.0f} s: {cell.name}: {cell.as_text()}",
                flush=True,
            )
            for deviation in dict.fromkeys(cell.deviations):
                print(f"    {deviation}", flush=True)
    finally:
        # Even of an interrupted run.
        if options.output is not None:
            text = as_markdown(done, rounds=options.rounds, delay=delay)
            options.output.write_text(text, encoding="utf-8")
    deviating = sum(bool(cell.deviations) for cell in done)
    print(f"{len(done)} cells, {deviating} of them deviate")
    return 1 if deviating or len(done) < len(cells) else 0


def _list() -> None:
    width = max(map(len, KINDS))
    for kind in KINDS.values():
        print(f"{kind.name:{width}}  {kind.summary}")


def _explain(lab: Lab) -> None:
    print(
        f"mediator  {', '.join(lab.mediator.addresses)}  (every host knows it as {MEDIATOR_NAME})"
    )
    print(f"          ip netns exec {lab.mediator.namespace.name} bash")
    for site in lab.sites:
        print(f"site {site.name}    {site.kind.name}, {site.wan}: {site.kind.summary}")
        print(f"          ip netns exec {site.router.name} bash    # router")
        for host in site.hosts:
            print(f"          ip netns exec {host.namespace.name} bash    # host, {host.address}")
    print(f"logs      {lab.directory}")


def _hold(lab: Lab) -> None:
    if sys.stdin.isatty():
        print("This shell is in host a; its end is the laboratory's.")
        shell = os.environ.get("SHELL", "/bin/bash")
        subprocess.run(lab.a.host.namespace.command([shell]), check=False)
        return
    print("Held until Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _leave(number: int, frame: object) -> NoReturn:
    """End by an exception, so that the laboratory is removed on the way out."""
    sys.exit(128 + number)


def main(argv: list[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.whole and not options.doctor:
        parser.error("--whole goes with --doctor")
    if options.list:
        _list()
        return 0
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        if options.clean:
            for name in clean():
                print(f"removed {name}")
            return 0
        signal.signal(signal.SIGTERM, _leave)
        if options.full or options.doctor:
            delay = (_FULL_DELAY if options.delay is None else options.delay) / 1e3
            action = _whole if options.whole else _full if options.full else _doctor
            return action(options, delay)
        sites = [
            SiteSettings(
                kind, delay=(options.delay or 0) / 1e3, loss=options.loss / 1e2, hosts=options.hosts
            )
            for kind in options.shell
        ]
        with Lab(*sites) as lab:
            _explain(lab)
            _hold(lab)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
