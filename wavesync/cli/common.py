"""What the connecting subcommands share: options, the connector, running the reactor, the report."""

import argparse
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from wavesync.cli.proxying import add_proxy, chosen_proxies
from wavesync.client.connector import Connector
from wavesync.client.memory import Memory, memory_path
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS, check_client, check_paths
from wavesync.client.recent import Recent, recent_path
from wavesync.client.report import Timeline
from wavesync.errors import SettingsError
from wavesync.garbage import collect_seldom
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import default_directory
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations, list_path
from wavesync.interfaces import IReactor
from wavesync.signalling.destinations import open_destinations
from wavesync.signalling.lifetimes import Lifetimes, lifetimes_path
from wavesync.signalling.urls import parse_mediators
from wavesync.steady import keep_steady
from wavesync.tunnel.proxies import Proxies
from wavesync.watch import take_lead

__all__ = [
    "INTERRUPTED",
    "Plan",
    "add_common",
    "run_in_reactor",
]

INTERRUPTED = 130
"""Exit status of a command that was interrupted (128 + SIGINT, as shells have it)."""


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
        help="ask this mediator instead of those in the credentials: HOST, or by itself"
        " udp://HOST:3345, tcp://HOST:3345, http://HOST:3355 or https://HOST (may be repeated)",
    )
    add_proxy(parser)
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


@dataclass(frozen=True)
class Plan:
    """What the common options ask for, checked before anything is opened.

    :ivar target: whom to reach.
    :ivar credentials: the client's.
    :ivar mediators: URLs instead of those that the credentials name.
    :ivar paths: the kinds of path to take.
    :ivar allow_loopback: use loopback addresses too.
    :ivar report: where the report goes, if one is wanted.
    :ivar revocations: what is known of revoked servers, kept beside the credentials.
    :ivar memory: what worked before on which network, likewise.
    :ivar lifetimes: how long NATs keep mappings, likewise.
    :ivar recent: the last connects, likewise.
    :ivar proxies: which HTTP proxy leads where.
    :ivar directory: where the credentials are, and what was learned of ways is kept.
    """

    target: Target
    credentials: Credentials
    mediators: tuple[str, ...]
    paths: frozenset[str]
    allow_loopback: bool
    report: str | None
    revocations: Revocations
    memory: Memory
    lifetimes: Lifetimes
    proxies: Proxies
    recent: Recent | None
    directory: Path

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Plan":
        """Check the arguments of :func:`add_common` and the target.

        :raises SettingsError: one cannot be used, or the report could not be written.
        :raises NotAllowed: the credentials have expired or do not fit together.
        """
        target = Target.parse(arguments.target)
        paths = check_paths(filter(None, map(str.strip, arguments.paths.split(","))))
        path = Path(arguments.credentials or default_directory() / "client.pem")
        credentials = check_client(Credentials.load(path, now=time.time()))
        mediators = tuple(arguments.mediator)
        parse_mediators(mediators or credentials.mediators)
        _check_report(arguments.report)
        revocations = Revocations(
            credentials.system_key_bytes, state=list_path(path.parent, credentials.system)
        )
        return cls(
            target,
            credentials,
            mediators,
            paths,
            arguments.allow_loopback,
            arguments.report,
            revocations,
            Memory(memory_path(path.parent, credentials.system), wall_clock=time.time),
            Lifetimes(lifetimes_path(path.parent), wall_clock=time.time),
            chosen_proxies(arguments),
            Recent(recent_path(path.parent, credentials.system)),
            path.parent,
        )

    def open_connector(self, reactor: IReactor) -> Connector:
        """Make the connector.

        :raises SettingsError: no UDP port can be had.
        """
        return open_connector(
            reactor,
            self.credentials,
            mediators=self.mediators,
            paths=self.paths,
            allow_loopback=self.allow_loopback,
            revocations=self.revocations,
            memory=self.memory,
            lifetimes=self.lifetimes,
            recent=self.recent,
            destinations=open_destinations(reactor, self.proxies, directory=self.directory),
        )

    def timeline(self, clock: IReactorTime) -> Timeline:
        """Begin the timeline of a connect."""
        return Timeline(str(self.target), clock.seconds)

    async def wind_up(self, connector: Connector, timeline: Timeline) -> None:
        """Close the connector and write the report, whatever happened."""
        await connector.close()
        if self.report is None:
            return
        try:
            Path(self.report).write_text(timeline.as_json(), encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.report, error) from None


def _check_report(path: str | None) -> None:
    """Find out whether ``--report`` can be written, before anything else is done."""
    if path is None:
        return
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: str, error: OSError) -> SettingsError:
    return SettingsError(f"the report {path} cannot be written: {error.strerror}")


def run_in_reactor(main: Callable[[IReactor], Coroutine[Deferred[Any], Any, int]]) -> int:
    """Run *main* to its end in Twisted's reactor.

    An interrupt cancels *main*, which may clean up.  So does SIGHUP, with which ssh ends its
    ProxyCommand, and a terminal everything in it; with ``nohup`` it is ignored.

    :returns: what *main* returns; 130 when it was interrupted.
    :raises WavesyncError: what *main* raised.
    """
    from twisted.internet import reactor

    keep_steady(IReactorTime(reactor))
    collect_seldom()
    running: list[Deferred[int]] = []
    outcome: list[int | Failure] = []
    ended: Deferred[None] = Deferred()
    interrupted: list[bool] = []

    def begin() -> None:
        threads = IReactorFromThreads(reactor)
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
            signal.signal(hangup, lambda *_: threads.callFromThread(reactor.stop))
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

    take_lead(reactor)
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
