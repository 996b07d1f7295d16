"""When a relayed session is taken although direct paths are still being tried (design section 4).

A relay works nearly always, and it is verified soon.  So it is held back for those direct paths alone
on which the other end was heard, or cannot have been heard yet: they get the time that a handshake
takes, and no more.
"""

__all__ = ["LEAST_PATIENCE", "LONGEST_HOLD", "LONGEST_PATIENCE", "Adoption"]

LEAST_PATIENCE = 0.03
"""Seconds that a direct path gets at least from when it was heard: a busy host is not always prompt."""

LONGEST_PATIENCE = 0.2
"""The same at most, however far the other end is; and however many paths are heard one after another."""

LONGEST_HOLD = 1.0
"""Seconds from the beginning for which a relay is held back at most because a direct path worked here
last time."""

_SLOWER = 1.25
"""By how much more than over the relay a handshake may take over a direct path."""


class Adoption:
    """Says when the relayed session that waits may be taken.

    Times are seconds of any clock that only goes forward.

    :param hold_until: when it may be taken at the earliest; what is known of this network says so.
    """

    def __init__(self, hold_until: float = 0.0) -> None:
        self._hold_until = hold_until
        self._begun: dict[object, float] = {}
        self._heard: dict[object, float] = {}
        self._trip = 0.0
        self._verified_at: float | None = None
        self._patience = LONGEST_PATIENCE

    @property
    def waiting(self) -> bool:
        """Whether there is a verified relayed session."""
        return self._verified_at is not None

    def began(self, path: object, now: float) -> None:
        """A direct path is being tried from now on."""
        self._begun.setdefault(path, now)

    def heard(self, path: object, now: float) -> None:
        """Something answered on a direct path."""
        self._heard.setdefault(path, now)

    def ended(self, path: object) -> None:
        """A direct path has failed."""
        self._begun.pop(path, None)
        self._heard.pop(path, None)

    def verified(self, now: float, took: float | None, trip: float | None = None) -> None:
        """The server was verified over the relay.

        :param took: seconds of that, from when the relay was reached.
        :param trip: seconds of these that bytes were on their way to the server and back; *took* when None.
        """
        self._verified_at = now
        if took is not None:
            self._trip = took if trip is None else trip
            self._patience = min(max(took * _SLOWER, LEAST_PATIENCE), LONGEST_PATIENCE)

    def due(self) -> float | None:
        """When the relayed session is to be taken, ``None`` while there is none."""
        if self._verified_at is None:
            return None
        at = self._verified_at
        chances = [at]
        for path, begun in self._begun.items():
            heard = self._heard.get(path)
            chances.append(begun + self._trip if heard is None else heard + self._patience)
        return max(min(max(chances), at + self._patience), self._hold_until)
