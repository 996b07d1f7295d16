"""Who gives up his place when there is none left: whoever has most of them, and of those the oldest."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol, TypeVar

__all__ = ["RELAYED_SHARE", "Path", "oldest_of_crowd", "oldest_relayed"]

RELAYED_SHARE = 0.5
"""The part of all places that clients may have whose address is known from a relay alone: a relay that
lies can say of each that it comes from somewhere else."""


class Path(Protocol):
    """A session on which nobody has shown who he is.

    :ivar path_kind: what carries it: ``tcp``, ``udp`` or ``relay``.
    """

    path_kind: str


P = TypeVar("P")
R = TypeVar("R", bound=Path)


def oldest_of_crowd(sessions: Mapping[P, bytes | str], crowd: int) -> P | None:
    """Give the oldest session of whoever has most of them, if those are at least *crowd*."""
    for owner, count in Counter(sessions.values()).most_common(1):
        if count >= crowd:
            return next(session for session, its in sessions.items() if its == owner)
    return None


def oldest_relayed(strangers: Mapping[R, bytes], places: int) -> R | None:
    """Give what one more relayed session takes the place of; None where it need not.

    :param strangers: all sessions on which nobody has shown who he is, by source.
    :param places: how many there may be, of which relayed ones get :data:`RELAYED_SHARE`.
    """
    relayed = {each: source for each, source in strangers.items() if each.path_kind == "relay"}
    return oldest_of_crowd(relayed, 1) if len(relayed) >= places * RELAYED_SHARE else None
