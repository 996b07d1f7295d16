"""The table and the plot of all judged figures."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["plot", "rows_of", "table", "verdict"]

_HEAD = """\
# Performance

Written by `python -m benchmarks all`; how to repeat it, and how to read it, is in
[README.rst](README.rst). The lines that it was made of are in [figures.jsonl](figures.jsonl).

"""
_COLUMNS = ("figure", "ours", "peer", "ratio", "from .. to", "must", "goal", "reached")
_CPU = ("sender_cpu_s_per_gb", "receiver_cpu_s_per_gb")


def rows_of(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give all judged figures of a line; none of one that only tells why there is none."""
    return [line, *line.get("also", ())] if "ratio" in line else []


def verdict(row: Mapping[str, Any]) -> str:
    """Tell in a word what a figure has reached."""
    return "goal" if row["goal_reached"] else "must" if row["reached"] else "no"


def _value(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.4g}".replace(",", "\u202f") + f" {unit}"


def _bound(row: Mapping[str, Any], name: str) -> str:
    sign = "\u2265" if row["better"] == "higher" else "\u2264"
    return f"{sign} {row[name]:g}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    lines = [head, ["---"] * len(head), *others]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: Mapping[str, Any]) -> list[str]:
    peer = _value(row["peer"], row["unit"])
    reached = verdict(row)
    low, high = row["ratio_range"]
    return [
        row["what"],
        _value(row["ours"], row["unit"]),
        f"{peer} ({row['peer_name']})" if peer else "",
        f"{row['ratio']:.3g}",
        f"{low:.3g} .. {high:.3g}",
        _bound(row, "must"),
        _bound(row, "goal"),
        "**no**" if reached == "no" else reached,
    ]


def _missing(line: Mapping[str, Any]) -> list[str]:
    return [f"{line['figure']}: not measured: {line['failed']}", *[""] * 6, "**no**"]


def _shared(lines: Sequence[Mapping[str, Any]], what: Callable[[Mapping[str, Any]], str]) -> str:
    """Tell something of all figures: once if it is the same for all, else with the figures' names."""
    said: dict[str, list[str]] = {}
    for line in lines:
        if text := what(line):
            said.setdefault(text, []).append(line["figure"])
    if len(said) <= 1:
        return "".join(said)
    return ", ".join(f"{text} ({', '.join(figures)})" for text, figures in said.items())


def _circumstances(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Where and with what\n\n"
    yield f"- {_shared(lines, lambda line: line.get('machine', ''))}\n"
    for name in dict.fromkeys(name for line in lines for name in line.get("versions", ())):

        def version(line: Mapping[str, Any], name: str = name) -> str:
            return str(line.get("versions", {}).get(name, ""))

        yield f"- {name} {_shared(lines, version)}\n"
    yield "\n"
    rows = [["figure", "runs", "load before", "settings"]]
    for line in lines:
        if "settings" in line:
            shown = "; ".join(f"{key} {_shown(each)}" for key, each in line["settings"].items())
            load = str(line.get("load_before", ""))
            rows.append([line["figure"], str(line["runs"]), load, shown.replace("|", "/")])
    yield _markdown(rows)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _processors(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the CPU seconds of both ends of all kinds of flows, medians."""
    rows = [["figure", "kind", "Mbit/s", "sender, CPU s/GB", "receiver, CPU s/GB"]]
    for line in lines:
        for kind, values in line.get("medians", {}).items():
            if all(name in values for name in _CPU):
                spent = [f"{values[name]:.3g}" for name in _CPU]
                rows.append([line["figure"], kind, f"{values['mbit_s']:.0f}", *spent])
    if len(rows) == 1:
        return ""
    return "\n## Flows: CPU seconds for 10^9 bytes of payload, user and system\n\n" + _markdown(
        rows
    )


def table(lines: Sequence[Mapping[str, Any]], picture: str) -> str:
    """Lay out all figures in Markdown.

    :param lines: as the benchmarks print them, or ``figure`` and ``failed`` of those that did not.
    :param picture: file name of the plot.
    """
    rows: list[Sequence[str]] = [_COLUMNS]
    for line in lines:
        rows += [_missing(line)] if "failed" in line else map(_cells, rows_of(line))
    shown = [row for line in lines for row in rows_of(line)]
    short = sum(not row["reached"] for row in shown) + sum("failed" in line for line in lines)
    total = len(rows) - 1
    told = f"\n{total - short} of {total} are what they must be.\n\n![ratios]({picture})\n"
    ending = "".join(_circumstances(lines))
    return _HEAD + _markdown(rows) + told + _processors(lines) + ending


def times(row: Mapping[str, Any], value: float) -> float:
    """Tell how many times as good as it must be a ratio is, whatever is better."""
    must: float = row["must"]
    return value / must if row["better"] == "higher" else must / max(value, 1e-9)


def plot(
    lines: Sequence[Mapping[str, Any]],
    file: Path,
    load: Callable[[str], Any] = importlib.import_module,
) -> str:
    """Draw how each figure stands to what it must be, and to its goal.

    :param load: imports a module.
    :return: a sentence about what was done: matplotlib may be missing.
    """
    rows = [row for line in lines for row in rows_of(line)][::-1]
    if not rows:
        return "No plot was drawn: there is nothing to draw."
    try:
        matplotlib = load("matplotlib")
    except ImportError:
        return "No plot was drawn: matplotlib is not installed (the extra wavesync[benchmark])."
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "wavesync"
    pyplot = load("matplotlib.pyplot")
    figure, axis = pyplot.subplots(figsize=(8, 1.2 + 0.32 * len(rows)))
    places = range(len(rows))
    reached = [times(row, row["ratio"]) for row in rows]
    colours = {"goal": "#2a9d5c", "must": "#8fbf6a", "no": "#d1603d"}
    axis.barh(places, [r - 1 for r in reached], left=1, color=[colours[verdict(r)] for r in rows])
    goals = [times(row, row["goal"]) for row in rows]
    axis.scatter(goals, places, marker="|", s=160, color="black", label="goal", zorder=3)
    axis.axvline(1, color="black", linewidth=1, label="must")
    axis.set_xscale("log", base=2)
    axis.set_xlim(min(0.25, *reached) / 1.2, max(4, *reached, *goals) * 1.2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(places, [row["what"] for row in rows], fontsize="small")
    axis.set_xlabel("times as good as it must be")
    axis.grid(visible=True, axis="x", alpha=0.3)
    axis.legend(fontsize="small", loc="lower right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    return f"The plot is in {file}."
