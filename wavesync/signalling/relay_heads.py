"""What the heads of a relay's requests and answers share, besides what all heads do."""

from wavesync.tunnel.heads import (
    MAX_HEAD,
    MAX_INTERIM,
    HeadError,
    Headers,
    HeadReader,
    field_map,
    number_field,
    seconds_field,
    switches_to,
)

__all__ = [
    "MAX_HEAD",
    "MAX_INTERIM",
    "RELAY_PROTOCOL",
    "HeadError",
    "HeadReader",
    "Headers",
    "field_map",
    "number_field",
    "seconds_field",
    "wants_upgrade",
]

RELAY_PROTOCOL = "wavesync-relay/1"
"""What an accepted request turns into, in the Upgrade header."""


def wants_upgrade(headers: Headers) -> bool:
    """Tell whether a head asks for, or agrees to, :data:`RELAY_PROTOCOL`."""
    return switches_to(headers, RELAY_PROTOCOL)
