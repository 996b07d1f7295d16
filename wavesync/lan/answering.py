"""What a server answers to queries on its network, without sockets or a clock of its own."""

from collections.abc import Callable

from wavesync.lan.wire import SALT_SIZE, Answer, Keys, LanError
from wavesync.stun.buckets import SourceBuckets

__all__ = ["BURST", "MAX_SOURCES", "RATE", "TOTAL_BURST", "TOTAL_RATE", "Answerer"]

RATE, BURST = 10.0, 60.0
"""Answers a second to one host, and at once: a search sends three queries on each of its interfaces."""

TOTAL_RATE, TOTAL_BURST = 400.0, 800.0
"""The same to all hosts together."""

MAX_SOURCES = 1024
"""Hosts whose rate is remembered."""


class Answerer:
    """Answers for one server.

    :param keys: of its system.
    :param server: its id.
    :param random: gives so many random bytes.
    :ivar answered: answers given since the start.
    """

    def __init__(self, keys: Keys, server: str, random: Callable[[int], bytes]) -> None:
        self.answered = 0
        self._keys = keys
        self._server = server
        self._random = random
        self._sources = SourceBuckets(RATE, BURST, MAX_SOURCES)
        self._total = SourceBuckets(TOTAL_RATE, TOTAL_BURST, 1)

    def answer(self, data: bytes, host: str, port: int, now: float) -> bytes | None:
        """Answer a datagram, if it is a query for this server and not one too many.

        :param host: where it came from, on this very network.
        :param port: where this server accepts TCP now.
        :param now: seconds.
        """
        try:
            nonce = self._keys.read_query(data, self._server)
        except LanError:
            return None
        # By the whole address: all hosts of a link share the /64 of their link-local ones.
        if not (self._sources.allow(f"host {host}", now) and self._total.allow("all", now)):
            return None
        self.answered += 1
        return self._keys.answer(nonce, self._random(SALT_SIZE), Answer(self._server, port))
