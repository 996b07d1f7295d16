"""What a listener does with a request: pure decisions, and bounded tables of what it accepted.

Nothing is kept for a client before its cookie is right, and no answer is longer than the request.
"""

from collections import Counter
from dataclasses import dataclass

from wavesync.interfaces import Address
from wavesync.stun.buckets import source_key
from wavesync.udt.cookies import CookieJar
from wavesync.udt.handshake import (
    ANSWER,
    MIN_MSS,
    REFUSED,
    REQUEST,
    STREAM,
    VERSION,
    Handshake,
    Offer,
    wire_ip,
)

__all__ = [
    "MAX_ACCEPTED",
    "MAX_ACCEPTED_PER_HOST",
    "MAX_HALF_OPEN",
    "MAX_HALF_OPEN_PER_HOST",
    "Accept",
    "Listener",
    "Reply",
]

MAX_ACCEPTED = 10_000
"""Live connections of one listener; a flood of real clients must end somewhere."""
MAX_ACCEPTED_PER_HOST = 1_000
"""Live connections from one source, an IPv4 address or the /64 of an IPv6 address: many users may
sit behind one NAT, but not all of ours."""
MAX_HALF_OPEN = 512
"""Accepted connections whose client has not yet sent anything to its new socket id.  A source with a
live authenticated connection gets in beyond that."""
MAX_HALF_OPEN_PER_HOST = 64
"""The same from one source (a trusted one is a source of its own, port and all): it costs nothing to
be silent, so nobody may take all these places."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this and keep nothing."""

    datagram: bytes


@dataclass(frozen=True, slots=True)
class Accept:
    """Open a connection for this request, then call :meth:`Listener.accepted` or refuse it.

    :ivar request: the client's handshake, its values checked.
    :ivar source: where it came from.
    :ivar place: among whose half-open connections it counts.
    """

    request: Handshake
    source: Address
    place: bytes


_Key = tuple[Address, int, int]


class Listener:
    """The decisions of one listener.

    :param cookies: proves that a client is where it says.
    :param max_accepted: live connections.
    :param max_accepted_per_host: live connections from one source.
    :param max_half_open: connections whose client has not shown itself.
    :param max_half_open_per_host: the same from one source.
    """

    def __init__(
        self,
        cookies: CookieJar,
        *,
        max_accepted: int = MAX_ACCEPTED,
        max_accepted_per_host: int = MAX_ACCEPTED_PER_HOST,
        max_half_open: int = MAX_HALF_OPEN,
        max_half_open_per_host: int = MAX_HALF_OPEN_PER_HOST,
    ) -> None:
        self._cookies = cookies
        self._max_accepted = max_accepted
        self._max_accepted_per_host = max_accepted_per_host
        self._max_half_open = max_half_open
        self._max_half_open_per_host = max_half_open_per_host
        self._answers: dict[_Key, tuple[int, bytes]] = {}
        self._keys: dict[int, _Key] = {}
        self._per_host: Counter[bytes] = Counter()
        self._half_open: dict[int, bytes] = {}
        self._half_open_per_host: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """:return: live connections that this listener accepted."""
        return len(self._keys)

    @property
    def half_open(self) -> int:
        """Accepted connections whose client has not yet shown itself."""
        return len(self._half_open)

    def receive(
        self, request: Handshake, source: Address, now: float, *, trusted: bool = False
    ) -> Accept | Reply | None:
        """Decide on a handshake that came to socket id 0.

        :param trusted: the source has a live authenticated connection, so it need not show
            a cookie.
        :return: what to do; ``None`` is silence.
        """
        if request.request == 0 or request.request == REFUSED:
            return None
        skip = trusted and request.cookie == 0
        if request.request == REQUEST and not skip:
            cookie = self._cookies.bake(source, now)
            return Reply(request.replied(cookie=cookie, destination=request.socket_id).encode())
        if not skip and not self._cookies.check(request.cookie, source, now):
            return None
        again = self._answers.get((source, request.socket_id, request.isn))
        if again is not None:
            return Reply(again[1])
        place = source_key(source[0])
        if trusted:
            # Not to be shut out by a silent neighbour behind the same NAT.
            place += source[1].to_bytes(2, "big")
        if (
            request.version != VERSION
            or request.socket_type != STREAM
            or request.mss < MIN_MSS
            or request.window < 2
            or self._is_full(source[0], place, trusted)
        ):
            return self.refusal(request)
        return Accept(request, source, place)

    def refusal(self, request: Handshake) -> Reply:
        """:return: the answer that refuses *request*."""
        return Reply(request.replied(request=REFUSED, destination=request.socket_id).encode())

    def accepted(self, accept: Accept, offer: Offer) -> bytes:
        """Note an open connection.

        :param offer: our end of it (its ``isn`` is ignored: a client's ISN serves both ways).
        :return: the answer to send, now and for every repeated request.
        """
        request = accept.request
        answer = request.replied(
            request=ANSWER,
            socket_id=offer.socket_id,
            mss=min(offer.mss, request.mss),
            window=offer.window,
            destination=request.socket_id,
            peer_ip=wire_ip(accept.source[0]),
        ).encode()
        key = (accept.source, request.socket_id, request.isn)
        self._answers[key] = (offer.socket_id, answer)
        self._keys[offer.socket_id] = key
        self._per_host[source_key(accept.source[0])] += 1
        self._half_open[offer.socket_id] = accept.place
        self._half_open_per_host[accept.place] += 1
        return answer

    def answer(self, socket_id: int) -> bytes | None:
        """:return: the answer that opened this connection, to be sent again."""
        key = self._keys.get(socket_id)
        return None if key is None else self._answers[key][1]

    def id_for(self, request: Handshake, source: Address) -> int | None:
        """:return: our socket id of the connection that this very request opened."""
        known = self._answers.get((source, request.socket_id, request.isn))
        return None if known is None else known[0]

    def shown(self, socket_id: int) -> None:
        """The client has sent something to its new socket id."""
        place = self._half_open.pop(socket_id, None)
        if place is not None:
            _count_down(self._half_open_per_host, place)

    def closed(self, socket_id: int) -> None:
        """The connection is over; its place is free."""
        key = self._keys.pop(socket_id, None)
        if key is None:
            return
        del self._answers[key]
        self.shown(socket_id)
        _count_down(self._per_host, source_key(key[0][0]))

    def _is_full(self, host: str, place: bytes, trusted: bool) -> bool:
        # A flood of strangers does not shut out who has a live authenticated connection.
        return (
            len(self._keys) >= self._max_accepted
            or (len(self._half_open) >= self._max_half_open and not trusted)
            or self._per_host[source_key(host)] >= self._max_accepted_per_host
            or self._half_open_per_host[place] >= self._max_half_open_per_host
        )


def _count_down(counter: Counter[bytes], key: bytes) -> None:
    """Take one away, and the entry with the last."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
