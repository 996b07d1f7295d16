"""``wavesync demo``: mediator, relay, agent and client in one process, every path tried."""

import argparse
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IProtocolFactory, IReactorSocket
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import run_in_reactor
from wavesync.cli.demo_proxied import ProxiedSite
from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import IReactor
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.signalling.urls import parse_mediators

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["PROXIED", "Row", "add_parser", "run_command", "run_demo", "run_proxied", "show"]

_EXAMPLES = """\
example:
  wavesync demo

Makes a throw-away system in memory, runs a mediator, a relay, an agent and clients on 127.0.0.1 with
sockets of their own, and echoes a random payload over every path: found on the same network, TCP, a UDP
rendezvous with the addresses that the mediator observed, the relay, and further connections over what is
open then; and at last the relay once more where mediator and relay can be reached through an HTTP proxy
only, which lets nothing but short requests pass.  The exit status is 0 only if every payload came back
whole.
"""

_HOST = "127.0.0.1"
_DEADLINE = 30.0

PROXIED = "proxy, poll"
"""How the last connection is made: all that it needs goes through an HTTP proxy by short polls."""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync demo``."""
    parser = new_parser(subparsers, "demo", COMMANDS["demo"], _EXAMPLES)
    parser.add_argument(
        "--size",
        type=_size,
        default=4.0,
        metavar="MIB",
        help="payload echoed over each path, in MiB (default: 4)",
    )


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 1 <= size * 2**20 <= 2**30:
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0 and at most 1024 MiB")
    return size


@dataclass(slots=True)
class Row:
    """One line of the table.

    :ivar path: the kind of path.
    :ivar how: ``introduced`` by the mediator, ``reused``, or :data:`PROXIED`.
    :ivar seconds: from asking to the last byte.
    :ivar digest: SHA-256 of what came back.
    :ivar wrong: what went wrong; empty if nothing did.
    """

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
) -> Row:
    """Echo the payload over one path."""
    row = Row(path, how, Timeline(str(target), reactor.seconds))
    check = _EchoCheck(payload, row.timeline)
    began = reactor.seconds()
    opening = connector.connect(target, "echo", check, timeline=row.timeline)
    try:
        await opening.addTimeout(_DEADLINE, reactor)
        row.digest = await check.finished.addTimeout(_DEADLINE, reactor)
    except WavesyncError as error:
        row.wrong = str(error)
    except TimeoutError:
        row.wrong = f"not done in {_DEADLINE:.0f} s"
    except Exception as error:
        row.wrong = f"{type(error).__name__}: {error}"
    check.finished.addErrback(lambda _: None)  # told already, or not worth telling
    row.seconds = reactor.seconds() - began
    if not row.wrong:
        if row.digest != hashlib.sha256(payload).hexdigest():
            row.wrong = "the payload came back changed"
        elif row.timeline.path != path:
            row.wrong = f"it went over {row.timeline.path}"
        elif row.timeline.reused != (how == "reused"):
            row.wrong = "it was introduced again" if how == "reused" else "nothing was introduced"
    return row


def _table(rows: list[Row], size: int) -> Table:
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


async def run_demo(
    reactor: IReactor,
    payload: bytes,
    *,
    service: IProtocolFactory,
    paths: Sequence[str] = PATHS,
) -> list[Row]:
    """Run all roles on loopback and echo *payload* over every path, twice.

    :param service: makes the protocols of the service; they should echo.
    :raises WavesyncError: the roles do not come together at all.
    """
    relay = RelayService(RelaySettings(name=_HOST, listen=(f"{_HOST}:0",)), reactor)
    relay.startService()
    try:
        url = f"http://{_HOST}:{relay.addresses[0][1]}"
        return await _run_beside(reactor, url, payload, service, paths)
    finally:
        await relay.stopService()


async def run_proxied(reactor: IReactor, payload: bytes, *, service: IProtocolFactory) -> list[Row]:
    """Echo *payload* through a relay where only an HTTP proxy leads out.

    :param service: makes the protocols of the service; they should echo.
    :raises WavesyncError: the roles do not come together at all.
    """
    site = ProxiedSite(reactor, _HOST, service)
    try:
        site.start()
        await _registered(reactor, site.agent, site.relay)
        connector = site.connector()
        try:
            row = await _try(reactor, connector, site.target, payload, "relay", PROXIED)
        finally:
            await connector.close()
        ways = {entry.way for entry in row.timeline.candidates if entry.result == "won"}
        if not row.wrong and not all(way.endswith(", poll") for way in ways):
            row.wrong = f"it went by {', '.join(ways)}"
        return [row]
    finally:
        await site.stop()


async def _run_beside(
    reactor: IReactor,
    relay: str,
    payload: bytes,
    service: IProtocolFactory,
    paths: Sequence[str],
) -> list[Row]:
    """Run everything but the relay."""
    mediator = MediatorService(
        MediatorSettings(name=_HOST, listen=(f"{_HOST}:0",), relays=(relay,)),
        IReactorSocket(reactor),
    )
    mediator.startService()
    try:
        url = f"{_HOST}:{mediator.addresses[0][1]}"
        system = SystemCredentials.create((url,))
        now = time.time()
        server, client = system.add_server(now=now), system.add_client("demo", now=now)
        agent = AgentService(
            reactor,
            server,
            {"echo": service},
            parse_mediators((url,)),
            settings=AgentSettings(allow_loopback=True),
        )
        agent.startService()
        try:
            await _registered(reactor, agent, relay if "relay" in paths else None)
            rows = []
            for path in paths:
                rows += await _both(reactor, client, server.target, payload, path)
            return rows
        finally:
            await agent.stopService()
    finally:
        await mediator.stopService()


async def _registered(reactor: IReactor, agent: AgentService, relay: str | None) -> None:
    """Wait until the agent can be found, and has parked at the relay."""
    try:
        await agent.links[0].when_registered().addTimeout(_DEADLINE, reactor)
    except TimeoutError:
        raise ConnectFailed(
            f"the agent could not register with the mediator on {_HOST} in {_DEADLINE:.0f} s"
        ) from None
    until = reactor.seconds() + _DEADLINE
    while relay is not None and relay not in {str(each.relay) for each in agent.relays.parked}:
        if reactor.seconds() > until:
            raise ConnectFailed(f"the agent could not park at the relay {relay}")
        await deferLater(reactor, 0.01)


async def _both(
    reactor: IReactor, client: Credentials, target: Target, payload: bytes, path: str
) -> list[Row]:
    """One path: first with an introduction, then without."""
    connector = open_connector(reactor, client, paths={path}, allow_loopback=True)
    try:
        return [
            await _try(reactor, connector, target, payload, path, how)
            for how in ("introduced", "reused")
        ]
    finally:
        await connector.close()


def show(rows: list[Row], size: int, console: Console) -> int:
    """Print the table.

    :param size: bytes of the payload.
    :returns: the exit status: 1 if any path failed, or none was tried.
    """
    console.print(_table(rows, size))
    return 1 if not rows or any(row.wrong for row in rows) else 0


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""
    payload = os.urandom(int(arguments.size * 2**20))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)

    async def main(reactor: IReactor) -> int:
        service = Factory.forProtocol(Echo)
        rows = await run_demo(reactor, payload, service=service)
        rows += await run_proxied(reactor, payload, service=service)
        return show(rows, len(payload), console)

    return run_in_reactor(main)
