"""What there is in a process at one moment: tables, caches, timers, objects, memory."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import LimitedHistoryLogObserver, globalLogBeginner

from wavesync.udt.port import Port

__all__ = ["Measure", "forget_events", "name_of", "port_tables", "sizes"]

_CONTAINERS = (dict, set, list, deque)
_BOUNDED = {"timelines", "_contexts", "_remembered"}
"""Attributes that hold caches with bounds, which are looked at by name."""


@dataclass
class Measure:
    """What there is at one moment.

    :ivar tables: sizes of tables that must come back to where they were.
    :ivar caches: sizes of bounded caches, with their bounds.
    :ivar calls: delayed calls by function.
    """

    descriptors: int
    calls: Counter[str]
    tables: dict[str, int]
    caches: dict[str, tuple[int, int]]
    objects: int
    memory: int
    kinds: Counter[type] = field(default_factory=Counter)


def forget_events() -> None:
    """Let go of what Twisted keeps of the log until somebody begins to write it.

    Nobody does where pytest runs the tests, and events hold whoever told them.
    """
    kept = globalLogBeginner._initialBuffer
    assert isinstance(kept, LimitedHistoryLogObserver)
    kept._buffer.clear()


def name_of(call: Any) -> str:
    return getattr(call.func, "__qualname__", repr(call.func))


def sizes(name: str, *holders: object) -> dict[str, int]:
    """Sizes of all containers that objects hold in their attributes."""
    found = {}
    for holder in holders:
        for attribute, value in vars(holder).items():
            if isinstance(value, _CONTAINERS) and attribute not in _BOUNDED:
                found[f"{name} {type(holder).__name__}.{attribute}"] = len(value)
    return found


def port_tables(port: Port, name: str) -> dict[str, int]:
    """Everything that grows in a UDT port."""
    acceptor = port._acceptor
    return {
        **sizes(name, port, port._sorter, acceptor, acceptor.listener),
        **sizes(name, *port._carriers.values()),
        f"{name} half-open": acceptor.listener.half_open,
    }
