"""What a relay needs of a store that several relays share."""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

__all__ = ["ALIVE", "KEPT", "MAX_FOUND", "SharedStore", "StoreError"]

ALIVE = 5.0
"""Seconds for which a relay counts as alive after its last :meth:`SharedStore.beat`."""

KEPT = 90.0
"""Seconds for which the store keeps where a server is, after it was told last."""

MAX_FOUND = 8
"""Relays in one answer."""


class StoreError(Exception):
    """It did not work; says why in a few words."""


class SharedStore(Protocol):
    """A connection to the store.

    All Deferreds fail with :class:`StoreError`; they can be cancelled.  Relays are URLs, servers
    ``SERVER.SYSTEM``; a *life* is a random text that a relay chooses anew whenever it cannot be sure
    what the store knows: what it told in an earlier life is not believed any more.

    :ivar lost: fires when the connection is gone.
    """

    lost: Deferred[None]

    def beat(self, relay: str, life: str) -> Deferred[str | None]:
        """Be alive for another :data:`ALIVE` seconds.

        :returns: fires with the life that the store knew before, ``None`` for none.
        """

    def end(self, relay: str, life: str) -> Deferred[None]:
        """Be dead, unless another life has begun."""

    def here(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """Servers are at a relay."""

    def gone(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """Servers are not at a relay any more."""

    def find(self, server: str, but: str) -> Deferred[list[str]]:
        """Look where a server is.

        :param but: a relay that is not to be named.
        :returns: fires with relays that are alive, :data:`MAX_FOUND` at most.
        """

    def close(self) -> None:
        """Close the connection."""
