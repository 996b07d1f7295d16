"""The first connect to a target while it is under way; others wait for how it ends."""

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Approach"]


class Approach:
    """One first connect."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[bool]] = []

    def wait(self) -> Deferred[bool]:
        """Fires when a way is known or the approach was given up; fails as the approach does.

        It fires with false when the approach came to its end but shows no way to others.
        """
        waiting: Deferred[bool] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def over(self, failure: Failure | None = None, *, lasting: bool = True) -> None:
        """Tell everybody who waits."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.called:
                continue
            if failure is not None:
                each.errback(failure)
            else:
                each.callback(lasting)
