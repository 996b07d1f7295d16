"""How the last tunnels ended: requests that come late begin no new ones."""

from collections import OrderedDict

__all__ = ["MAX_REMEMBERED", "Past"]

MAX_REMEMBERED = 4096
"""Tunnels that are remembered once they are over; then the oldest is forgotten."""


class Past:
    """Remembers a reason for each of them."""

    __slots__ = ("_reasons",)

    def __init__(self) -> None:
        self._reasons: OrderedDict[str, str] = OrderedDict()

    def add(self, tunnel: str, reason: str) -> None:
        """One is over.

        :param tunnel: its id.
        :param reason: what requests for it are told.
        """
        self._reasons[tunnel] = reason
        if len(self._reasons) > MAX_REMEMBERED:
            self._reasons.popitem(last=False)

    def reason(self, tunnel: str) -> str | None:
        """Tell how one ended; None where that is not known."""
        return self._reasons.get(tunnel)
