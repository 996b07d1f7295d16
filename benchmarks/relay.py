"""The relay's join against HAProxy (TCP mode) and magic-wormhole's transit relay, interleaved.

Needs Debian's haproxy, and the extra ``wavesync[benchmark]`` for the transit relay.
"""

import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.relay_load import ping, stream, talk_beside
from benchmarks.relay_parked import parked_kb
from benchmarks.relay_peers import KINDS, cpu_seconds, resident, started

__all__ = ["measure"]

_SECONDS = 3.0
_PINGS = 4000
_BULK = 8
_PAIRS = 1000
_PARKED = 5000

_Figures = dict[str, float]


def _streams(kind: str, count: int, seconds: float, directory: Path) -> _Figures:
    with started(kind, directory) as relay:
        pairs = [relay.pair() for _ in range(count)]
        pid = relay.pid
        received, took, cpu = stream(pairs, seconds, lambda: cpu_seconds(pid) if pid else 0.0)
        _close(pairs)
    return {
        f"gbit_s_{count}": received * 8e-9 / took,
        f"cpu_s_per_gb_{count}": cpu / (received / 1e9),
    }


def _close(pairs: list) -> None:  # type: ignore[type-arg]
    for pair in pairs:
        for end in pair:
            end.close()


def _latency(kind: str, directory: Path) -> _Figures:
    """Everything on one CPU: a wake-up of another one takes longer than a relay."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        with started(kind, directory) as relay:
            pair = relay.pair()
            ping(pair, _PINGS // 10)
            took = ping(pair, _PINGS)
            _close([pair])
    finally:
        os.sched_setaffinity(0, everywhere)
    return {"ping_us": statistics.median(took), "ping_p99_us": took[len(took) * 99 // 100]}


def _beside(kind: str, seconds: float, directory: Path) -> _Figures:
    with started(kind, directory) as relay:
        pairs = [relay.pair() for _ in range(_BULK + 1)]
        took, received = talk_beside(pairs[0], pairs[1:], seconds)
        _close(pairs)
    return {
        "beside_ms": statistics.median(took),
        "beside_p99_ms": took[len(took) * 99 // 100],
        "beside_gbit_s": received * 8e-9 / seconds,
    }


def _memory(kind: str, directory: Path) -> _Figures:
    with started(kind, directory) as relay:
        assert relay.pid is not None
        pairs = [relay.pair() for _ in range(10)]
        ping(pairs[-1], 10)
        before = resident(relay.pid)
        pairs += [relay.pair() for _ in range(_PAIRS)]
        ping(pairs[-1], 10)
        grown = resident(relay.pid) - before
        _close(pairs)
    return {"pair_kb": grown / _PAIRS / 1024}


def _ratio(one: _Figures, other: _Figures) -> _Figures:
    return {name: round(one[name] / other[name], 3) for name in one if other.get(name)}


def measure(runs: int = 5, seconds: float = _SECONDS) -> dict[str, object]:
    """Take the figures.

    :param runs: measurements of each kind, interleaved.
    :param seconds: length of each with streams.
    """
    taken: dict[str, dict[str, list[float]]] = {kind: {} for kind in ("direct", *KINDS)}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for _ in range(runs):
            for kind, figures in taken.items():
                each = _streams(kind, 1, seconds, directory)
                each |= _streams(kind, 50, seconds, directory)
                each |= _latency(kind, directory)
                if kind != "direct":
                    each |= _beside(kind, seconds, directory)
                    each |= _memory(kind, directory)
                for figure, value in each.items():
                    figures.setdefault(figure, []).append(value)
        parked = {
            name: round(parked_kb(_PARKED, directory, tls=name == "tls"), 2)
            for name in ("plain", "tls")
        }
    medians = {
        kind: {figure: round(statistics.median(values), 3) for figure, values in figures.items()}
        for kind, figures in taken.items()
    }
    for kind in KINDS:
        added = medians[kind]["ping_us"] - medians["direct"]["ping_us"]
        medians[kind]["added_ping_us"] = round(added, 3)
    ours = medians["ours"]
    ratios = {f"ours/{kind}": _ratio(ours, medians[kind]) for kind in KINDS if kind != "ours"}
    return {**medians, **ratios, "parked_kb": parked, "parked": _PARKED, "runs": runs}
