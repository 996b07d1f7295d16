"""``wavesync connect``: standard input and output become a service's connection."""

import argparse
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone
from twisted.internet.stdio import StandardIO

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import (
    Plan,
    add_common,
    run_in_reactor,
)
from wavesync.client.watching import LocalEnd, SessionEnd, watched_bridge
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.interfaces import IReactor
from wavesync.session.names import check_service_name

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["add_parser", "run_command"]

_EXAMPLES = """\
examples:
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | wavesync connect SERVER.SYSTEM web
  ssh -o ProxyCommand='wavesync connect SERVER.SYSTEM ssh' me@camera-server
  wavesync connect --report report.json SYSTEM web     (any server of the system)
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync connect``."""
    parser = new_parser(subparsers, "connect", COMMANDS["connect"], _EXAMPLES)
    parser.add_argument("target", metavar="TARGET", help="SERVER.SYSTEM or SYSTEM")
    parser.add_argument("service", metavar="SERVICE", help="the service's name, such as web")
    add_common(parser)


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""
    service = check_service_name(arguments.service)
    plan = Plan.of(arguments)

    async def main(reactor: IReactor) -> int:
        connector = plan.open_connector(reactor)
        timeline = plan.timeline(reactor)
        far, near = watched_bridge(timeline)
        StandardIO(near, reactor=reactor)
        try:
            await connector.connect(plan.target, service, far, timeline=timeline)
            await _until_done(far, near)
        finally:
            await plan.wind_up(connector, timeline)
        return 0

    return run_in_reactor(main)


async def _until_done(far: SessionEnd, near: LocalEnd) -> None:
    """Wait for the end of the session, and until all of it has left through standard output."""
    reason = await far.lost
    if near.deaf:
        raise BrokenPipeError
    if isinstance(reason, WavesyncError):
        raise reason
    if not isinstance(reason, ConnectionDone):
        raise ConnectFailed(f"the connection broke: {reason}")
    near.transport.loseConnection()
    await near.flushed
