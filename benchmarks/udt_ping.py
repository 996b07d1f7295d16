"""64 bytes back and forth over one UDT connection, both ends on one CPU: ours against libudt 4.11.

On one CPU, because waking another one up takes longer than either of them.  Needs Debian's
libudt-dev and g++.
"""

import functools
import os

from benchmarks.figures import Bar, Row, compared, line, plain
from benchmarks.samples import interleave
from benchmarks.udt_ends import LIBUDT, OURS, libudt, ours, ping

__all__ = ["measure"]

_BAR = Bar(1.0, 0.7, higher=False)
_SIZE = 64
_SECONDS = 2.0


def measure(runs: int = 5, seconds: float = _SECONDS, carrier: str = "") -> Row:
    """Take the figure; parameters as for :func:`benchmarks.udt.measure`."""
    kinds = {OURS: ours(carrier), LIBUDT: libudt()}
    processor = max(os.sched_getaffinity(0))
    taken = interleave(
        {
            name: functools.partial(ping, kind, size=_SIZE, seconds=seconds, processor=processor)
            for name, kind in kinds.items()
        },
        runs,
    )
    row = compared(
        "UDT, 64 bytes there and back, p50",
        "us",
        "p50_us",
        taken[OURS],
        taken[LIBUDT],
        _BAR,
        peer="libudt",
    )
    return line(
        [row],
        runs=runs,
        settings={
            **{name: kind.settings for name, kind in kinds.items()},
            "bytes": _SIZE,
            "seconds": seconds,
            "processor": processor,
        },
        medians={name: plain(samples) for name, samples in taken.items()},
    )
