"""Tests for :mod:`wavesync.cli.main`."""

import argparse
import contextlib
import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wavesync.cli.commands import COMMANDS
from wavesync.cli.main import main
from wavesync.errors import ConnectFailed, NotAllowed, SettingsError

_COMMANDS = {"one": "what one does", "two": "what two does"}


def command(name: str, work: Callable[[argparse.Namespace], int]) -> ModuleType:
    """Make a subcommand that does *work*."""
    module: Any = ModuleType(name)
    module.add_parser = lambda subparsers: subparsers.add_parser(name)
    module.run_command = work
    assert isinstance(module, ModuleType)
    return module


class MainTests(SynchronousTestCase):
    """The dispatcher, with subcommands of the tests' own."""

    def setUp(self) -> None:
        """Start with no subcommand imported."""
        self.imported: list[str] = []

    def call(
        self,
        *argv: str,
        work: Callable[[argparse.Namespace], int] = lambda arguments: 0,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str, str]:
        """Call the command; give its exit status, output and complaints."""

        def load(name: str) -> ModuleType:
            self.imported.append(name)
            return command(name.rpartition(".")[2], work)

        output, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaints):
            status = main(argv, commands=_COMMANDS, load=load, environment=environment or {})
        return status, output.getvalue(), complaints.getvalue()

    def raising(self, error: BaseException) -> tuple[int, str, str]:
        """Call a subcommand that raises."""

        def work(arguments: argparse.Namespace) -> int:
            raise error

        return self.call("one", work=work)

    def test_status(self) -> None:
        """The subcommand's result is the exit status."""
        self.assertEqual(self.call("two", work=lambda arguments: 7), (7, "", ""))

    def test_only_what_is_needed_is_imported(self) -> None:
        """A subcommand does not wait for the others to be imported."""
        self.call("two")
        self.assertEqual(self.imported, ["wavesync.cli.two"])

    def test_help(self) -> None:
        """Help lists every subcommand with what it does, and waits for none of them."""
        status, output, _ = self.call("--help")
        self.assertEqual((status, self.imported), (0, []))
        for words in ("what one does", "what two does", "Exit status"):
            self.assertIn(words, output)

    def test_version(self) -> None:
        """The version is told."""
        status, output, _ = self.call("--version")
        self.assertEqual((status, output), (0, f"wavesync {version('wavesync')}\n"))
        self.assertEqual(self.imported, [])

    def test_usage_errors(self) -> None:
        """Nothing, an unknown subcommand and an unknown option are usage errors."""
        for argv in ((), ("three",), ("one", "--what"), ("one", "two")):
            status, output, complaints = self.call(*argv)
            self.assertEqual((status, output), (2, ""))
            self.assertIn("usage: wavesync", complaints)

    def test_errors_are_sentences(self) -> None:
        """Every error of the project is one line and its own exit status."""
        for error, status in (
            (ConnectFailed("no\npath   worked."), 1),
            (SettingsError("no path worked."), 2),
            (NotAllowed("no path worked."), 3),
        ):
            self.assertEqual(self.raising(error), (status, "", "wavesync: no path worked.\n"))

    def test_nothing_hostile_reaches_the_terminal(self) -> None:
        """Control characters that somebody put into an error are not shown as such."""
        self.assertEqual(self.raising(SettingsError("a\x1b[31mb"))[2], "wavesync: a?[31mb\n")

    def test_operating_system_errors(self) -> None:
        """What the system refuses is told with the file's name."""
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x")
        self.assertEqual(self.raising(error), (1, "", "wavesync: /x: No space left on device\n"))

    def test_interrupt(self) -> None:
        """Ctrl-C ends a command without a word."""
        self.assertEqual(self.raising(KeyboardInterrupt()), (130, "", ""))

    def test_reader_gone(self) -> None:
        """A closed pipe ends a command without a word."""
        self.assertEqual(self.raising(BrokenPipeError()), (1, "", ""))

    def test_bug(self) -> None:
        """A bug of ours is one line too, which says how to learn more."""
        status, output, complaints = self.raising(ZeroDivisionError("oh"))
        self.assertEqual((status, output), (1, ""))
        self.assertEqual(complaints.count("\n"), 1)
        self.assertIn("this is a bug: ZeroDivisionError: oh", complaints)
        self.assertIn("WAVESYNC_DEBUG=1", complaints)

    def test_bug_for_developers(self) -> None:
        """With the variable set, a bug shows where it is."""

        def work(arguments: argparse.Namespace) -> int:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.call("one", work=work, environment={"WAVESYNC_DEBUG": "1"})


class CommandsTests(SynchronousTestCase):
    """The subcommands that there are."""

    def test_every_command_has_help_with_examples(self) -> None:
        """A person learns each subcommand from its help."""
        for name in COMMANDS:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                self.assertEqual(main([name, "--help"]), 0)
            self.assertIn(f"wavesync {name}", output.getvalue())
            said = " ".join(output.getvalue().split()).lower()
            self.assertIn(f"{COMMANDS[name]}.", said)
            self.assertIn("example", output.getvalue().lower())


class InstalledTests(SynchronousTestCase):
    """The real command, as its own process."""

    def spawn(
        self,
        *argv: str,
        program: str = "import sys; from wavesync.cli.main import main; sys.exit(main())",
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return subprocess.run(
            [sys.executable, "-c", program, *argv],
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def test_help_is_quick(self) -> None:
        """Help and version load nothing that takes its time."""
        heavy = "{'twisted', 'cryptography', 'OpenSSL', 'rich', 'msgspec'} & set(sys.modules)"
        for option in ("--help", "--version"):
            program = f"import sys; from wavesync.cli.main import main; main(); sys.exit({heavy})"
            done = self.spawn(option, program=program)
            self.assertEqual((done.returncode, done.stderr.strip()), (1, "set()"))
            self.assertIn("wavesync", done.stdout)

    def test_error(self) -> None:
        """A missing file is one sentence and status 2."""
        done = self.spawn("system", "show", "missing.pem")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, "wavesync: missing.pem does not exist.\n")

    def test_reader_gone(self) -> None:
        """``wavesync ... | head -0`` prints no complaint, not even at exit."""
        directory = Path(self.mktemp()).absolute()
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = self.spawn("system", "create", "--directory", str(directory), stdout=writer)
        finally:
            os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertTrue((directory / "system.pem").exists())
