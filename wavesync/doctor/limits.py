"""How long an examination may take."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

__all__ = ["LIMIT", "within"]

LIMIT = 4.4
"""Seconds that everything together may take, without the search for the lifetime of mappings."""

T = TypeVar("T")


async def within(
    clock: IReactorTime, seconds: float, work: Coroutine[Deferred[Any], Any, T] | Deferred[T]
) -> T | None:
    """Wait for something for so long.

    :returns: None where it took longer, or was cancelled.
    """
    waiting = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    try:
        return await waiting.addTimeout(seconds, clock)
    except (TimeoutError, CancelledError):
        return None
