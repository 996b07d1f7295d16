"""The table of :mod:`tests.lab.congestion`, and which figures miss the goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.bottleneck import Waits
from tests.lab.sharing import TCP, Alone, Together

__all__ = ["Cell", "goals_missed", "table"]

_BUSY = 0.9  # of a processor
_INTRODUCTION = """\
# Congestion control, spot checks in the laboratory

Written by `python -m tests.lab.congestion --output docs/congestion-lab.md` (as root, on an otherwise
idle machine, about four minutes). Real packets: `wavesync connect` fetches from a service of the agent through a
hole between two port-restricted NATs (Linux network namespaces), {half:.0f} ms one way each, so a round
trip of {trip:.0f} ms. The sender's line is slowed down by `tbf`, with a drop-tail queue of {queue:g}
bandwidth-delay products, and carries single packets, no bundles. TCP is the kernel's, with
{algorithm}, between the same two hosts and through the same NATs, with a forwarded port. Loss is random, from end to
end, in each direction. The simulation of many more paths is in `docs/congestion.md`.

All rates are of payload that arrived, as shares of the line's rate; headers leave 97 % at best.
*Alone* begins with the flow's first byte, so includes its start-up. In brackets: by how much a ping through the
same queue got longer, in round trips, what half of the pings stayed below / what 95 % did. The second
flow is always one of ours and begins when the first has had its time alone; both are looked at
after some seconds to settle. **Bold** is what misses its goal: alone 90 % of a clean line and 80 % at
1 % loss; 95 % of the pings no more than a round trip longer; beside each other, on a clean line, 40 % for the
smaller of two of ours, 35 % for TCP. At 1 % loss TCP is slow by itself; nothing is asked there but to
compare with what it has alone.

"""
_END = """\
Processors: their time used by agent and client while one of ours is alone, and what part of all processors of
the machine was in use while a row's flows of ours went. Where one of these has nothing left (*busy*), the
machine is measured and not the line: payload waits in processes then, and two flows even seem
to get more than the line carries when they catch up.
"""
_HEAD = (
    *("Mbit/s", "loss", "TCP alone", "beside it: TCP + ours", "TCP's part"),
    *("ours alone", "two of ours", "the smaller part", "processors: agent, client, all"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """
    What happened on one line.

    :ivar rate: Mbit/s.
    :ivar loss: probability.
    :ivar first: who was alone first.
    :ivar alone: the first one alone.
    :ivar together: the first one with one of ours beside it.
    """

    rate: float
    loss: float
    first: str
    alone: Alone
    together: Together

    @property
    def part(self) -> float:
        """TCP's part of what both got, or the smaller one's of two of ours."""
        second = self.together.second_part
        return 1 - second if self.first == TCP else min(second, 1 - second)

    def as_text(self) -> str:
        """Tell it in a line."""
        return (
            f"{self.rate:g} Mbit/s, {100 * self.loss:g} % loss:"
            f" {self.first} alone {self.alone.used:.0%},"
            f" then {self.together.first:.0%} beside {self.together.second:.0%} of ours"
        )


def goals_missed(cell: Cell, round_trip: float) -> list[str]:
    """
    Tell what a cell misses.

    :param round_trip: without a queue, in seconds.
    :return: what, after the line's name; TCP alone misses nothing.
    """
    name = f"{cell.rate:g} Mbit/s, {100 * cell.loss:g} % loss"
    if cell.first == TCP:
        return [f"{name}: TCP's part"] if not cell.loss and cell.part < 0.35 else []
    missed = []
    if cell.alone.used < (0.8 if cell.loss else 0.9):
        missed.append(f"{name}: alone")
    if cell.alone.waits.high > round_trip:
        missed.append(f"{name}: queue")
    if not cell.loss and cell.part < 0.4:
        missed.append(f"{name}: the smaller part")
    return missed


def _busy(cell: Cell) -> bool:
    """Tell whether the machine, and not the line, may have been what was slow."""
    return max(cell.alone.agent, cell.alone.client, cell.together.busy) > _BUSY


def _percent(value: float, missed: bool = False) -> str:
    text = f"{100 * value:.0f} %"
    return f"**{text}**" if missed else text


def _waits(waits: Waits, round_trip: float, missed: bool = False) -> str:
    median, high = (f"{max(0.0, each / round_trip):.2f}" for each in (waits.median, waits.high))
    return f"({median} / {f'**{high}**' if missed else high})"


def _with_tcp(cell: Cell, round_trip: float) -> list[str]:
    both = cell.together
    missed = bool(goals_missed(cell, round_trip))
    return [
        f"{_percent(cell.alone.used)} {_waits(cell.alone.waits, round_trip)}",
        f"{_percent(both.first)} + {_percent(both.second)} {_waits(both.waits, round_trip)}",
        _percent(cell.part, missed),
    ]


def _with_ours(cell: Cell, round_trip: float) -> list[str]:
    both, alone = cell.together, cell.alone
    missed = {miss.rpartition(": ")[2] for miss in goals_missed(cell, round_trip)}
    waits = _waits(alone.waits, round_trip, "queue" in missed)
    processors = f"{alone.agent:.2f}, {alone.client:.2f}, {_percent(both.busy)}"
    return [
        f"{_percent(alone.used, 'alone' in missed)} {waits}",
        f"{_percent(both.first)} + {_percent(both.second)} {_waits(both.waits, round_trip)}",
        _percent(cell.part, "the smaller part" in missed),
        f"{processors} (**busy**)" if _busy(cell) else processors,
    ]


def table(
    cells: Sequence[Cell], *, algorithm: str, round_trip: float, queue: float, machine: str
) -> str:
    """
    Lay out all figures in Markdown.

    :param cells: of every line two, with TCP first and with one of ours first.
    :param algorithm: of TCP.
    :param round_trip: without a queue, in seconds.
    :param queue: in bandwidth-delay products.
    :param machine: what it was measured on.
    """
    rows: dict[tuple[float, float], dict[bool, list[str]]] = {}
    for cell in cells:
        columns = (_with_tcp if cell.first == TCP else _with_ours)(cell, round_trip)
        rows.setdefault((cell.rate, cell.loss), {})[cell.first == TCP] = columns
    lines = [list(_HEAD), ["---"] * len(_HEAD)]
    for (rate, loss), parts in rows.items():
        name = [f"{rate:g}", f"{100 * loss:g} %"]
        lines.append([*name, *parts.get(True, [""] * 3), *parts.get(False, [""] * 4)])
    missed = sum(len(goals_missed(cell, round_trip)) for cell in cells)
    introduction = _INTRODUCTION.format(
        half=round_trip / 4 * 1e3,
        trip=round_trip * 1e3,
        queue=queue,
        algorithm=algorithm.upper() if algorithm in {"cubic", "bbr"} else algorithm,
    )
    laid_out = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{introduction}{laid_out}\nGoals missed: {missed}.\n\n{_END}Measured on {machine}.\n"
