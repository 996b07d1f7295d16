"""How long a request may be held, and a connection be used, before something on the way cuts it."""

__all__ = ["HOLD", "LEAST_HOLD", "Patience"]

HOLD = 20.0
"""Seconds that a request is held unless that has been seen to be too long."""

LEAST_HOLD = 2.0
"""Seconds that it is held at least, whatever cuts it."""

_SHORT = 1.0  # a request that was cut sooner was not cut for its age
_PART = 0.7  # of the age at which something was cut, that the next one is let get
_GROWTH = 1.5
_HOLDS_TO_GROW = 8
_LONGEST_LIFE = 300.0


class Patience:
    """Learns both from what is cut and what is not.

    :ivar hold: seconds to ask for.
    :ivar life: seconds that a connection is to be used at most; None where none has been cut for its age.
    """

    __slots__ = ("_held", "hold", "life")

    def __init__(self) -> None:
        self.hold = HOLD
        self.life: float | None = None
        self._held = 0

    def cut(self, age: float, life: float) -> None:
        """A connection was closed while it had a request under way.

        :param age: seconds that the request had been under way.
        :param life: seconds that the connection had been open.
        """
        self._held = 0
        if age < _SHORT:
            return
        if life - age > max(_SHORT, 0.1 * life):
            # It had carried others before: its own age is what counts.
            self.life = life * _PART
            self.hold = min(self.hold, max(LEAST_HOLD, self.life))
        else:
            self.hold = min(self.hold, max(LEAST_HOLD, age * _PART))

    def held(self) -> None:
        """A request was held for the whole time, and answered."""
        self._held += 1
        if self._held >= _HOLDS_TO_GROW:
            self._held = 0
            self.hold = min(HOLD, self.hold * _GROWTH)
            if self.life is not None:
                self.life *= _GROWTH
                if self.life > _LONGEST_LIFE:
                    self.life = None

    def outworn(self, life: float) -> bool:
        """Tell whether a connection of that age is too old for one more request."""
        return self.life is not None and life + self.hold > self.life
