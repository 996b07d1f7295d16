"""What a mediator counts, in memory; nothing here grows with what peers send."""

from collections import Counter
from dataclasses import dataclass, field

from wavesync.histogram import Histogram
from wavesync.signalling.introducing import ConnectionResult
from wavesync.signalling.numbers import ConnectType, ResultCode

__all__ = ["OUTCOMES", "PATHS", "Statistics"]

_PATHS = {
    ConnectType.NONE: "none",
    ConnectType.TCP: "tcp",
    ConnectType.UDP: "udp",
    ConnectType.RELAY: "relay",
    ConnectType.LAN: "lan",
}
_SEVERAL, _OTHER = "several", "other"

PATHS = (*_PATHS.values(), _SEVERAL)
"""The words for what carries a connection."""

_OUTCOMES = {code: code.name.lower().replace("_", " ") for code in ResultCode}

OUTCOMES = (*_OUTCOMES.values(), _OTHER)
"""The words for how an attempt to connect ends."""


@dataclass(slots=True)
class Statistics:
    """Counts since the start.

    :ivar registrations: servers that registered.
    :ivar superseded: registrations ended by a newer one of the same server.
    :ivar introductions: clients introduced to a server.
    :ivar acknowledged: introductions whose server began to punch.
    :ivar unreported: introductions that ended without a result from the client.
    :ivar updates: ``connectionUpdate`` indications sent, repeats included.
    :ivar streams: introductions whose two sides were asked to dial each other over TCP.
    :ivar dropped: datagrams and messages dropped as garbage, out of turn, or beyond a bucket.
    :ivar refused: error answers by code.
    :ivar results: reports of clients, by the path that won ("tcp", "udp", ..., "none"; "several"
        for a report that makes no sense) and the
        result's name in small letters.
    :ivar durations: for each path, from asking to the verified path, as clients report it.
    """

    registrations: int = 0
    superseded: int = 0
    introductions: int = 0
    acknowledged: int = 0
    unreported: int = 0
    updates: int = 0
    streams: int = 0
    dropped: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: dict[str, Histogram] = field(
        default_factory=lambda: {path: Histogram() for path in PATHS}
    )

    def report(self, result: ConnectionResult) -> tuple[str, str]:
        """Count a client's report and return its path and outcome as words."""
        path = _PATHS.get(result.connect_type, _SEVERAL)
        outcome = _OTHER
        if result.result in _OUTCOMES:
            outcome = _OUTCOMES[ResultCode(result.result)]
        self.results[path, outcome] += 1
        if result.result == ResultCode.OK:
            self.durations[path].observe(result.duration)
        return path, outcome
