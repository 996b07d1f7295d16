"""The subcommands of ``wavesync`` and what each does: telling that imports none of their modules."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["COMMANDS", "new_parser"]

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "run all roles on this machine and try every path",
    "connect": "connect standard input and output to a service",
    "forward": "listen here and forward each connection to a service",
    "ping": "reach a server, say by which path, and measure the round trip",
    "doctor": "say what this network lets pass, and why a server is reached as it is",
    "report": "show what became of a connect, as both ends saw it",
    "system": "make and show a system's keys and certificates",
}
"""Each a module of :mod:`wavesync.cli`, and what it does, in the order of the help text."""


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
