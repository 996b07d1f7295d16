"""What all of wavesync's ``twist`` services share: how they end when they cannot start."""

import sys
from collections.abc import Callable
from typing import NoReturn, TextIO, TypeVar

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred

from wavesync.errors import WavesyncError
from wavesync.settings import Section, load_settings

__all__ = ["OrExit", "exit_with", "from_settings", "or_exit"]

S = TypeVar("S", bound=Section)


def exit_with(name: str, error: WavesyncError, stream: TextIO | None = None) -> NoReturn:
    """Print one sentence and end the process with the error's exit status.

    :param name: the service's, in front of the sentence.
    :param stream: standard error when ``None``.
    """
    print(f"{name}: {error}", file=sys.stderr if stream is None else stream)
    raise SystemExit(error.exit_status)


def or_exit(name: str, make: Callable[[], IService]) -> IService:
    """Return the service that *make* makes, or end the process with the reason why not."""
    try:
        return OrExit(name, make())
    except WavesyncError as error:
        exit_with(name, error)


def from_settings(
    name: str, path: str | None, section: type[S], make: Callable[[S], IService]
) -> IService:
    """Return the service that *make* makes of a settings file, or end the process with the reason.

    :param path: the file; None for the defaults.
    """

    def load() -> IService:
        return make(section() if path is None else load_settings(path, section))

    return or_exit(name, load)


class OrExit(Service):
    """Runs another service; where that cannot start, the process ends with one sentence.

    Twisted by itself would show a traceback, or go on and serve nothing.

    :param name: the service's, in front of the sentence.
    :param service: what to run.
    :param stream: where the sentence goes; standard error when ``None``.
    """

    def __init__(self, name: str, service: IService, stream: TextIO | None = None) -> None:
        self.setName(name)
        self.service = service
        self._stream = stream

    def privilegedStartService(self) -> None:
        """Start what needs privileges, or exit."""
        try:
            self.service.privilegedStartService()
        except WavesyncError as error:
            exit_with(str(self.name), error, self._stream)

    def startService(self) -> None:
        """Start, or exit."""
        try:
            self.service.startService()
        except WavesyncError as error:
            exit_with(str(self.name), error, self._stream)
        super().startService()

    def stopService(self) -> Deferred[None] | None:
        """Stop."""
        super().stopService()
        stopped: Deferred[None] | None = self.service.stopService()
        return stopped
