"""What clients can make a server hold of sessions."""

__all__ = [
    "DIAL_WITHIN",
    "EARLY_BYTES",
    "EVENT_SIZE",
    "MAX_PENDING",
    "MAX_SESSIONS",
    "MAX_SESSIONS_PER_CLIENT",
]

MAX_SESSIONS = 2048
"""Sessions with an open service at one time; the next OPEN is refused."""

MAX_SESSIONS_PER_CLIENT = 1024
"""The same for one client, so that none can take all places: the next OPEN is refused."""

MAX_PENDING = 256
"""Paths at one time that have not sent OPEN (yet).  For one more, a path goes on which nobody has
shown who he is: the oldest from the source with most of those.  Where there is none, the oldest of the
client with most goes, if it has several.  So nobody can shut out others."""

EARLY_BYTES = 65536
"""Bytes of a client taken while its service is being dialled; then its path is paused."""

EVENT_SIZE = 128
"""Bytes that each piece of them counts for in addition: what it takes to keep it."""

DIAL_WITHIN = 20.0
"""Seconds that a service has to take a connection."""
