"""Memory of the relay: for each joined pair beside HAProxy, and for each parked connection over TLS."""

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.figures import Bar, Row, absolute, compared, line
from benchmarks.relay_load import ping
from benchmarks.relay_parked import parked_kb
from benchmarks.relay_peers import resident, started
from benchmarks.samples import Sample, interleave

__all__ = ["measure", "pair_kb"]

_PAIRS = 1000
_PARKED = 2000
_PAIR = Bar(0.8, 0.4, higher=False)
_PARKED_TLS = Bar(30, 16, higher=False)


def pair_kb(kind: str, directory: Path, count: int = _PAIRS) -> float:
    """Join pairs and leave them idle.

    :param kind: one of :data:`benchmarks.relay_peers.KINDS`.
    :param directory: for its files.
    :return: kilobytes that the relay's process grew by, for each.
    """
    with started(kind, directory) as relay:
        assert relay.pid is not None
        pairs = [relay.pair() for _ in range(10)]
        ping(pairs[-1], 10)
        before = resident(relay.pid)
        pairs += [relay.pair() for _ in range(count)]
        ping(pairs[-1], 10)
        grown = resident(relay.pid) - before
        for pair in pairs:
            for end in pair:
                end.close()
    return grown / count / 1024


def _pair(kind: str, directory: Path) -> Sample:
    return {"kb": pair_kb(kind, directory)}


def measure(runs: int = 3, *, parked: int = _PARKED) -> Row:
    """Take the figures.

    :param runs: of each kind, interleaved.
    :param parked: how many connections are parked.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        kinds = {kind: partial(_pair, kind, directory) for kind in ("ours", "haproxy")}
        taken = interleave(kinds, runs)
        tls = [{"kb": parked_kb(parked, directory, tls=True)} for _ in range(runs)]
        plain = parked_kb(parked, directory, tls=False)
    rows = [
        compared(
            "memory of a relayed pair",
            "KB",
            "kb",
            taken["ours"],
            taken["haproxy"],
            _PAIR,
            peer="HAProxy",
        ),
        absolute("memory of a connection parked over TLS", "KB", "kb", tls, _PARKED_TLS),
    ]
    settings = {"pairs": _PAIRS, "parked": parked}
    return line(rows, runs=runs, settings=settings, parked_plain_kb=round(plain, 2))
