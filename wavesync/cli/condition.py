"""Tells a person how a forwarding is doing: a line for each change, not for each connection."""

from collections.abc import Callable

__all__ = ["MAX_TOLD", "Condition"]

MAX_TOLD = 8
"""Different sentences told before it works again; more would be a flood, too."""


class Condition:
    """Remembers what has been told.

    :param say: tells a sentence.
    :param seconds: gives the time.
    """

    def __init__(self, say: Callable[[str], None], seconds: Callable[[], float]) -> None:
        self._say = say
        self._seconds = seconds
        self._told: set[str] = set()
        self._since = 0.0
        self._failed = 0

    def opened(self) -> None:
        """A connection was opened."""
        self._told.clear()
        if self._failed:
            failed = f"{self._failed} connection{'s' * (self._failed > 1)}"
            self._failed = 0
            self._say(
                f"it works again, after {self._seconds() - self._since:.0f} s and {failed} in vain"
            )

    def failed(self, why: str) -> None:
        """A connection could not be opened; *why* is a sentence."""
        if not self._failed:
            self._since = self._seconds()
        self._failed += 1
        self._tell(why)

    def broke(self, why: str) -> None:
        """A connection that stood is broken."""
        self._tell(f"a connection broke: {why}")

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(sentence)
            self._say(sentence)
