"""A search for servers on this network, without sockets or a clock of its own."""

from collections.abc import Callable

from wavesync.interfaces import Address
from wavesync.lan.wire import NONCE_SIZE, Keys, LanError

__all__ = ["MAX_FOUND", "OFFSETS", "SEARCH_TIME", "Search"]

OFFSETS = (0.0, 0.05, 0.15)
"""Seconds after the beginning at which the query is sent: two of three may be lost."""

SEARCH_TIME = 0.5
"""Seconds for answers to come."""

MAX_FOUND = 16
"""Places that one search finds at most: whoever knows the system's id could name many."""


class Search:
    """One search.

    :param server: the id of the one server that is wanted; ``None`` for any.
    :param now: when it begins, in seconds of any clock that only goes forward.
    :param random: gives so many random bytes.
    :ivar found: the servers' ids and the addresses found so far.
    """

    def __init__(
        self, keys: Keys, server: str | None, now: float, random: Callable[[int], bytes]
    ) -> None:
        self.found: list[tuple[str, Address]] = []
        self._keys = keys
        self._server = server
        self._nonce = random(NONCE_SIZE)
        self._query = keys.query(self._nonce, server)
        self._times = [now + offset for offset in OFFSETS]
        self._until = now + SEARCH_TIME

    def query(self, now: float) -> bytes | None:
        """Give the query if it is time to send it."""
        if not self._times or now < self._times[0]:
            return None
        while self._times and now >= self._times[0]:
            del self._times[0]
        return self._query

    def deadline(self) -> float:
        """When something has to be done next."""
        return self._times[0] if self._times else self._until

    def over(self, now: float) -> bool:
        """Whether nothing is waited for any more."""
        return now >= self._until

    def received(self, data: bytes, host: str) -> tuple[str, Address] | None:
        """Take a datagram.

        :param host: where it came from; link-local hosts with their scope.
        :returns: a server's id and its address, if they were not known yet.
        """
        try:
            answer = self._keys.read_answer(data, self._nonce)
        except LanError:
            return None
        found = answer.server, (host, answer.port)
        if self._server not in (None, answer.server):
            return None
        if found in self.found or len(self.found) >= MAX_FOUND:
            return None
        self.found.append(found)
        return found
