"""Which of several relays a client asks: the one over which the server is nearest.

A client learns how far a relay is from it while it connects; how far the server is from there, the
server has told.  A relay that does not answer costs nothing when another one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from wavesync.signalling.relay_urls import Relay
from wavesync.tunnel.way import Way

__all__ = ["LONGEST_WAIT", "RelayChoice", "RelayOption"]

LONGEST_WAIT = 0.15
"""Seconds that a relay which has answered waits at most for one that may prove to be nearer."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RelayOption:
    """A relay that may be asked.

    :ivar distance: seconds of a round trip between it and the server, as far as that is known.
    :ivar useless: ways to it that have brought no answer.
    :ivar nonce: what the request is signed over, when the relay has asked for that.
    """

    relay: Relay
    distance: float = 0.0
    nonce: bytes = b""
    useless: frozenset[Way] = frozenset()


class RelayChoice(Generic[_T]):
    """Keeps what has become of each relay, and picks.

    Times are seconds of any clock that only goes forward.
    """

    def __init__(self) -> None:
        self._pending: dict[RelayOption, float] = {}
        self._reached: dict[RelayOption, tuple[float, float, _T]] = {}
        self._in_vain: list[Relay] = []

    @property
    def pending(self) -> Sequence[RelayOption]:
        """The relays that have not answered yet."""
        return tuple(self._pending)

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to pick from, or to wait for."""
        return not self._pending and not self._reached

    @property
    def ready(self) -> bool:
        """Whether one has answered and was not picked."""
        return bool(self._reached)

    def begin(self, option: RelayOption, now: float) -> None:
        """A relay is being connected to."""
        self._pending[option] = now

    def reached(self, option: RelayOption, leg: _T, now: float) -> None:
        """It has answered; its score is the round trip from the client to the server over it."""
        began = self._pending.pop(option, now)
        self._reached[option] = now - began + option.distance, now, leg

    def failed(self, option: RelayOption) -> None:
        """It cannot be reached, or not any more."""
        self._pending.pop(option, None)
        self._reached.pop(option, None)

    def in_vain(self, option: RelayOption) -> None:
        """It was asked in vain: it comes last from now on, by its other port, too."""
        self._in_vain.append(option.relay)

    def due(self) -> float | None:
        """When a relay is to be asked, ``None`` while none has answered."""
        if not self._reached:
            return None
        best, (score, since, _) = self._best()
        # Later than this no other one can prove to be nearer.
        last = max(
            (
                began + (LONGEST_WAIT if self._later(best, option) else score - option.distance)
                for option, began in self._pending.items()
                if not self._later(option, best)
            ),
            default=since,
        )
        return min(max(since, last), since + LONGEST_WAIT)

    def take(self) -> tuple[RelayOption, _T]:
        """Pick the nearest of those that have answered."""
        option, (_, _, leg) = self._best()
        del self._reached[option]
        return option, leg

    def drain(self) -> list[_T]:
        """Give up all that have answered and were not picked."""
        legs = [leg for _, _, leg in self._reached.values()]
        self._reached.clear()
        self._pending.clear()
        return legs

    def _best(self) -> tuple[RelayOption, tuple[float, float, _T]]:
        return min(
            self._reached.items(),
            key=lambda item: (self._is_last(item[0]), item[1][0]),
        )

    def _is_last(self, option: RelayOption) -> bool:
        return any(option.relay.same_as(each) for each in self._in_vain)

    def _later(self, one: RelayOption, other: RelayOption) -> bool:
        """Whether one comes after another, whatever is nearer."""
        return self._is_last(one) and not self._is_last(other)
