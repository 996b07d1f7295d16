"""What goes wrong with somebody else, told once until it works again."""

from twisted.logger import Logger, LogLevel

__all__ = ["MAX_COMPLAINTS", "Troubles"]

MAX_COMPLAINTS = 8
"""Different complaints in the log until it works again."""


class Troubles:
    """Complaints about one mediator or relay.

    :param log: where they go.
    :param fields: what all lines may name.
    """

    def __init__(self, log: Logger, **fields: object) -> None:
        self._log = log
        self._fields = fields
        self._told: set[tuple[str, str]] = set()

    def complain(self, words: str, why: str = "", level: LogLevel = LogLevel.warn) -> None:
        """Tell what goes wrong, each thing once; further ones and repeats are for debugging only.

        :param words: the line, a constant, which may name *why* and the fields.
        """
        known = (words, why) in self._told or len(self._told) >= MAX_COMPLAINTS
        if not known:
            self._told.add((words, why))
        self._log.emit(LogLevel.debug if known else level, words, why=why, **self._fields)

    def clear(self) -> None:
        """It works: what goes wrong from now on is new."""
        self._told.clear()
