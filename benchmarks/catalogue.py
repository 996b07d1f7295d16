"""Every benchmark by name: its module, how long it takes, what it needs."""

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["CATALOGUE", "Entry", "UnknownFigure", "find"]


class UnknownFigure(LookupError):
    """There is no benchmark of that name; the text lists those that there are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark.

    :ivar name: as people type it.
    :ivar module: in this package; its ``measure`` takes the figure.
    :ivar seconds: that one run of all kinds takes, about.
    :ivar packages: Debian packages of the peers.
    :ivar root: whether it makes network namespaces.
    :ivar judged: whether it gives judged figures (:mod:`benchmarks.figures`); ``all`` takes these.
    :ivar runs: of each kind, unless told otherwise.
    """

    name: str
    module: str
    seconds: float
    packages: tuple[str, ...] = ()
    root: bool = False
    judged: bool = True
    runs: int = 5

    def load(self) -> ModuleType:
        """Import its module."""
        return importlib.import_module(f"benchmarks.{self.module}")

    @property
    def title(self) -> str:
        """The first line of its module's text, which is not run for that."""
        source = Path(__file__).with_name(f"{self.module}.py").read_text(encoding="utf-8")
        text = ast.get_docstring(ast.parse(source)) or ""
        return text.partition("\n")[0].rstrip(".")


_UDT = ("libudt-dev",)

CATALOGUE = (
    Entry("udt", "udt", 13, _UDT),
    Entry("udt-nat", "udt_nat", 13, _UDT, root=True),
    Entry("udt-wire", "udt_wire", 13, _UDT, root=True),
    Entry("udt-loss", "udt_loss", 35, _UDT, root=True),
    Entry("udt-flows", "udt_flows", 14, _UDT),
    Entry("udt-tls", "udt_tls", 16),
    Entry("udt-idle", "udt_idle", 8, _UDT, runs=3),
    Entry("udt-ping", "udt_ping", 6, _UDT),
    Entry("stun", "stun", 20, ("coturn",)),
    Entry("introductions", "introductions", 12),
    Entry("registrations", "registrations", 500, runs=1),
    Entry("relay-setup", "relay_setup", 12, ("haproxy",)),
    Entry("relay-memory", "relay_memory", 25, ("haproxy",), runs=3),
    Entry("relay", "relay", 60, ("haproxy",)),
    Entry("congestion", "congestion", 300, judged=False),
    Entry("first_byte", "first_byte", 10, root=True, judged=False),
    Entry("holes", "holes", 15, root=True, judged=False),
    Entry("parking", "parking", 60, judged=False),
    Entry("tls", "tls", 4, judged=False),
    Entry("tunnel", "tunnel", 30, judged=False, runs=3),
)
"""In the order of the table."""


def find(name: str) -> Entry:
    """Find a benchmark.

    :raises UnknownFigure: there is none of that name.
    """
    for entry in CATALOGUE:
        if name == entry.name:
            return entry
    known = ", ".join(entry.name for entry in CATALOGUE)
    raise UnknownFigure(f"There is no figure {name!r}; there are {known}.")
