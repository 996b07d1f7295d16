"""Lines in the log that somebody else can cause: so many in a while, then their number."""

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from wavesync.stun.buckets import SourceBuckets

__all__ = ["LINES_AT_ONCE", "LINES_A_MINUTE", "Complaints"]

LINES_A_MINUTE = 10.0
"""Lines a minute that one mediator can cause on average."""

LINES_AT_ONCE = 20.0
"""The same at once."""

_MAX_MEDIATORS = 64


class Complaints:
    """Warnings about what mediators do.

    :param log: where they go.
    :param seconds: gives the time.
    """

    def __init__(self, log: Logger, seconds: Callable[[], float]) -> None:
        self._log = log
        self._seconds = seconds
        self._lines = SourceBuckets(LINES_A_MINUTE / 60.0, LINES_AT_ONCE, _MAX_MEDIATORS)
        self._left_out: dict[str, int] = {}

    def warn(self, about: str, format: str, /, **fields: Any) -> None:
        """Log a warning, unless there were too many.

        :param about: the mediator that caused it.
        :param format: the line, a constant.
        """
        if not self._lines.allow(about, self._seconds()):
            if about in self._left_out or len(self._left_out) < _MAX_MEDIATORS:
                self._left_out[about] = self._left_out.get(about, 0) + 1
            return
        count = self._left_out.pop(about, 0)
        if count:
            self._log.warn(
                "left out {count} lines about the mediator {mediator}", count=count, mediator=about
            )
        self._log.warn(format, **fields)
