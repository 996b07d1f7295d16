"""The relay's join against HAProxy (TCP mode) and magic-wormhole's transit relay, interleaved.

Throughput of 1 and 50 streams, CPU time, added latency, and a conversation beside 8 streams.  Needs
the extra ``wavesync[benchmark]`` for the transit relay.
"""

import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.figures import Bar, Row, absolute, compared, line, plain
from benchmarks.relay_load import ping, stream, talk_beside
from benchmarks.relay_peers import cpu_seconds, started
from benchmarks.samples import Sample, interleave

__all__ = ["measure"]

_SECONDS = 3.0
_PINGS = 4000
_BULK = 8
_KINDS = ("direct", "ours", "haproxy", "haproxy_splice", "transit")
_PEERS = {
    "haproxy": "HAProxy",
    "haproxy_splice": "HAProxy splicing, 1 MiB pipes",
    "transit": "magic-wormhole-transit-relay",
}
# What, unit, value, the peer, what the ratio has to be.
_FIGURES = (
    ("relay, 50 streams", "Gbit/s", "gbit_s_50", "haproxy", Bar(2.2, 3)),
    ("relay, 50 streams, CPU", "s/GB", "cpu_s_per_gb_50", "haproxy", Bar(0.35, 0.2, higher=False)),
    ("relay, 50 streams", "Gbit/s", "gbit_s_50", "haproxy_splice", Bar(0.9, 1.2)),
    ("relay, 1 stream", "Gbit/s", "gbit_s_1", "haproxy", Bar(1.6, 2.2)),
    ("relay, 1 stream", "Gbit/s", "gbit_s_1", "transit", Bar(2.2, 3)),
    ("relay, added p50 latency", "us", "added_us", "haproxy", Bar(1.6, 1.25, higher=False)),
)
_BESIDE = Bar(1.0, 1.0, higher=False)


def _streams(kind: str, count: int, seconds: float, directory: Path) -> Sample:
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


def _latency(kind: str, directory: Path) -> Sample:
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


def _beside(kind: str, seconds: float, directory: Path) -> Sample:
    with started(kind, directory) as relay:
        pairs = [relay.pair() for _ in range(_BULK + 1)]
        took, received = talk_beside(pairs[0], pairs[1:], seconds)
        _close(pairs)
    return {
        "beside_ms": statistics.median(took),
        "beside_p99_ms": took[len(took) * 99 // 100],
        "beside_gbit_s": received * 8e-9 / seconds,
    }


def _sample(kind: str, seconds: float, directory: Path) -> Sample:
    sample = {**_streams(kind, 1, seconds, directory), **_streams(kind, 50, seconds, directory)}
    sample.update(_latency(kind, directory))
    if kind != "direct":
        sample.update(_beside(kind, seconds, directory))
    return sample


def measure(runs: int = 5, *, seconds: float = _SECONDS) -> Row:
    """Take the figures.

    :param runs: measurements of each kind, interleaved.
    :param seconds: length of each with streams.
    """
    with tempfile.TemporaryDirectory() as name:
        kinds = {kind: partial(_sample, kind, seconds, Path(name)) for kind in _KINDS}
        taken = interleave(kinds, runs)
    for kind in _PEERS.keys() | {"ours"}:
        taken[kind] = [
            {**sample, "added_us": sample["ping_us"] - direct["ping_us"]}
            for sample, direct in zip(taken[kind], taken["direct"], strict=True)
        ]
    ours = taken["ours"]
    rows = [
        compared(what, unit, name, ours, taken[peer], bar, peer=_PEERS[peer])
        for what, unit, name, peer, bar in _FIGURES
    ]
    rows.append(
        absolute(
            f"relay, 64 bytes beside {_BULK} streams, p50",
            "ms",
            "beside_ms",
            ours,
            _BESIDE,
            peers=taken["haproxy_splice"],
            peer=_PEERS["haproxy_splice"],
        )
    )
    medians = {kind: plain(samples) for kind, samples in taken.items()}
    return line(rows, runs=runs, settings={"seconds": seconds}, medians=medians)
