"""Whether the other side of a session still lives, and how it is shown that we do."""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from wavesync.stun.pace import LONGEST_PAUSE, Pace

__all__ = ["MAX_PINGS", "SILENCE", "Due", "Liveness", "Timing"]

SILENCE = "nothing has come from the other side for too long"
"""What is told of a peer that is dead."""

MAX_PINGS = 16
"""PINGs whose PONGs we wait for; of more, the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time limits of a session, in seconds.

    :ivar open_within: a server waits so long for OPEN.
    :ivar ping_after: nothing received for so long: send a PING.
    :ivar dead_after: nothing received for so long after that PING: the peer is dead.
    :ivar acknowledge_after: the longest that received bytes stay without an ACK.
    :ivar close_within: once a closing side's END is acknowledged, the peer has so long to end too.
    :ivar pace: an open control session sends a PING when it has sent nothing, or has received
        nothing, for so long.
    """

    open_within: float = 10.0
    ping_after: float = 2.0
    dead_after: float = 6.0
    acknowledge_after: float = 1.0
    close_within: float = 10.0
    pace: Pace = field(default_factory=Pace)


class Due(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"


class Liveness:
    """Silence and PINGs of one session, from OPEN on.

    :param timing: the time limits.
    """

    __slots__ = (
        "_asked",
        "_closely",
        "_control",
        "_count",
        "_guarded",
        "_heard",
        "_next_beat",
        "_pings",
        "_reading_paused",
        "_sent",
        "_timing",
        "begun",
    )

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.begun = False
        """OPEN was sent or came: there are PINGs from now on."""
        self._control = self._closely = self._guarded = False
        self._heard = self._sent = 0.0
        self._asked: float | None = None
        self._next_beat: float | None = None
        self._reading_paused = False
        self._pings: dict[bytes, float] = {}
        self._count = 0

    def begin(self, now: float) -> None:
        """OPEN was sent or came."""
        self.begun = True
        self._heard = self._sent = now

    def relax(self) -> None:
        """It is an open control session, which is quiet by nature."""
        self._control = True

    def watch(self, on: bool) -> None:
        """Ask as often as if it were no control session, or not any more: others rely on it."""
        self._closely = on

    def guard(self, on: bool) -> None:
        """Ask hardly ever, or not any more: a control session asks for this one."""
        self._guarded = on

    def heard(self, now: float) -> None:
        """Something was received, whatever it is."""
        self._heard = now
        self._asked = None

    def shown(self, now: float) -> None:
        """Something was sent."""
        self._sent = now

    def ping(self, now: float) -> bytes:
        """Note a PING that is sent now.

        :returns: its token.
        """
        self._count += 1
        token = self._count.to_bytes(8, "big")
        if len(self._pings) >= MAX_PINGS:
            del self._pings[next(iter(self._pings))]
        self._pings[token] = now
        self._sent = now
        if self._control and self._asked is None:
            self._asked = now
        return token

    def pong(self, token: bytes, now: float) -> float | None:
        """Take the answer to a PING.

        :returns: the round trip in seconds; None if there was no such PING.
        """
        sent = self._pings.pop(token, None)
        return None if sent is None else now - sent

    def pause_reading(self, now: float) -> None:
        """Nothing is read, so that the peer is not judged, and is shown that we live."""
        if not self._reading_paused:
            self._reading_paused = True
            self._next_beat = now + self._timing.ping_after

    def resume_reading(self, now: float) -> None:
        """It is read again."""
        if self._reading_paused:
            self._reading_paused = False
            self._heard = now
            self._next_beat = self._asked = None

    def beaten(self, now: float) -> None:
        """An ACK was sent."""
        self._sent = now
        if self._next_beat is not None:
            self._next_beat = now + self._timing.ping_after

    def beat_due(self, now: float) -> bool:
        """Whether an ACK is to show a peer that is not read that we live."""
        return self._next_beat is not None and now >= self._next_beat

    def deadline(self, *, writable: bool) -> float:
        """When something will be due; infinity for never.

        :param writable: whether anything can be sent; otherwise only the peer's death comes.
        """
        due = inf
        if not self.begun:
            return due
        if not self._reading_paused:
            if self._asked is None:
                due = self._heard + self._patience
            else:
                due = self._asked + self._timing.dead_after
        if writable:
            if self._control:
                due = min(due, self._sent + self._timing.pace.interval)
            if self._next_beat is not None:
                due = min(due, self._next_beat)
        return due

    def look(self, now: float, *, writable: bool) -> Due:
        """Tell what is due at *now*; without *writable* a PING counts as sent, and is not."""
        due = Due.NOTHING
        if not self._reading_paused:
            if self._asked is not None:
                if now >= self._asked + self._timing.dead_after:
                    return Due.DEAD
            elif now >= self._heard + self._patience:
                self._asked = now
                due = Due.PING
        if self._control and now >= self._sent + self._timing.pace.interval:
            due = Due.PING
        return due if writable else Due.NOTHING

    @property
    def _patience(self) -> float:
        """Seconds of the peer's silence after which it is asked."""
        if self._control and not self._closely:
            return self._timing.pace.interval
        return LONGEST_PAUSE if self._guarded else self._timing.ping_after
