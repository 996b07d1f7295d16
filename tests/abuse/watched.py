"""What must not happen whatever comes: connections made outwards, and secrets in the log."""

from typing import Any

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import directlyProvides, implementer, providedBy

__all__ = ["EveryLine", "Listening"]

_OUTWARDS = ("connectTCP", "connectSSL", "connectUNIX", "listenUDP", "spawnProcess", "resolve")


class Listening:
    """A reactor for somebody who only listens: what he makes outwards is noted, and fails.

    :ivar tried: names of what was tried.
    """

    def __init__(self, real: Any) -> None:
        self.tried: list[str] = []
        self._real = real
        directlyProvides(self, *providedBy(real))

    def __getattr__(self, name: str) -> Any:
        """Whatever the real one has, but for ways out."""
        if name in _OUTWARDS or name == "nameResolver":
            self.tried.append(name)
            raise AttributeError(name)
        return getattr(self._real, name)


@implementer(ILogObserver)
class EveryLine:
    """Keeps every line of the log, those for debugging as well, with all that events carry."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Take an event (ILogObserver)."""
        carried = {k: v for k, v in event.items() if k not in ("log_logger", "log_source")}
        self.lines.append(f"{formatEvent(event)} {carried!r}")

    def of(self, package: str) -> list[str]:
        """The lines of one package."""
        return [line for line in self.lines if f"'log_namespace': '{package}" in line]

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)
