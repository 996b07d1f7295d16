"""Fifty UDT flows at a time between two UDP ports: ours against libudt 4.11, on loopback.

Needs Debian's libudt-dev and g++.
"""

from benchmarks.figures import Bar, Row
from benchmarks.udt import SECONDS, measure_flow
from benchmarks.udt_places import LOOPBACK

__all__ = ["measure"]

_BAR = Bar(4, 8)
_FLOWS = 50


def measure(runs: int = 5, seconds: float = SECONDS, carrier: str = "", flows: int = _FLOWS) -> Row:
    """Take the figure; parameters as for :func:`benchmarks.udt.measure`.

    :param flows: at a time.
    """
    what = f"UDT, {flows} flows on one port, loopback"
    return measure_flow(what, LOOPBACK, _BAR, runs, seconds, carrier=carrier, flows=flows)
