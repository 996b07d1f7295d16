"""The command ``wavesync``: finds the subcommand and turns errors into sentences.

A subcommand is one module of this package with two functions: ``add_parser(subparsers)`` adds a
parser of the module's own name, and ``run_command(arguments)`` does the work and gives the exit
status.  Only the module of the subcommand that was asked for is imported.
"""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from wavesync.errors import WavesyncError

__all__ = ["COMMANDS", "main"]

COMMANDS = ("demo", "connect", "forward", "ping", "doctor", "report", "system")
"""The subcommands, each a module of :mod:`wavesync.cli`, in the order of the help text."""

_EPILOG = """\
Exit status: 0 done, 1 could not connect, 2 usage or settings, 3 not allowed (credentials).
wavesync COMMAND --help shows examples.
"""


def main(
    argv: Sequence[str] | None = None,
    *,
    commands: Sequence[str] = COMMANDS,
    load: Callable[[str], ModuleType] = importlib.import_module,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Run one subcommand.

    Never shows a traceback, unless ``WAVESYNC_DEBUG`` is set in the environment and the error is
    a bug of ours.

    :param argv: the arguments without the program's name; those of the process when None.
    :param commands: the subcommands there are.
    :param load: imports a module by its full name.
    :param environment: the environment's variables.
    :return: the exit status.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        wanted = argv[:1] if argv and argv[0] in commands else commands
        modules = {name: load(f"wavesync.cli.{name}") for name in wanted}
        arguments = _parser(modules, commands).parse_args(argv)
        status = int(modules[arguments.command].run_command(arguments))
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


def _parser(modules: Mapping[str, ModuleType], commands: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wavesync",
        description="Reach a server behind NAT or a firewall, with no port forwarding.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = importlib.metadata.version("wavesync")
    parser.add_argument("--version", action="version", version=f"wavesync {version}")
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, title="commands"
    )
    for module in modules.values():
        module.add_parser(subparsers)
    return parser


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
