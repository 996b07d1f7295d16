"""The laboratory by hand: ``python -m tests.lab --help``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from typing import NoReturn

from tests.lab.commands import LabError, unavailable
from tests.lab.kinds import KINDS
from tests.lab.namespaces import clean
from tests.lab.topology import MEDIATOR_NAME, Lab, SiteSettings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description="A small internet in network namespaces: a mediator and two sites behind NATs.",
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="list the kinds of site")
    action.add_argument(
        "--shell",
        nargs=2,
        metavar="KIND",
        help="build a laboratory of two sites; open a shell in host a, or hold it until Ctrl-C "
        "when there is no terminal",
    )
    action.add_argument(
        "--clean", action="store_true", help="remove what dead processes left, and nothing else"
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=0.0,
        metavar="MS",
        help="one-way delay between each site and the core, in milliseconds (default 0)",
    )
    parser.add_argument(
        "--loss",
        type=float,
        default=0.0,
        metavar="PERCENT",
        help="packets lost there, in each direction (default 0)",
    )
    parser.add_argument(
        "--hosts", type=int, default=1, metavar="N", help="hosts at each site (default 1)"
    )
    return parser


def _list() -> None:
    width = max(map(len, KINDS))
    for kind in KINDS.values():
        print(f"{kind.name:{width}}  {kind.summary}")


def _explain(lab: Lab) -> None:
    print(
        f"mediator  {', '.join(lab.mediator.addresses)}  (every host knows it as {MEDIATOR_NAME})"
    )
    print(f"          ip netns exec {lab.mediator.namespace.name} bash")
    for site in lab.sites:
        print(f"site {site.name}    {site.kind.name}, {site.wan}: {site.kind.summary}")
        print(f"          ip netns exec {site.router.name} bash    # router")
        for host in site.hosts:
            print(f"          ip netns exec {host.namespace.name} bash    # host, {host.address}")
    print(f"logs      {lab.directory}")


def _hold(lab: Lab) -> None:
    if sys.stdin.isatty():
        print("This shell is in host a; its end is the laboratory's.")
        shell = os.environ.get("SHELL", "/bin/bash")
        subprocess.run(lab.a.host.namespace.command([shell]), check=False)
        return
    print("Held until Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _leave(number: int, frame: object) -> NoReturn:
    """End by an exception, so that the laboratory is removed on the way out."""
    sys.exit(128 + number)


def main(argv: list[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    options = _parser().parse_args(argv)
    if options.list:
        _list()
        return 0
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        if options.clean:
            for name in clean():
                print(f"removed {name}")
            return 0
        signal.signal(signal.SIGTERM, _leave)
        sites = [
            SiteSettings(
                kind, delay=options.delay / 1e3, loss=options.loss / 1e2, hosts=options.hosts
            )
            for kind in options.shell
        ]
        with Lab(*sites) as lab:
            _explain(lab)
            _hold(lab)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
