"""``wavesync system`` for tests: run in a directory of its own, at a moment of its own."""

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import NOW
from wavesync.cli.system import add_parser, run_command
from wavesync.errors import WavesyncError
from wavesync.identity.credentials import Credentials

__all__ = ["SystemCase", "nobody"]


def nobody(prompt: str) -> str:
    """Be a terminal that is not there."""
    raise EOFError


class SystemCase(SynchronousTestCase):
    """``wavesync system``, in a directory of its own."""

    def setUp(self) -> None:
        """Choose a directory."""
        self.directory = Path(self.mktemp()).absolute()

    def call(self, *argv: str, now: float = NOW, ask: Callable[[str], str] = nobody) -> str:
        """Run the command, give what it prints."""
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers(dest="command"))
        arguments = parser.parse_args(["system", *argv, "--directory", str(self.directory)])
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(run_command(arguments, clock=lambda: now, ask=ask), 0)
        return output.getvalue()

    def refused(
        self, status: int, words: str, *argv: str, ask: Callable[[str], str] = nobody
    ) -> None:
        """Check that the command fails with that exit status and a sentence with those words."""
        with self.assertRaises(WavesyncError) as caught:
            self.call(*argv, ask=ask)
        self.assertEqual(caught.exception.exit_status, status)
        self.assertIn(words, str(caught.exception))

    def load(self, name: str) -> Credentials:
        """Load credentials that the command has made."""
        return Credentials.load(self.directory / name, now=NOW)

    def secret(self, text: str) -> str:
        """Write a file with a passphrase, give its name."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)
