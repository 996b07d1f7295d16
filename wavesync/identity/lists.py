"""The newest revocation lists of many systems, for a mediator or a relay that serves all of them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from wavesync.identity.crl import MAX_CRL, RevocationList

__all__ = ["LIST_SHARE", "MAX_LISTS_SIZE", "Lists", "ListsFull"]

MAX_LISTS_SIZE = 16_777_216
"""Bytes of all lists together unless the settings say otherwise: the longest lists of 64 systems, or
short ones of tens of thousands."""

LIST_SHARE = 8_192
"""Bytes of a list that are charged as a proof is: reading them takes a few milliseconds at most."""


class ListsFull(Exception):
    """There is no room for this list among those of systems that have servers here."""


class Lists:
    """The newest list of each system, in a bounded number of bytes.

    :param limit: bytes of all lists.
    :param in_use: tells whether a system has a server registered: its list is never dropped to
        make room for another.
    :param on_drop: is told of the systems whose lists were dropped.
    """

    def __init__(
        self,
        limit: int = MAX_LISTS_SIZE,
        in_use: Callable[[str], bool] = lambda system: False,
        on_drop: Callable[[Sequence[str]], None] = lambda systems: None,
    ) -> None:
        self._limit = limit
        self._in_use = in_use
        self._on_drop = on_drop
        self._lists: OrderedDict[str, RevocationList] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        """Count the systems that have a list."""
        return len(self._lists)

    def number(self, system: str) -> int:
        """Number of a system's list; 0 without one."""
        found = self._lists.get(system)
        return 0 if found is None else found.number

    def der(self, system: str) -> bytes:
        """A system's list; empty without one."""
        found = self._lists.get(system)
        return b"" if found is None else found.der

    def revoked(self, system: str, serial: int) -> bool:
        """Tell whether a system has revoked the certificate with this serial number."""
        found = self._lists.get(system)
        return found is not None and serial in found.revoked

    def add(self, new: RevocationList) -> None:
        """Keep a list in place of the system's older one.

        :raises ListsFull: there is no room.
        """
        growth = len(new.der) - len(self.der(new.system))
        if self.size + growth > self._limit:
            self._make_room(growth, new.system)
        self._lists.pop(new.system, None)
        self._lists[new.system] = new
        self.size += growth

    def _make_room(self, growth: int, keep: str) -> None:
        """Drop the oldest lists of systems without a server here, if that is enough."""
        dropped = []
        size = self.size
        for system, old in self._lists.items():
            if size + growth <= self._limit:
                break
            if system != keep and not self._in_use(system):
                dropped.append(system)
                size -= len(old.der)
        if size + growth > self._limit:
            raise ListsFull
        for system in dropped:
            del self._lists[system]
        self.size = size
        self._on_drop(dropped)


assert MAX_LISTS_SIZE >= MAX_CRL, "the longest list of one system has room"
