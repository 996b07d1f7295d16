"""One UDT flow as a wire would carry it: the kernel cuts bundles where they leave, nobody mends them.

Through the router of ``udt-nat``, with ``tx-udp-segmentation`` off at the sender's device, as for a
network card without it, and no GRO.  Needs root (network namespaces), the packages of the NAT
laboratory, ethtool, libudt-dev and g++.
"""

from benchmarks.figures import Bar, Row
from benchmarks.udt import SECONDS, measure_flow
from benchmarks.udt_places import masqueraded

__all__ = ["measure"]

_BAR = Bar(1.25, 1.8)


def measure(runs: int = 5, seconds: float = SECONDS, carrier: str = "") -> Row:
    """Take the figure; parameters as for :func:`benchmarks.udt.measure`."""
    with masqueraded(wire_like=True) as place:
        return measure_flow("UDT, one flow, wire-like", place, _BAR, runs, seconds, carrier=carrier)
