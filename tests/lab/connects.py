"""Connects again and again, each time cold, and tells how long each step took.

``python -m tests.lab.connects --loss 3 --jitter 20`` measures in a laboratory of its own;
:func:`connect_often` is what it and the tests use.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.protocol import Protocol

from tests.lab.commands import LabError
from tests.lab.hosts import Host
from tests.lab.product import WEB, Product
from tests.lab.sites import SiteSettings
from tests.lab.topology import Lab
from wavesync.cli.common import run_in_reactor
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.errors import WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor

__all__ = ["LIMIT", "STAGES", "Connects", "connect_often", "crowd"]

#: Seconds within which 95 of 100 connects must be done.
LIMIT = 3.0

STAGES = ("introduced", "authenticated", "accepted")

_EACH = 12.0  # seconds that one connect may take before it counts as failed


@dataclass(frozen=True, slots=True)
class Connects:
    """
    What many connects took.

    :ivar reports: the report of each, in the order of their ends.
    """

    reports: list[dict[str, Any]]

    @property
    def failures(self) -> list[str]:
        """The sentences of those that failed."""
        return [each["outcome"] for each in self.reports if each["outcome"] != "ok"]

    def quantile(self, part: float, stage: str = "accepted") -> float:
        """
        Tell how many seconds that part of the connects took; those that failed took for ever.

        :param part: 0 .. 1.
        :param stage: one of `STAGES`.
        """
        taken = [each["ms"][stage] for each in self.reports]
        times = sorted(float("inf") if each is None else each / 1e3 for each in taken)
        return times[min(len(times) - 1, int(part * len(times)))]

    def __str__(self) -> str:
        stages = (
            f"{stage} {self.quantile(0.5, stage) * 1e3:.0f}/{self.quantile(0.95, stage) * 1e3:.0f}"
            f"/{self.quantile(1.0, stage) * 1e3:.0f}"
            for stage in STAGES
        )
        failed = f"; {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.reports)} connects, p50/p95/max ms: {', '.join(stages)}{failed}"


def connect_often(product: Product, count: int, *options: str, at_a_time: int = 4) -> Connects:
    """
    Connect to the web server from new ports, several at a time, in one process.

    :param count: how many times.
    :param options: ``--paths KINDS``.
    :param at_a_time: how many at one time.
    """
    command = [sys.executable, "-m", "tests.lab.connects", *options]
    command += ["--count", str(count), "--at-a-time", str(at_a_time)]
    command += ["--client", str(product.client_file), "--target", str(product.server.target)]
    done = product.client_host.run(command, timeout=30 + _EACH * count)
    return Connects([json.loads(line) for line in done.stdout.splitlines()])


def crowd(host: Host, count: int = 32) -> None:
    """
    Give a host addresses that nobody can reach it by; they are listed before its own one.

    :param host: one behind a router of a site, with one IPv4 address.
    :param count: how many, at most 255.
    """
    own, network = host.address, host.address.rpartition(".")[0]
    host.namespace.ip(
        f"addr del {own}/24 dev eth0",
        *(f"addr add 10.9.{number}.1/32 dev eth0" for number in range(count)),
        f"addr add {own}/24 dev eth0",
        f"route add default via {network}.1",
    )


def _connect(options: argparse.Namespace) -> int:
    """Be the client: print one line of JSON for each connect."""
    credentials = Credentials.load(Path(options.client), now=time.time())
    target = Target.parse(options.target)
    paths = set(options.paths.split(","))

    async def everything(reactor: IReactor) -> int:
        async def once() -> None:
            connector = open_connector(reactor, credentials, paths=paths)
            timeline = Timeline(str(target), reactor.seconds)
            try:
                connecting = connector.connect(target, WEB, Protocol(), timeline=timeline)
                await connecting.addTimeout(_EACH, reactor)
            except (WavesyncError, TimeoutError) as error:
                timeline.outcome = str(error) or "too late"
            except Exception as error:
                timeline.outcome = repr(error)
            print(timeline.as_line(), end="", flush=True)
            await connector.close()

        places = DeferredSemaphore(options.at_a_time)
        runs = [places.run(lambda: Deferred.fromCoroutine(once())) for _ in range(options.count)]
        await gatherResults(runs)
        return 0

    return run_in_reactor(everything)


def _measure(options: argparse.Namespace) -> int:
    """Build a laboratory and print what the connects in it took."""
    sites = [
        SiteSettings(
            kind,
            delay=options.delay / 1e3,
            loss=options.loss / 1e2,
            jitter=options.jitter / 1e3,
        )
        for kind in options.kinds
    ]
    with Lab(*sites) as lab:
        product = Product(lab)
        for site in lab.sites:
            crowd(site.host, options.useless)
        product.start()
        connects = connect_often(
            product, options.count, "--paths", options.paths, at_a_time=options.at_a_time
        )
    for failure in connects.failures:
        print(failure)
    for report in connects.reports:
        if options.verbose:
            print({stage: report["ms"][stage] for stage in STAGES})
    print(connects)
    return 0 if connects.quantile(0.95) <= LIMIT else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.connects",
        description="How long cold connects take over a bad link; status 1 when p95 is above "
        f"{LIMIT} s.",
    )
    parser.add_argument("kinds", nargs="*", default=["port", "port"], metavar="KIND")
    parser.add_argument("--count", type=int, default=40, help="connects (default 40)")
    parser.add_argument("--delay", type=float, default=20.0, metavar="MS")
    parser.add_argument("--loss", type=float, default=3.0, metavar="PERCENT")
    parser.add_argument("--jitter", type=float, default=20.0, metavar="MS")
    parser.add_argument(
        "--useless", type=int, default=0, metavar="N", help="more addresses of both hosts"
    )
    parser.add_argument("--paths", default="udp", metavar="KINDS")
    parser.add_argument("--at-a-time", type=int, default=4, metavar="N")
    parser.add_argument("--verbose", action="store_true", help="print the times of each")
    parser.add_argument("--client", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Iterable[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    options = _options(list(arguments))
    if options.client:
        return _connect(options)
    try:
        return _measure(options)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
