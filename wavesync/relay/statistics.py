"""What a relay counts, in memory; nothing here grows with what peers send."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Statistics"]


@dataclass(slots=True)
class Statistics:
    """Counts since the start.

    :ivar connections: connections accepted.
    :ivar parked: connections that servers parked.
    :ivar dead: parked connections that did not answer any more.
    :ivar asked: clients with a good proof that asked for a server.
    :ivar waited: those of them that had to wait for a connection.
    :ivar retried: times that a server's connection did not take a client, so that another was tried.
    :ivar redirected: clients sent to another relay.
    :ivar joined: pairs begun.
    :ivar ended: pairs that are over, by reason ("done", "client-broke", "idle", ...).
    :ivar up: bytes from clients to servers, of pairs that are over.
    :ivar down: the same the other way.
    :ivar lists: revocation lists taken.
    :ivar refused: refusals by reason: a short word, one of a fixed set.
    """

    connections: int = 0
    parked: int = 0
    dead: int = 0
    asked: int = 0
    waited: int = 0
    retried: int = 0
    redirected: int = 0
    joined: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    up: int = 0
    down: int = 0
    lists: int = 0
    refused: Counter[str] = field(default_factory=Counter)
