"""Where the packets of a connection's turn go: into a list, or on their way at once."""

from collections.abc import Callable
from typing import Protocol

from wavesync.interfaces import Address, Burst

__all__ = ["Outgoing", "Straight"]


class Outgoing(Protocol):
    """What packets are put into; a list is one."""

    def append(self, burst: Burst, /) -> None:
        """Put a burst behind those that are there."""

    def __len__(self) -> int:
        """:return: how many bursts were put into it."""


class Straight:
    """Sends each burst before the next is made: it is still in the processor's cache, and so is the memory
    that the next one then gets.

    :param send: sends one.
    :param remote: where to.
    """

    __slots__ = ("_count", "_remote", "_send")

    def __init__(self, send: Callable[[Burst, Address], None], remote: Address) -> None:
        self._send = send
        self._remote = remote
        self._count = 0

    def append(self, burst: Burst, /) -> None:
        """Send it."""
        self._count += 1
        self._send(burst, self._remote)

    def __len__(self) -> int:
        """:return: how many were sent."""
        return self._count
