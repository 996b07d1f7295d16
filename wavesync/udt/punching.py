"""Rendezvous between two wavesync ends that were introduced and share a token.

Every handshake carries the token in its cookie word.  Each end calls all addresses it knows of the
other, answers any source that shows the token, and may send data as soon as it has heard the other
end once.  So that both use one pair of addresses, the end with the greater socket id chooses it:
``docs/udt.rst``, "Rendezvous between wavesync ends", has the rules.

:class:`PunchAttempt` owns times, paths and packets; :mod:`.punching_machine` decides.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from struct import Struct

from wavesync.interfaces import Address
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    Agreement,
    Handshake,
    HandshakeError,
    Offer,
    agree,
)
from wavesync.udt.paths import FULL_SHARES, MAX_UNHEARD, SMALL_SHARE, Path
from wavesync.udt.punching_machine import PunchCore, punching

__all__ = ["DOUBT", "MAX_ADOPTED", "MAX_CANDIDATES", "MAX_TOKEN", "PunchAttempt"]

MAX_TOKEN = 0xFFFFFFFF
"""Tokens are 1 .. this; 0 is what libudt writes."""
MAX_CANDIDATES = 32
"""Announced addresses that are called."""
MAX_ADOPTED = 16
"""Unannounced sources with the right token that are answered."""
DOUBT = 0.5
"""Seconds after which a chosen path that is not confirmed yields to another complete one."""

_WORDS = Struct("!II")
"""The beginning of the address field of handshakes with a token: our challenge for this path, and
the peer's."""


