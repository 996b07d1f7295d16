"""Memory of idle UDT connections, a thousand on one port: ours against libudt 4.11.

What the accepting process grows by for each, without the kernel's part, which is the same for both.
Needs Debian's libudt-dev and g++.
"""

import functools

from benchmarks.figures import Bar, Row, compared, line, plain
from benchmarks.samples import interleave
from benchmarks.udt_ends import LIBUDT, OURS, idle, libudt, ours

__all__ = ["measure"]

_BAR = Bar(1 / 40, 1 / 100, higher=False)
_COUNT = 1000


def measure(runs: int = 3, count: int = _COUNT, carrier: str = "") -> Row:
    """Take the figure.

    :param runs: of each kind, interleaved; they hardly differ.
    :param count: connections.
    :param carrier: as for :func:`benchmarks.udt.measure`.
    """
    kinds = {OURS: ours(carrier), LIBUDT: libudt()}
    taken = interleave(
        {name: functools.partial(idle, kind, count=count) for name, kind in kinds.items()}, runs
    )
    row = compared(
        "memory of an idle UDT connection",
        "KB",
        "kb",
        taken[OURS],
        taken[LIBUDT],
        _BAR,
        peer="libudt",
    )
    return line(
        [row],
        runs=runs,
        settings={**{name: kind.settings for name, kind in kinds.items()}, "connections": count},
        medians={name: plain(samples) for name, samples in taken.items()},
    )
