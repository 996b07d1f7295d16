"""One UDT flow over loopback with TLS end to end, and with a whole session, against the bare one.

All three are ours: TLS is that of sessions (both ends verified, AES-GCM); a session adds its frames.
"""

import functools
import tempfile
from pathlib import Path

from benchmarks.figures import Bar, Row, compared, line, plain
from benchmarks.samples import interleave
from benchmarks.udt_ends import flow, ours
from benchmarks.udt_layers import make_credentials

__all__ = ["measure"]

_BAR = Bar(0.35, 0.5)
_SECONDS = 4.0
_BARE = "bare"


def measure(runs: int = 5, seconds: float = _SECONDS, carrier: str = "") -> Row:
    """Take the figures; parameters as for :func:`benchmarks.udt.measure`."""
    with tempfile.TemporaryDirectory() as directory:
        make_credentials(Path(directory))
        kinds = {_BARE: ours(carrier)}
        kinds |= {layer: ours(carrier, (layer, directory)) for layer in ("tls", "session")}
        taken = interleave(
            {name: functools.partial(flow, kind, seconds=seconds) for name, kind in kinds.items()},
            runs,
        )
    rows = [
        compared(what, "Mbit/s", "mbit_s", taken[name], taken[_BARE], _BAR, peer="without")
        for name, what in (
            ("tls", "UDT with TLS end to end"),
            ("session", "UDT with TLS and a session's frames"),
        )
    ]
    return line(
        rows,
        runs=runs,
        settings={"ours": kinds[_BARE].settings, "seconds": seconds},
        medians={name: plain(samples) for name, samples in taken.items()},
    )