class PunchAttempt:
    """One rendezvous between wavesync ends, without I/O.

    :param candidates: the peer's announced addresses.
    :param offer: our end: one socket id and ISN for all paths.
    :param token: what both ends were given, 1 .. :data:`MAX_TOKEN`.
    :param now: seconds.
    :param timeout: seconds until the attempt fails.
    :param share: handshakes to each of the first addresses as long as it was not heard.
    :param randbits: random source of challenges.
    """

    def __init__(
        self,
        candidates: Iterable[Address],
        offer: Offer,
        token: int,
        now: float,
        timeout: float,
        *,
        randbits: Callable[[int], int],
        share: int = MAX_UNHEARD,
    ) -> None:
        if not 0 < token <= MAX_TOKEN:
            raise ValueError("a rendezvous token is a number from 1 to 4294967295")
        self.offer = offer
        self.token: int = token
        self.sources: set[Address] = set()
        self._core = PunchCore(now=now)
        self._machine = punching(self._core)
        self._expires = now + timeout
        self._doubts: float | None = None
        self._round_trip: float | None = None
        self._randbits = randbits
        self._adopted = 0
        self._share = share
        self._full = 0  # addresses with a full share of handshakes
        for address in candidates:
            self.add_candidate(address, now)

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed on, from the moment the peer is heard."""
        return self._core.agreement

    @property
    def failure(self) -> Exception | None:
        """Why the attempt failed, once it has; possibly after data began to flow one way."""
        return self._core.failure

    @property
    def settled(self) -> bool:
        """Whether the attempt is over: both ends use one path, or it failed."""
        return self._core.settled

    @property
    def remote(self) -> Address | None:
        """Where data goes now."""
        return None if self._core.remote is None else self._core.remote.address

    @property
    def expected(self) -> bool:
        """Whether data goes to an address that was announced, or has shown that it hears us."""
        remote = self._core.remote
        return remote is not None and (remote.completed or not remote.adopted)

    @property
    def round_trip(self) -> float | None:
        """Seconds from our first call along a path to the first word that it was heard."""
        return self._round_trip

    def add_candidate(self, address: Address, now: float, *, urgent: bool = False) -> bool:
        """Call one more address.

        :param urgent: it was seen just now, and gets a full share although there were many.
        :return: whether it is called: not if it is known, or there are too many.
        """
        announced = len(self._core.paths) - self._adopted
        if address in self._core.paths or announced >= MAX_CANDIDATES or self.settled:
            return False
        full = self._full < (2 if urgent else 1) * FULL_SHARES
        self._full += full
        share = self._share if full else SMALL_SHARE
        self._core.paths[address] = Path(address, now, share, self._challenge())
        self._core.events.append(("tried", address))
        return True

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake; without our token it does nothing."""
        core = self._core
        core.now = now
        if (
            packet.cookie != self.token
            or packet.request not in (CALL, ANSWER, FINAL)
            or packet.destination not in (0, self.offer.socket_id)
            or packet.socket_id == self.offer.socket_id
        ):
            return
        agreement = core.agreement
        if agreement is None:
            try:
                agreement = agree(
                    self.offer,
                    packet,
                    send_isn=self.offer.isn,
                    receive_isn=packet.isn,
                    receive_mss=self.offer.mss,
                )
            except HandshakeError:
                return
        elif agreement.peer_id != packet.socket_id:
            return
        path = core.paths.get(source) or self._adopt(source, now)
        if path is None:
            return
        self.sources.add(source)
        core.chooser = self.offer.socket_id > agreement.peer_id
        path.echo, returned = _WORDS.unpack_from(packet.peer_ip)
        # Only who has had a handshake of ours along this very path can return its challenge.
        to_us = packet.destination == self.offer.socket_id and returned == path.challenge
        if packet.request == FINAL and to_us and not core.chooser:
            if core.agreement is None:
                self._machine.heard(path, agreement)
            self._machine.nominated(path)
            return
        if packet.request == FINAL and to_us and path is core.remote:
            self._machine.confirmed()
            return
        # A peer that says ANSWER has heard us here: only the first one needs an answer.
        if packet.request != ANSWER or not path.heard or core.chooser:
            self._machine.heard(path, agreement)
        if packet.request == ANSWER and to_us:
            self._complete(path)

    def traffic(self, source: Address, now: float) -> None:
        """A packet other than a handshake came for our socket id: the peer knows us."""
        core = self._core
        core.now = now
        if core.settled or source not in self.sources:
            return
        path = core.paths[source]
        if not path.completed and not path.adopted:
            self._complete(path)
        if core.chooser and path is core.remote:
            self._machine.confirmed()
            core.outgoing.append((FINAL, path))

    def timer(self, now: float) -> None:
        """The deadline has come."""
        self._core.now = now
        if now >= self._expires:
            self._machine.expire()
        elif self._doubts is not None and now >= self._doubts:
            self._doubts = now + DOUBT
            self._machine.doubt()

    def deadline(self) -> float | None:
        """:return: when :meth:`timer` and :meth:`datagrams` are due, ``None`` when over."""
        if self._core.settled:
            return None
        times = [self._expires, self._doubts]
        times += [path.deadline() for path in self._core.paths.values()]
        return min(time for time in times if time is not None)

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        """:return: what to send now (each once)."""
        core = self._core
        sends, core.outgoing = core.outgoing, []
        choosing = core.chooser and self._doubts is not None
        for path in core.paths.values():
            if path.due(now):
                final = choosing and path is core.remote
                sends.append((FINAL if final else path.request, path))
                if path.silent:
                    core.events.append(("silent", path.address))
        peer_id = 0 if core.agreement is None else core.agreement.peer_id
        datagrams = []
        for request, path in sends:
            handshake = self.offer.handshake(
                request, path.address[0], cookie=self.token, destination=peer_id
            )
            words = _WORDS.pack(path.challenge, path.echo).ljust(len(handshake.peer_ip), b"\0")
            datagrams.append((replace(handshake, peer_ip=words).encode(), path.address))
        return datagrams

    def events(self) -> list[tuple[str, Address]]:
        """:return: what happened to which candidate since the last call."""
        events, self._core.events = self._core.events, []
        return events

    def _challenge(self) -> int:
        """Draw a number that is not 0, which is what stands there before one is known."""
        return self._randbits(32) or 1

    def _adopt(self, source: Address, now: float) -> Path | None:
        if self._adopted >= MAX_ADOPTED:
            return None
        self._adopted += 1
        path = Path(source, now, challenge=self._challenge(), adopted=True)
        self._core.paths[source] = path
        path.stopped = self.settled
        self._core.events.append(("adopted", source))
        return path

    def _complete(self, path: Path) -> None:
        if self._round_trip is None:
            self._round_trip = self._core.now - path.began
        if not self._core.chooser:
            self._machine.completed(path)
            return
        self._machine.chosen(path)
        if self._doubts is None:
            self._doubts = self._core.now + DOUBT
