"""How much of a bounded table each owner holds, so that nobody takes all of it."""

__all__ = ["Shares"]


class Shares:
    """Counts the places that each owner holds.

    Owners without a place take no memory, so the table that is shared bounds this one.

    :param limit: places that one owner may hold.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Count the owners that hold a place."""
        return len(self._held)

    def room(self, owner: bytes) -> bool:
        """Tell whether *owner* may take one more."""
        return self._held.get(owner, 0) < self._limit

    def take(self, owner: bytes) -> None:
        """Give *owner* a place."""
        self._held[owner] = self._held.get(owner, 0) + 1

    def give_back(self, owner: bytes) -> None:
        """Take one place of *owner* back."""
        left = self._held.get(owner, 0) - 1
        if left > 0:
            self._held[owner] = left
        else:
            self._held.pop(owner, None)
