"""What the connecting subcommands share: options, the connector, running the reactor, the report."""

import argparse
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wavesync.client.connector import PATHS, Connector
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import default_directory
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = [
    "INTERRUPTED",
    "add_common",
    "check_report",
    "connector_for",
    "new_parser",
    "run_in_reactor",
    "target_of",
    "wind_up",
    "write_report",
]

INTERRUPTED = 130
"""Exit status of a command that was interrupted (128 + SIGINT, as shells have it)."""


def new_parser(
    subparsers: "Subparsers", name: str, help_text: str, epilog: str
) -> argparse.ArgumentParser:
    """Make the parser of a subcommand whose epilog shows examples as they stand."""
    return subparsers.add_parser(
        name,
        help=help_text,
        description=help_text[:1].upper() + help_text[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that connects."""
    parser.add_argument(
        "--credentials",
        metavar="FILE",
        help="your client credentials (default: ~/.config/wavesync/client.pem)",
    )
    parser.add_argument(
        "--mediator",
        metavar="URL",
        action="append",
        default=[],
        help="ask this mediator instead of those in the credentials: HOST, udp://HOST:3345 or"
        " tcp://HOST:3345 (may be repeated)",
    )
    parser.add_argument(
        "--paths",
        metavar="LIST",
        default=",".join(PATHS),
        help=f"take only these kinds of path (default: {','.join(PATHS)})",
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write what was tried, when, and why it won or lost (JSON)"
    )
    parser.add_argument(
        "--allow-loopback",
        action="store_true",
        help="use loopback addresses too (server and mediator on this very machine)",
    )


def target_of(arguments: argparse.Namespace) -> Target:
    """Read the target, or say what one looks like."""
    return Target.parse(arguments.target)


def connector_for(reactor: IReactor, arguments: argparse.Namespace) -> Connector:
    """Make the connector that the common options ask for."""
    path = arguments.credentials or default_directory() / "client.pem"
    credentials = Credentials.load(path, now=time.time())
    paths = {kind.strip() for kind in arguments.paths.split(",") if kind.strip()}
    return open_connector(
        reactor,
        credentials,
        mediators=arguments.mediator,
        paths=paths,
        allow_loopback=arguments.allow_loopback,
    )


def check_report(path: str | None) -> None:
    """Find out whether ``--report`` can be written, before anything else is done.

    :raises SettingsError: it cannot.
    """
    if path is None:
        return
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise SettingsError(f"the report {path} cannot be written: {error.strerror}") from None


def write_report(path: str | None, timeline: Timeline) -> None:
    """Write the timeline to the file that ``--report`` names, if it does."""
    if path is None:
        return
    try:
        Path(path).write_text(timeline.as_json(), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"the report {path} cannot be written: {error.strerror}") from None


async def wind_up(connector: Connector, report: str | None, timeline: Timeline) -> None:
    """Close the connector and write the report, whatever happened."""
    await connector.close()
    write_report(report, timeline)


def run_in_reactor(main: Callable[[IReactor], Coroutine[Deferred[Any], Any, int]]) -> int:
    """Run *main* to its end in Twisted's reactor.

    An interrupt cancels *main*, which may clean up.

    :returns: what *main* returns; 130 when it was interrupted.
    :raises WavesyncError: what *main* raised.
    """
    from twisted.internet import reactor

    running: list[Deferred[int]] = []
    outcome: list[int | Failure] = []
    ended: Deferred[None] = Deferred()
    interrupted: list[bool] = []

    def begin() -> None:
        started = Deferred.fromCoroutine(main(reactor))  # type: ignore[arg-type]
        running.append(started)
        started.addBoth(done)

    def done(result: int | Failure) -> None:
        outcome.append(result)
        ended.callback(None)
        if not interrupted:
            reactor.stop()

    def stop() -> Deferred[None] | None:
        if outcome or not running:
            return None
        interrupted.append(True)
        running[0].cancel()
        return ended

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    if interrupted or not outcome:
        return INTERRUPTED
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    assert isinstance(result, int)
    return result
