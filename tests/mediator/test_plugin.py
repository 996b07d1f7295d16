"""``twist wavesync-mediator`` as people run it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]


class TwistTests(SynchronousTestCase):
    """The command in a process of its own."""

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start it; it is ended with the test."""
        command = [sys.executable, "-m", "twisted", "wavesync-mediator", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ended(self, *arguments: str) -> tuple[int, str, str]:
        """Run it to its end; return status, output and errors."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def settings(self, text: str) -> str:
        """Write a settings file."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_help(self) -> None:
        """``--help`` says what it is for and what a settings file needs."""
        status, output, _ = self.ended("--help")
        self.assertEqual(status, 0)
        words = " ".join(output.split())
        for expected in ("--config", "etc/mediator.toml", "3345", "'localhost'"):
            self.assertIn(expected, words)

    def test_bad_settings(self) -> None:
        """A mistake in the settings is one sentence and status 2."""
        path = self.settings("nane = 'x'\n")
        status, _, errors = self.ended("--config", path)
        self.assertEqual(errors, f"wavesync-mediator: {path}: there is no setting 'nane'\n")
        self.assertEqual(status, 2)

    def test_port_taken(self) -> None:
        """A port that is taken is one sentence and status 2."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            status, _, errors = self.ended("-c", self.settings(f"listen = ['{listen}']\n"))
        sentence = f"wavesync-mediator: cannot listen on {listen}: Address already in use\n"
        self.assertEqual(errors, sentence)
        self.assertEqual(status, 2)

    def test_ready(self) -> None:
        """When it is ready, one line says where; then it answers."""
        process = self.start("-c", self.settings("listen = ['127.0.0.1:0']\nname = 'm.example'\n"))
        assert process.stdout is not None
        ready = ""
        limit = time.monotonic() + 60
        while "is ready on" not in ready and time.monotonic() < limit:
            ready = process.stdout.readline()
        self.assertIn("m.example", ready)
        self.assertIn("127.0.0.1:", ready)
        process.terminate()
        process.communicate(timeout=60)
        self.assertIn(process.returncode, (0, -15))
