"""One address that a rendezvous between two wavesync ends tries: when to send to it, what is known."""

from dataclasses import dataclass, field

from wavesync.interfaces import Address
from wavesync.udt.handshake import ANSWER, CALL

__all__ = [
    "FULL_SHARES",
    "MAX_UNCONFIRMED",
    "MAX_UNHEARD",
    "OFFSETS",
    "PERIOD",
    "SMALL_SHARE",
    "Path",
]

OFFSETS = (0.0, 0.010, 0.030, 0.070, 0.150)
"""Seconds after the start at which the first handshakes go out."""
PERIOD = 0.25
"""Seconds between handshakes after those."""
MAX_UNHEARD = 12
"""Handshakes sent to an address from which nothing ever came: nobody can be made to flood it."""
FULL_SHARES = 4
"""Addresses that get so many: the first announced ones, and as many that are announced later on.
All the others get :data:`SMALL_SHARE`.  So one rendezvous sends at most 144 handshakes (9216 bytes) to
addresses from which nothing comes, and 76 (4864 bytes) to a client's 18 that were announced at once."""
SMALL_SHARE = 2
"""Handshakes sent to each further address from which nothing ever came."""
MAX_UNCONFIRMED = 12
"""Handshakes sent, beside the answers to its own, to an announced address that was heard but has not
shown that it hears us: its packets may be forged by somebody who knows the token."""


@dataclass
class Path:
    """The path to one candidate address.

    :ivar address: where the handshakes go.
    :ivar began: when the first of them was due.
    :ivar share: handshakes that it gets before it was heard.
    :ivar challenge: what the peer has to return in its handshakes along this path; else they may
        be copies of what it sent along another one.
    :ivar echo: the peer's challenge, 0 until it is known.
    :ivar adopted: the address was not announced; packets with the right token came from it.
    :ivar heard: a handshake with the right token came from there.
    :ivar completed: the peer has heard us, too.
    """

    address: Address
    started: float
    share: int = MAX_UNHEARD
    challenge: int = 1
    echo: int = 0
    adopted: bool = False
    heard: bool = False
    completed: bool = False
    stopped: bool = False
    began: float = field(default=0.0, init=False)
    _sent: int = field(default=0, init=False)
    _sent_unheard: int = field(default=0, init=False)
    _sent_unconfirmed: int = field(default=0, init=False)
    _next: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._next = self.began = self.started

    @property
    def request(self) -> int:
        """The request type that says what we know of this path."""
        return ANSWER if self.heard else CALL

    @property
    def silent(self) -> bool:
        """Whether the address had its share of handshakes and never answered."""
        return not self.heard and self._sent_unheard >= self.share

    @property
    def resting(self) -> bool:
        """Whether the address was heard, had its share and has not shown that it hears us."""
        if self.completed:
            return False
        return self.adopted or (self.heard and self._sent_unconfirmed >= MAX_UNCONFIRMED)

    def deadline(self) -> float | None:
        """:return: when the next handshake is due, ``None`` for never."""
        return None if self.stopped or self.silent or self.resting else self._next

    def restart(self, now: float) -> None:
        """Something new is to be said: begin the schedule again, at once."""
        self.started = self._next = now
        self._sent = 0

    def due(self, now: float) -> bool:
        """:return: whether a handshake is due; it then counts as sent."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return False
        self._sent += 1
        self._sent_unheard += not self.heard
        self._sent_unconfirmed += self.heard and not self.completed
        if self._sent < len(OFFSETS):
            # A late turn must not make two packets out of two offsets that have both passed.
            self._next = max(self.started + OFFSETS[self._sent], now + 0.001)
        else:
            self._next = now + PERIOD
        return True
