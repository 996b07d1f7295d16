"""What the heads of a relay's requests and answers share, besides what all heads do."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

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
    "MessageReader",
    "field_map",
    "number_field",
    "seconds_field",
    "wants_upgrade",
]

_M = TypeVar("_M")

RELAY_PROTOCOL = "wavesync-relay/1"
"""What an accepted request turns into, in the Upgrade header."""


def wants_upgrade(headers: Headers) -> bool:
    """Tell whether a head asks for, or agrees to, :data:`RELAY_PROTOCOL`."""
    return switches_to(headers, RELAY_PROTOCOL)


class MessageReader(Generic[_M]):
    """Reads the head of one request or answer.

    :param side: whose heads we read: ``h11.SERVER`` reads requests, ``h11.CLIENT`` answers.
    :param read: gives what a head says; may raise :class:`HeadError`.
    """

    __slots__ = ("_head", "_read")

    def __init__(self, side: Any, read: Callable[[Any], _M]) -> None:
        self._head = HeadReader(side)
        self._read = read

    @property
    def rest(self) -> bytes:
        """What was fed behind the head: after a 101, the first bytes from the other side."""
        return self._head.rest

    def feed(self, data: bytes) -> _M | None:
        """Take more bytes; give what the head says once it is whole.  Feed no more after that.

        :raises HeadError: it is none of ours.
        """
        event = self._head.feed(data)
        return None if event is None else self._read(event)
