"""One UDT flow over a link of 100 Mbit/s and 20 ms that loses 1 % of the packets, libudt beside it.

Needs root (network namespaces), the packages of the NAT laboratory, libudt-dev and g++.
"""

from benchmarks.figures import Bar, Row, absolute, line, plain
from benchmarks.samples import interleave
from benchmarks.udt_ends import LIBUDT, OURS, Kind, best_libudt, flow, ours
from benchmarks.udt_places import lossy

__all__ = ["measure"]

_BAR = Bar(0.80, 0.93)
_RATE = 100.0  # Mbit/s
_ROUND_TRIP = 0.020
_LOSS = 0.01
_QUEUE = 1.0  # bandwidth-delay products
_SECONDS = 8.0


def measure(runs: int = 5, seconds: float = _SECONDS, carrier: str = "") -> Row:
    """Take the figure: payload delivered, start-up included, as a share of the link's rate.

    Parameters as for :func:`benchmarks.udt.measure`.
    """
    with lossy(rate=_RATE, round_trip=_ROUND_TRIP, loss=_LOSS, queue=_QUEUE) as place:

        def share(kind: Kind) -> dict[str, float]:
            figures = flow(kind, place, seconds=seconds)
            return {"share": figures["mbit_s"] / _RATE, **figures}

        best, tried = best_libudt(lambda kind: share(kind)["mbit_s"])
        kinds = {OURS: ours(carrier), LIBUDT: best}
        taken = interleave(
            {OURS: lambda: share(kinds[OURS]), LIBUDT: lambda: share(kinds[LIBUDT])}, runs
        )
    row = absolute(
        "UDT, 1 % loss, 20 ms, 100 Mbit/s: share of the link",
        "of the link",
        "share",
        taken[OURS],
        _BAR,
        peers=taken[LIBUDT],
        peer="libudt",
    )
    return line(
        [row],
        runs=runs,
        settings={
            **{name: kind.settings for name, kind in kinds.items()},
            "mbit_s": _RATE,
            "round_trip_ms": 1e3 * _ROUND_TRIP,
            "loss_each_way": _LOSS,
            "queue_bdp": _QUEUE,
            "seconds": seconds,
            "libudt_tried_mbit_s": tried,
        },
        medians={name: plain(samples) for name, samples in taken.items()},
    )
