"""``wavesync report``: what became of a connect, as both ends saw it."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from twisted.internet.defer import CancelledError

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import Plan, add_common, run_in_reactor
from wavesync.client.recent import Recent, Record, recent_path
from wavesync.doctor.answering import versions
from wavesync.doctor.asking import ask_server
from wavesync.doctor.blur import Blur
from wavesync.doctor.flights import Flight
from wavesync.doctor.joining import CLIENT, join
from wavesync.doctor.last import last_findings
from wavesync.errors import SettingsError, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import default_directory
from wavesync.interfaces import IReactor

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["ASK_WITHIN", "add_parser", "run_command"]

ASK_WITHIN = 15.0
"""Seconds that connecting to the server, and asking it, may take together."""

_EXAMPLES = """\
examples:
  wavesync report                       (the last connect)
  wavesync report --list
  wavesync report --id 5f3a --blur --output ticket.json

The file of --output has no keys, no passwords and nothing that was transferred in it; names and ids of
system, server and client are, and so are addresses, unless --blur is given.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync report``."""
    parser = new_parser(subparsers, "report", COMMANDS["report"], _EXAMPLES)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", action="store_true", help="the last connect (this is the default)")
    which.add_argument("--id", metavar="ID", help="the connect with this id; its first digits do")
    which.add_argument("--list", action="store_true", help="list the connects that are kept")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument(
        "--blur", action="store_true", help="show pseudonyms in place of addresses, always the same"
    )
    parser.add_argument(
        "--keep-prefix",
        action="store_true",
        help="with --blur: leave the beginning of public addresses, which tells the provider",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write all that helps others into one file (JSON)"
    )
    parser.add_argument(
        "--no-server", action="store_true", help="do not ask the server for its part"
    )
    add_common(parser)


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""
    path = Path(arguments.credentials or default_directory() / "client.pem")
    credentials = Credentials.load(path, now=None)
    records = Recent(recent_path(path.parent, credentials.system)).load()
    blur = Blur(keep_prefix=arguments.keep_prefix) if arguments.blur else None
    if arguments.list:
        _show_list(records, blur, as_json=arguments.json)
        return 0
    record = _chosen(records, arguments.id)
    server = _ask_server(arguments, record)
    plain = _all_of_it(record, server, credentials, arguments, path.parent)
    if blur is not None:
        plain = blur.data(plain)
    text = msgspec.json.format(msgspec.json.encode(plain)) + b"\n"
    if arguments.output:
        _write(arguments.output, text)
        print(f"written: {arguments.output}")
    elif arguments.json:
        sys.stdout.buffer.write(text)
    else:
        _show(plain)
    return 0


def _chosen(records: Sequence[Record], beginning: str | None) -> Record:
    """Find the connect that is asked for.

    :raises SettingsError: there is none.
    """
    if not records:
        raise SettingsError("no connect is kept: connect to a server first")
    if beginning is None:
        return records[-1]
    wanted = beginning.lower().replace("-", "")
    found = [each for each in records if any(id_.startswith(wanted) for id_ in each.ids)]
    if not wanted or not found:
        raise SettingsError(f"no connect with the id {beginning!r} is kept: see --list")
    return found[-1]


def _ask_server(arguments: argparse.Namespace, record: Record) -> dict[str, Any]:
    """Get the server's part: what it is, or ``missing``, a sentence that says why there is none."""
    if arguments.no_server:
        return {"missing": "the server was not asked"}
    if not record.ids:
        return {"missing": "the connect has no id: it never came so far"}
    try:
        target = str(record.report.get("server") or record.report.get("target"))
        arguments = argparse.Namespace(**{**vars(arguments), "target": target, "report": None})
        # This connect is of no interest to anybody, least of all as the last one.
        plan = replace(Plan.of(arguments), recent=None)
        found: dict[str, Any] = {}

        async def main(reactor: IReactor) -> int:
            found.update(await _asked(reactor, plan, record))
            return 0

        run_in_reactor(main)
    except WavesyncError as error:
        return {"missing": f"the server could not be asked: {error}"}
    return found or {"missing": "it was interrupted"}


