"""The timeline of one connect: what was tried, when, and why it won or lost."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wavesync.interfaces import Address
from wavesync.signalling.network_summary import NetworkSummary

__all__ = ["MAX_CANDIDATES", "MAX_CONNECTIONS", "STAGES", "Candidate", "Timeline", "format_address"]

MAX_CANDIDATES = 128
"""Candidates a timeline remembers; further ones are counted only."""

MAX_CONNECTIONS = 8
"""Connection ids that a timeline remembers."""

STAGES = ("introduced", "authenticated", "accepted", "first_byte")
"""The milestones of a connect, in order."""


def format_address(address: Address) -> str:
    """``host:port``, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(slots=True)
class Candidate:
    """One address tried.

    :ivar kind: ``lan``, ``tcp``, ``udp`` or ``relay``.
    :ivar started: milliseconds after the connect began.
    :ivar ended: the same, or ``None`` while it is being tried.
    :ivar result: ``trying``, ``won``, ``lost`` (another was faster) or ``failed``.
    :ivar why: a few words on the result.
    :ivar way: how a relay was reached that was used: its address, the proxy in between, the tunnel.
    """

    kind: str
    address: str
    started: float
    ended: float | None = None
    result: str = "trying"
    why: str = ""
    way: str = ""


@dataclass(slots=True)
class Timeline:
    """What happened during one connect.

    :ivar target: what was asked for.
    :ivar clock: gives seconds.
    :ivar connections: the ids by which mediator, relay and server know this connect; one for each
        time that it had to begin anew, the last one last.
    :ivar network: what the server tells of its network, where it was introduced.
    """

    target: str
    clock: Callable[[], float]
    server: str | None = None
    path: str | None = None
    reused: bool = False
    outcome: str = "trying"
    ms: dict[str, float] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    left_out: int = 0
    connections: list[str] = field(default_factory=list)
    network: NetworkSummary | None = None
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def connection_id(self) -> str:
        """The connection id under which it goes on; empty before there is one."""
        return self.connections[-1] if self.connections else ""

    def known_as(self, connection_id: str) -> None:
        """Mediator, relay and server know it by this id from now on."""
        self.connections.append(connection_id)
        del self.connections[:-MAX_CONNECTIONS]

    def elapsed(self) -> float:
        """Milliseconds since the connect began."""
        return round((self.clock() - self.began) * 1000, 3)

    def mark(self, stage: str) -> None:
        """A milestone of :data:`STAGES` is reached; only the first time counts."""
        self.ms.setdefault(stage, self.elapsed())

    def candidate(self, kind: str, address: Address) -> Candidate:
        """An address is being tried from now on."""
        entry = Candidate(kind, format_address(address), self.elapsed())
        if len(self.candidates) < MAX_CANDIDATES:
            self.candidates.append(entry)
        else:
            self.left_out += 1
        return entry

    def close(self, entry: Candidate, result: str, why: str = "") -> None:
        """An address was tried to the end; only the first verdict counts."""
        if entry.ended is None:
            entry.ended, entry.result, entry.why = self.elapsed(), result, why

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, as ``--report`` writes it."""
        return {
            "connections": list(self.connections),
            "target": self.target,
            "server": self.server,
            "path": self.path,
            "reused": self.reused,
            "outcome": self.outcome,
            "ms": {stage: self.ms.get(stage) for stage in STAGES},
            "candidates": [
                {name: getattr(entry, name) for name in Candidate.__slots__}
                for entry in self.candidates
            ],
            "candidates_left_out": self.left_out,
            "network": None if self.network is None else self.network.words(),
        }

    def as_line(self) -> str:
        """The report as one line of JSON, newline included."""
        return json.dumps(self.as_dict(), separators=(",", ":")) + "\n"

    def as_json(self) -> str:
        """The report as JSON text with a newline at its end."""
        return json.dumps(self.as_dict(), indent=2) + "\n"
