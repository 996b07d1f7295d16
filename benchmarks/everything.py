"""Takes every judged figure, one after the other, each in a process of its own, and writes them down."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalogue import CATALOGUE, Entry, find
from benchmarks.machine import ROOT
from benchmarks.report import plot, rows_of, table, verdict

__all__ = ["LINES", "PLOT", "TABLE", "Lines", "measure_all", "read_lines", "take", "write"]

LINES = "figures.jsonl"
TABLE = "index.md"
PLOT = "ratios.svg"

Lines = dict[str, dict[str, Any]]
"""What was measured, or why it was not (``failed``), by figure."""


def take(entry: Entry, runs: int) -> dict[str, Any]:
    """Take one figure in a process of its own.

    :return: its line; ``failed`` with a sentence in place of the figures if it could not be taken.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", entry.name, str(runs)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode == 0:
        line: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return line
    said = done.stderr.strip().splitlines()
    return {"figure": entry.name, "failed": said[-1] if said else f"status {done.returncode}"}


def read_lines(directory: Path) -> Lines:
    """Read what an earlier run has left; nothing if there was none."""
    file = directory / LINES
    if not file.exists():
        return {}
    lines = (json.loads(text) for text in file.read_text(encoding="utf-8").splitlines())
    return {line["figure"]: line for line in lines}


def write(lines: Mapping[str, dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """Write lines and table, in the order of the catalogue.

    :return: the lines in that order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ordered = [lines[entry.name] for entry in CATALOGUE if entry.name in lines]
    text = "".join(json.dumps(line) + "\n" for line in ordered)
    (directory / LINES).write_text(text, encoding="utf-8")
    (directory / TABLE).write_text(table(ordered, PLOT), encoding="utf-8")
    return ordered


def _chosen(only: Iterable[str] | None) -> list[Entry]:
    if only is None:
        return [entry for entry in CATALOGUE if entry.judged]
    return [find(name) for name in only]


def measure_all(
    only: Sequence[str] | None,
    runs: int | None,
    directory: Path,
    redraw: bool = False,
    *,
    take: Callable[[Entry, int], dict[str, Any]] = take,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    draw: Callable[[Sequence[Mapping[str, Any]], Path], str] = plot,
) -> int:
    """Take figures, and write them down after each, so that a break loses one only.

    :param only: names of figures; all judged ones if None.
    :param runs: of each kind; each figure's own number if None.
    :param directory: for the results; what it holds of other figures stays.
    :param redraw: measure nothing.
    :param take: takes one figure.
    :param say: tells people.
    :param draw: makes the plot.
    :return: 0 if everything asked for was measured and is what it must be, 1 otherwise.
    :raises UnknownFigure: there is none of that name.
    """
    entries = _chosen(only)
    lines = read_lines(directory)
    if not redraw:
        seconds = sum(entry.seconds * (runs or entry.runs) for entry in entries)
        say(f"{len(entries)} figures, about {seconds / 60:.0f} min")
        for number, entry in enumerate(entries, 1):
            began = time.monotonic()
            line = take(entry, runs or entry.runs)
            lines = {**read_lines(directory), entry.name: line}  # others may write there, too
            write(lines, directory)
            took = time.monotonic() - began
            say(f"{number}/{len(entries)} {entry.name}, {took:.0f} s")
            for text in _told(lines[entry.name]):
                say(f"    {text}")
    said = draw(write(lines, directory), directory / PLOT)
    say(f"{directory / TABLE} is written. {said}")
    asked = [lines[entry.name] for entry in entries if entry.name in lines]
    return 0 if len(asked) == len(entries) and all(map(_good, asked)) else 1


def _told(line: Mapping[str, Any]) -> list[str]:
    if "failed" in line:
        return [f"not measured: {line['failed']}"]
    return [
        f"{row['what']}: {row['ratio']:g} (must {row['must']:g}, goal {row['goal']:g}): {verdict(row)}"
        for row in rows_of(line)
    ]


def _good(line: Mapping[str, Any]) -> bool:
    return "failed" not in line and all(row["reached"] for row in rows_of(line))
