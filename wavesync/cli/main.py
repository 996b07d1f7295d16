"""The command ``wavesync``: finds the subcommand and turns errors into sentences.

A subcommand is one module of this package with two functions: ``add_parser(subparsers)`` adds a
parser of the module's own name, and ``run_command(arguments)`` does the work and gives the exit
status.  Only the module of the subcommand that was asked for is imported, and none for help and version.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from wavesync.cli.commands import COMMANDS
from wavesync.errors import WavesyncError

if TYPE_CHECKING:
    from wavesync.cli.commands import Subparsers

__all__ = ["main"]

_EPILOG = """\
Exit status: 0 done, 1 could not connect, 2 usage or settings, 3 not allowed (credentials).
wavesync COMMAND --help shows examples.
"""


def main(
    argv: Sequence[str] | None = None,
    *,
    commands: Mapping[str, str] = COMMANDS,
    load: Callable[[str], ModuleType] = importlib.import_module,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Run one subcommand.

    Never shows a traceback, unless ``WAVESYNC_DEBUG`` is set in the environment and the error is
    a bug of ours.

    :param argv: the arguments without the program's name; those of the process when None.
    :param commands: the subcommands there are, and what each does.
    :param load: imports a module by its full name.
    :param environment: the environment's variables.
    :return: the exit status.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        module = load(f"wavesync.cli.{_wanted(argv, commands)}")
        parser, subparsers = _parser()
        module.add_parser(subparsers)
        status = int(module.run_command(parser.parse_args(argv)))
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        # argparse has shown its help (0) or its one sentence (2).
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: nobody is left to be told.
        _discard_output()
        return 1
    except WavesyncError as error:
        return _complain(str(error), error.exit_status)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _complain(f"{place}{error.strerror or error}", 1)
    except Exception as error:
        if environment.get("WAVESYNC_DEBUG"):
            raise
        return _complain(
            f"this is a bug: {type(error).__name__}: {error}"
            " (with WAVESYNC_DEBUG=1 in the environment it shows where)",
            1,
        )


def _wanted(argv: Sequence[str], commands: Mapping[str, str]) -> str:
    """:return: the subcommand; help, version and all that is wrong end in ``SystemExit`` here."""
    if argv and argv[0] in commands:
        return argv[0]
    parser, subparsers = _parser()
    for name, what in commands.items():
        subparsers.add_parser(name, help=what, add_help=False)
    return str(parser.parse_known_args(argv)[0].command)


def _parser() -> tuple[argparse.ArgumentParser, "Subparsers"]:
    parser = argparse.ArgumentParser(
        prog="wavesync",
        description="Reach a server behind NAT or a firewall, with no port forwarding.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    return parser, parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, title="commands"
    )


class _Version(argparse.Action):
    """Shows the version; it is looked up only then, which takes as long as all the rest."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, 0, help="show program's version number and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"wavesync {version('wavesync')}")
        parser.exit()


def _complain(sentence: str, status: int) -> int:
    """Say one sentence on standard error."""
    line = " ".join(sentence.split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    print(f"wavesync: {line}", file=sys.stderr)
    return status


def _discard_output() -> None:
    """Keep the interpreter from complaining when it flushes what nobody reads."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass
