"""``wavesync doctor``: says what a network lets pass, and why a server is reached as it is."""

import argparse
import sys
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import Plan, add_common, run_in_reactor
from wavesync.cli.doctor_text import Progress, tell
from wavesync.cli.proxying import chosen_proxies
from wavesync.client.report import Timeline
from wavesync.doctor.asking import ask_server
from wavesync.doctor.examine import Examination, examine, examine_relays
from wavesync.doctor.findings import Findings
from wavesync.doctor.last import keep_findings
from wavesync.doctor.summary import findings_of
from wavesync.doctor.verdict import Tried, Verdict, judge, judge_network
from wavesync.errors import SettingsError, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import default_directory
from wavesync.interfaces import IReactor
from wavesync.session.client import CONTROL, ClientSession
from wavesync.signalling.lifetimes import Lifetimes, lifetimes_path
from wavesync.signalling.relay_urls import Relay, parse_relays
from wavesync.signalling.urls import Mediator, parse_mediators
from wavesync.tunnel.proxies import Proxies

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["CONNECT_WITHIN", "add_parser", "run_command"]

CONNECT_WITHIN = 15.0
"""Seconds that the connect to the target may take."""

_EXAMPLES = """\
examples:
  wavesync doctor
  wavesync doctor --mediator mediator.example.com
  wavesync doctor SERVER.SYSTEM
  wavesync doctor --json SERVER.SYSTEM > doctor.json

Exit status: 0 all that is needed works, 1 something does not, 2 usage or settings.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync doctor``."""
    parser = new_parser(subparsers, "doctor", COMMANDS["doctor"], _EXAMPLES)
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="SERVER.SYSTEM or SYSTEM: connect to it, and examine its network as well",
    )
    parser.add_argument("--json", action="store_true", help="write everything as JSON")
    parser.add_argument(
        "--slow",
        action="store_true",
        help="find out how long the router keeps mappings, too (up to two minutes)",
    )
    parser.add_argument(
        "--no-port-mapping",
        action="store_true",
        help="do not have the router map a port for a moment",
    )
    add_common(parser)


@dataclass
class _Found:
    """What has been found.

    :ivar server_why: why nothing is known of the server's network; empty where it is.
    """

    client: Findings
    server: Findings | None = None
    server_why: str = ""
    timeline: Timeline | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(fine=True))

    def as_json(self) -> bytes:
        """All of it as JSON text with a newline at its end."""
        plain = {
            "client": self.client,
            "server": self.server,
            "server_why": self.server_why,
            "connect": None if self.timeline is None else self.timeline.as_dict(),
            "verdict": self.verdict,
        }
        return msgspec.json.format(msgspec.json.encode(plain)) + b"\n"


@dataclass(frozen=True)
class _Places:
    """Whom to ask.

    :ivar directory: where what is found is kept.
    :ivar system: whose credentials there are; empty for none.
    """

    mediators: tuple[Mediator, ...]
    relays: tuple[Relay, ...]
    lifetimes: Lifetimes
    directory: Path
    system: str = ""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "_Places":
        """Find them in the arguments and the credentials; one of both is enough.

        :raises SettingsError: there is neither.
        """
        path = Path(arguments.credentials or default_directory() / "client.pem")
        lifetimes = Lifetimes(lifetimes_path(path.parent), wall_clock=time.time)
        urls = tuple(arguments.mediator)
        relays: tuple[Relay, ...] = ()
        system = ""
        if arguments.credentials or not urls or path.exists():
            try:
                # However old: this is about the network.
                credentials = Credentials.load(path, now=None)
                urls, relays = urls or credentials.mediators, parse_relays(credentials.relays)
                system = credentials.system
            except SettingsError as error:
                if arguments.credentials or not urls:
                    raise SettingsError(
                        f"{error}; without credentials name a mediator with --mediator"
                    ) from None
        return cls(parse_mediators(urls), relays, lifetimes, path.parent, system)


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""
    plan = Plan.of(arguments) if arguments.target else None
    places = _Places.of(arguments)
    proxies = chosen_proxies(arguments)
    progress = Progress(sys.stderr)

    async def main(reactor: IReactor) -> int:
        wanted = Examination(
            mediators=places.mediators,
            relays=places.relays,
            proxy=proxies,
            lifetimes=places.lifetimes,
            slow=arguments.slow,
            map_ports=not arguments.no_port_mapping,
            progress=progress.done,
        )
        with progress:
            examining = Deferred.fromCoroutine(examine(reactor, wanted))
            if plan is None:
                found = _Found(await examining)
                found.verdict = judge_network(found.client)
            else:
                found = await _with_server(reactor, plan, examining)
        if places.system:
            keep_findings(places.directory, places.system, msgspec.json.decode(found.as_json()))
        if arguments.json:
            sys.stdout.buffer.write(found.as_json())
        else:
            tell(
                found.client,
                found.server,
                found.server_why,
                found.timeline,
                found.verdict,
                sys.stdout,
            )
        return 0 if found.verdict.fine else 1

    return run_in_reactor(main)


async def _with_server(reactor: IReactor, plan: Plan, examining: "Deferred[Findings]") -> _Found:
    """Connect meanwhile, ask the server, and judge the pair."""
    connector = plan.open_connector(reactor)
    timeline = plan.timeline(reactor)
    server, why = None, ""
    try:
        session = await connector.session(plan.target, timeline).addTimeout(CONNECT_WITHIN, reactor)
        server, why = await _ask(reactor, session, timeline)
        session.close()
    except WavesyncError as error:
        timeline.outcome = why = str(error)
    except defer.TimeoutError:
        timeline.outcome = why = "the connection did not come about in time"
    finally:
        await plan.wind_up(connector, timeline)
    client = await examining
    if server is None and timeline.network is not None:
        server = findings_of(timeline.network, mapped=_seen_at(timeline))
    if server is not None:
        client = await _same_relays(reactor, plan.proxies, client, server)
    tried = msgspec.convert(timeline.as_dict(), Tried)
    verdict = judge(client, server, [tried])
    return _Found(client, server, why, timeline, verdict)


def _seen_at(timeline: Timeline) -> str:
    """The public IPv4 host at which the server was tried over UDP; empty where it was not."""
    for each in timeline.candidates:
        host = each.address.rpartition(":")[0]
        try:
            if each.kind == "udp" and IPv4Address(host).is_global:
                return host
        except ValueError:
            continue
    return ""


async def _ask(
    reactor: IReactor, session: ClientSession, timeline: Timeline
) -> tuple[Findings | None, str]:
    """Ask the server for its findings; whatever comes of that, the session has to be accepted."""
    try:
        asking = await ask_server(session, reactor, connection=timeline.connection_id)
        timeline.mark("accepted")
        timeline.outcome = "ok"
        findings = await asking.findings()
        asking.close()
        return findings, ""
    except WavesyncError as error:
        if timeline.outcome != "ok":
            await session.open(CONTROL, Protocol())
            timeline.mark("accepted")
            timeline.outcome = "ok"
        return None, str(error)


async def _same_relays(
    reactor: IReactor, proxies: Proxies, client: Findings, server: Findings
) -> Findings:
    """Look at the relays that only the server knows."""
    known = {each.name for each in client.relays}
    missing = [each.name for each in server.relays if each.name not in known]
    try:
        relays = parse_relays(missing)
    except SettingsError:
        return client
    found = await examine_relays(reactor, relays, proxies)
    return replace(client, relays=(*client.relays, *found))
