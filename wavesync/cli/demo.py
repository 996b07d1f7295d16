"""``wavesync demo``: mediator, agent and client in one process, every path tried."""

import argparse
import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorSocket
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.cli.common import new_parser, run_in_reactor
from wavesync.client.connector import PATHS, Connector
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import IReactor
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.signalling.urls import parse_mediators

if TYPE_CHECKING:
    from wavesync.cli.common import Subparsers

__all__ = ["add_parser", "run_command"]

_EXAMPLES = """\
example:
  wavesync demo

Makes a throw-away system in memory, runs a mediator, an agent and clients on 127.0.0.1 with sockets
of their own, and echoes a random payload over every path: TCP, a UDP rendezvous with the addresses
that the mediator observed, and further connections over what is open then.  The exit status is
0 only if every payload came back whole.
"""

_HOST = "127.0.0.1"
_DEADLINE = 30.0


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync demo``."""
    parser = new_parser(
        subparsers, "demo", "run all roles on this machine and try every path", _EXAMPLES
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=4.0,
        metavar="MIB",
        help="payload echoed over each path, in MiB (default: 4)",
    )


def _size(text: str) -> float:
    size = float(text)
    if not 0 < size <= 1024:
        raise argparse.ArgumentTypeError("more than 0 and at most 1024 MiB")
    return size


@dataclass(slots=True)
class _Row:
    """One line of the table."""

    path: str
    how: str
    timeline: Timeline
    seconds: float = 0.0
    digest: str = ""
    wrong: str = ""


class _EchoCheck(Protocol):
    """Sends a payload, takes it back."""

    def __init__(self, payload: bytes, timeline: Timeline) -> None:
        self.finished: Deferred[str] = Deferred()
        self._payload = payload
        self._timeline = timeline
        self._received = 0
        self._hash = hashlib.sha256()

    def connectionMade(self) -> None:
        """Send it all; the transport takes care of the pace."""
        assert self.transport is not None
        self.transport.write(self._payload)

    def dataReceived(self, data: bytes) -> None:
        """Count what comes back."""
        self._timeline.mark("first_byte")
        self._received += len(data)
        self._hash.update(data)
        if self._received >= len(self._payload):
            assert self.transport is not None
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what came."""
        if self._received == len(self._payload):
            self.finished.callback(self._hash.hexdigest())
        else:
            self.finished.errback(
                ConnectFailed(f"only {self._received} bytes came back: {reason.getErrorMessage()}")
            )


async def _try(
    reactor: IReactor, connector: Connector, target: Target, payload: bytes, path: str, how: str
) -> _Row:
    """Echo the payload over one path."""
    row = _Row(path, how, Timeline(str(target), reactor.seconds))
    check = _EchoCheck(payload, row.timeline)
    began = reactor.seconds()
    opening = connector.connect(target, "echo", check, timeline=row.timeline)
    try:
        await opening.addTimeout(_DEADLINE, reactor)
        row.digest = await check.finished.addTimeout(_DEADLINE, reactor)
    except WavesyncError as error:
        row.wrong = str(error)
    except Exception as error:
        row.wrong = f"{type(error).__name__}: {error}"
    row.seconds = reactor.seconds() - began
    if not row.wrong:
        if row.digest != hashlib.sha256(payload).hexdigest():
            row.wrong = "the payload came back changed"
        elif row.timeline.path != path:
            row.wrong = f"it went over {row.timeline.path}"
        elif row.timeline.reused != (how == "reused"):
            row.wrong = "it was introduced again" if how == "reused" else "nothing was introduced"
    return row


def _table(rows: list[_Row], size: int) -> Table:
    table = Table(title=f"{size / 2**20:g} MiB echoed over every path of this version")
    for name in ("path", "how"):
        table.add_column(name)
    for name in ("introduced", "verified", "accepted", "first byte", "Mbit/s"):
        table.add_column(name, justify="right")
    for name in ("SHA-256", "result"):
        table.add_column(name)
    for row in rows:
        times = (row.timeline.ms.get(name) for name in row.timeline.as_dict()["ms"])
        cells = ["-" if value is None else f"{value:.1f} ms" for value in times]
        rate = "-" if row.wrong else f"{2 * size * 8 / row.seconds / 1e6:.0f}"
        result = f"[red]failed: {row.wrong}[/red]" if row.wrong else "[green]ok[/green]"
        table.add_row(row.path, row.how, *cells, rate, row.digest[:12] or "-", result)
    return table


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""

    async def main(reactor: IReactor) -> int:
        payload = os.urandom(int(arguments.size * 2**20))
        mediator = MediatorService(
            MediatorSettings(name=_HOST, listen=(f"{_HOST}:0",)),
            IReactorSocket(reactor),
        )
        mediator.startService()
        url = f"{_HOST}:{mediator.addresses[0][1]}"
        system = SystemCredentials.create((url,))
        now = time.time()
        server, client = system.add_server(now=now), system.add_client("demo", now=now)
        agent = AgentService(
            reactor,
            server,
            {"echo": Factory.forProtocol(Echo)},
            parse_mediators((url,)),
            settings=AgentSettings(allow_loopback=True),
        )
        agent.startService()
        rows = []
        try:
            await agent.links[0].when_registered().addTimeout(_DEADLINE, reactor)
            for path in PATHS:
                rows += await _both(reactor, client, server.target, payload, path)
        finally:
            await agent.stopService()
            await mediator.stopService()
        console = Console()
        if not console.is_terminal:
            console = Console(width=160)
        console.print(_table(rows, len(payload)))
        return 1 if any(row.wrong for row in rows) else 0

    return run_in_reactor(main)


async def _both(
    reactor: IReactor, client: Credentials, target: Target, payload: bytes, path: str
) -> list[_Row]:
    """One path: first with an introduction, then without."""
    connector = open_connector(reactor, client, paths={path}, allow_loopback=True)
    try:
        return [
            await _try(reactor, connector, target, payload, path, how)
            for how in ("introduced", "reused")
        ]
    finally:
        await connector.close()