async def _asked(reactor: IReactor, plan: Plan, record: Record) -> dict[str, Any]:
    connector = plan.open_connector(reactor)
    timeline = plan.timeline(reactor)
    giving_up = reactor.callLater(ASK_WITHIN, connector.close)
    try:
        session = await connector.session(plan.target, timeline)
        asking = await ask_server(session, reactor)
        flights: list[Flight] = []
        clock_ahead = 0.0
        for connection in record.ids:
            before = time.time()
            flight, now = await asking.flight(connection)
            clock_ahead = now - (before + time.time()) / 2
            if flight is not None:
                flights.append(flight)
        found: dict[str, Any] = {
            "versions": await asking.version(),
            "clock_ahead": round(clock_ahead, 3),
            "flights": flights,
        }
        if not flights:
            found["missing"] = "the server keeps nothing about this connect (any more)"
        asking.close()
        return found
    except CancelledError:
        return {"missing": f"the server could not be asked within {ASK_WITHIN:.0f} s"}
    finally:
        if giving_up.active():
            giving_up.cancel()
        await plan.wind_up(connector, timeline)


def _all_of_it(
    record: Record,
    server: dict[str, Any],
    credentials: Credentials,
    arguments: argparse.Namespace,
    directory: Path,
) -> dict[str, Any]:
    rows = join(record.at, record.report, server.get("flights", ()), server.get("clock_ahead", 0.0))
    plain: dict[str, Any] = {
        "version": 1,
        "made": round(time.time(), 3),
        "client": {"versions": versions(), "at": record.at, "report": record.report},
        "server": server,
        "timeline": rows,
        "settings": {
            "system": credentials.system,
            "client": credentials.leaf.peer.name,
            "certificate_ends": credentials.leaf.not_after,
            "mediators": arguments.mediator or credentials.mediators,
            "relays": credentials.relays,
            "paths": arguments.paths,
        },
    }
    findings = last_findings(directory, credentials.system)
    if findings is not None:
        plain["findings"] = findings
    built: dict[str, Any] = msgspec.to_builtins(plain)
    return built


def _write(path: str, text: bytes) -> None:
    """Write the file, for its owner only.

    :raises SettingsError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(f"the file {path} cannot be written: {error.strerror}") from None


def _show_list(records: Sequence[Record], blur: Blur | None, *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": record.ids[-1] if record.ids else "",
            "at": record.at,
            "target": record.report.get("target"),
            "path": record.report.get("path"),
            "outcome": record.report.get("outcome"),
        }
        for record in records
    ]
    if blur is not None:
        rows = blur.data(rows)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
        return
    table = Table(box=None)
    for heading in ("id", "when", "path", "outcome", "target"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = (str(row["id"])[:8], _when(row["at"]), row["path"], row["outcome"], row["target"])
        table.add_row(*(escape(str(cell or "-")) for cell in cells))
    Console(soft_wrap=False).print(table)


def _show(plain: dict[str, Any]) -> None:
    client, server = plain["client"], plain["server"]
    report = client["report"]
    console = Console(soft_wrap=True, highlight=False)
    ids = report.get("connections") or ["-"]
    lines = [
        f"connect {ids[-1]}",
        f"to {report.get('server') or report.get('target')}, {_when(client['at'])}",
        f"outcome: {report.get('outcome')}" + (f" by {report['path']}" if report["path"] else ""),
    ]
    if "missing" in server:
        lines.append(f"the server's part is missing: {server['missing']}")
    elif abs(server["clock_ahead"]) >= 1:
        lines.append(f"the server's clock is {server['clock_ahead']:+.1f} s off this host's")
    for line in lines:
        console.print(escape(line))
    table = Table(box=None)
    table.add_column("ms", justify="right")
    table.add_column("client", overflow="fold")
    table.add_column("server", overflow="fold")
    for row in plain["timeline"]:
        what = escape(row["what"])
        cells = (what, "") if row["end"] == CLIENT else ("", what)
        table.add_row(f"{row['ms']:.1f}", *cells)
    Console().print(table)
    if network := report.get("network"):
        known = ", ".join(f"{name} {_yes_or_no(value)}" for name, value in network.items())
        console.print(escape(f"the server's network, as it says: {known}"))


def _yes_or_no(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
