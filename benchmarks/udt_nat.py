"""One UDT flow through a router that masquerades by nftables: ours against libudt 4.11.

Needs root (network namespaces), the packages of the NAT laboratory, libudt-dev and g++.
"""

from benchmarks.figures import Bar, Row
from benchmarks.udt import SECONDS, measure_flow
from benchmarks.udt_places import masqueraded

__all__ = ["measure"]

_BAR = Bar(6, 10)


def measure(runs: int = 5, seconds: float = SECONDS, carrier: str = "") -> Row:
    """Take the figure; parameters as for :func:`benchmarks.udt.measure`."""
    with masqueraded() as place:
        return measure_flow(
            "UDT, one flow, through masquerade", place, _BAR, runs, seconds, carrier=carrier
        )
