"""What an agent counts, in memory; nothing here grows with what others send."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "ASKED",
    "BEGUN",
    "CONNECTED",
    "ENDED",
    "MISSED",
    "REFUSED",
    "TAKEN",
    "TOO_MANY",
    "WITHOUT_UDP",
    "Statistics",
]

BEGUN: Final = "begun"
"""A client that a mediator told of is called."""
WITHOUT_UDP: Final = "without-udp"
"""It has no UDP address: it comes by itself."""
TOO_MANY: Final = "too-many"
"""It is one too many just now."""
REFUSED: Final = "refused"
"""It has shown no good proof, or the mediator talks nonsense."""
CONNECTED: Final = "connected"
"""A connection came to stand."""
MISSED: Final = "missed"
"""None did: most clients have found another path by then."""
TAKEN: Final = "taken"
"""A client that came through a relay is served."""

ASKED = (BEGUN, WITHOUT_UDP, TOO_MANY, REFUSED)
"""What becomes of a client that a mediator tells of."""

ENDED = (CONNECTED, MISSED)
"""What becomes of calling it."""


@dataclass(slots=True)
class Statistics:
    """Counts since the start; keys are the words above.

    :ivar introductions: clients that mediators told of, to be met over UDP.
    :ivar rendezvous: how that ended.
    :ivar openings: clients that mediators told of, to be dialled over TCP from both ends.
    :ivar streams: how that ended.
    :ivar relayed: clients that came through relays.
    """

    introductions: Counter[str] = field(default_factory=Counter)
    rendezvous: Counter[str] = field(default_factory=Counter)
    openings: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    relayed: Counter[str] = field(default_factory=Counter)
