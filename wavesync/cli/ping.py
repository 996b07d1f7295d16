"""``wavesync ping``: reach a server, say by which path, and measure the round trip."""

import argparse
from statistics import fmean
from typing import TYPE_CHECKING

from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from wavesync.cli.commands import COMMANDS, new_parser
from wavesync.cli.common import (
    Plan,
    add_common,
    run_in_reactor,
)
from wavesync.client.report import format_address
from wavesync.errors import WavesyncError
from wavesync.interfaces import IReactor
from wavesync.session.client import CONTROL

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["add_parser", "run_command"]

MAX_COUNT = 1_000_000
"""Pings of one command."""

MAX_INTERVAL = 3600
"""Seconds of the longest pause between them."""

_EXAMPLES = """\
examples:
  wavesync ping SERVER.SYSTEM
  wavesync ping -c 1 --paths udp --report report.json SERVER.SYSTEM

What is measured is the round trip of wavesync's own messages through the encrypted session.
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the parser of ``wavesync ping``."""
    parser = new_parser(subparsers, "ping", COMMANDS["ping"], _EXAMPLES)
    parser.add_argument("target", metavar="TARGET", help="SERVER.SYSTEM or SYSTEM")
    parser.add_argument(
        "-c", "--count", type=_count, default=4, metavar="N", help="how many pings (default: 4)"
    )
    parser.add_argument(
        "-i",
        "--interval",
        type=_interval,
        default=1.0,
        metavar="SECONDS",
        help="pause between pings (default: 1)",
    )
    add_common(parser)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 1 <= number <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_COUNT}")
    return number


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_INTERVAL:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to {MAX_INTERVAL} seconds")
    return seconds


def run_command(arguments: argparse.Namespace) -> int:
    """Do it."""
    plan = Plan.of(arguments)

    async def main(reactor: IReactor) -> int:
        connector = plan.open_connector(reactor)
        timeline = plan.timeline(reactor)
        try:
            session = await connector.session(plan.target, timeline)
            await session.open(CONTROL, Protocol(), connection=timeline.connection_id)
            timeline.mark("accepted")
            timeline.outcome = "ok"
            peer = session.path_peer()
            place = format_address((getattr(peer, "host", "?"), getattr(peer, "port", 0)))
            print(
                f"{timeline.server}: {timeline.path} via {place},"
                f" connected in {timeline.ms['accepted']:.1f} ms",
                flush=True,
            )
            times = []
            for number in range(1, arguments.count + 1):
                if number > 1:
                    await deferLater(reactor, arguments.interval)
                times.append(1000 * await session.ping())
                print(f"pong {number}: {times[-1]:.1f} ms", flush=True)
            print(
                f"{len(times)} pings, min/avg/max"
                f" {min(times):.1f}/{fmean(times):.1f}/{max(times):.1f} ms"
            )
            session.close()
        except WavesyncError as error:
            timeline.outcome = str(error)
            raise
        finally:
            await plan.wind_up(connector, timeline)
        return 0

    return run_in_reactor(main)
