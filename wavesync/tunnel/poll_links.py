"""The connections of a client's tunnel of short polls: which one takes the next request, which are closed."""

from collections.abc import Callable

from wavesync.tunnel.poll_link import PollLink

__all__ = ["IDLE_LIFE", "PollLinks"]

IDLE_LIFE = 20.0
"""Seconds after which a connection is closed that carries nothing."""


class PollLinks:
    """All connections of one tunnel, those that stand."""

    __slots__ = ("_links",)

    def __init__(self) -> None:
        self._links: list[PollLink] = []

    def add(self, link: PollLink) -> None:
        """One more stands."""
        self._links.append(link)

    def remove(self, link: PollLink) -> None:
        """One is over."""
        if link in self._links:
            self._links.remove(link)

    def take(self, now: float, outworn: Callable[[float], bool]) -> PollLink | None:
        """Give the free one that was used last; None where there is none.

        :param outworn: tells whether one of that age is too old; such are closed.
        """
        free = sorted((each for each in self._links if each.free), key=lambda each: each.idle_since)
        while free:
            link = free.pop()
            if not outworn(now - link.began):
                return link
            self._close(link)
        return None

    def deadline(self) -> float | None:
        """Tell when to call :meth:`close_idle` next."""
        return min((each.idle_since + IDLE_LIFE for each in self._links if each.free), default=None)

    def close_idle(self, now: float) -> None:
        """Close those that have carried nothing for :data:`IDLE_LIFE`."""
        self._close(
            *(each for each in self._links if each.free and each.idle_since + IDLE_LIFE <= now)
        )

    def close_carrier(self, serial: int) -> None:
        """Close the one that carries a request."""
        self._close(*(each for each in self._links if each.serial == serial))

    def close_busy(self) -> None:
        """Close those that carry a request."""
        self._close(*(each for each in self._links if not each.free))

    def close(self) -> None:
        """Close all of them."""
        self._close(*self._links)

    def _close(self, *links: PollLink) -> None:
        for link in links:
            self.remove(link)
            link.close()
