"""Tests for :mod:`wavesync.cli.connect`: the command as people and ssh run it."""

import json
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.cli.support import BLOB, Command, Site, reactor, save
from wavesync.identity.system import SystemCredentials


class ConnectTests(TestCase):
    """Standard input and output become a connection, whole, in both directions."""

    timeout = 60

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    def connect(self, service: str, *more: str, **options: Any) -> Command:
        """Start ``wavesync connect``."""
        argv = ["connect", *self.site.options(), *more, self.site.server, service]
        return Command(*argv, **options)

    def go(self, test: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Run a test."""
        return Deferred.fromCoroutine(test)

    def test_half_close(self) -> Deferred[None]:
        """``printf ... | wavesync connect`` gets its answer, over either path, with a report."""

        async def test() -> None:
            reports = [self.site.directory / f"{path}.json" for path in ("tcp", "udp")]
            commands = [
                self.connect(
                    "shout", "--paths", report.stem, "--report", str(report), stdin=b"hello\n"
                )
                for report in reports
            ]
            for ended in await gatherResults([command.ended for command in commands]):
                self.assertEqual(ended, (0, b"HELLO\n", ""))
            for report in reports:
                told = json.loads(report.read_text())
                self.assertEqual((told["path"], told["outcome"]), (report.stem, "ok"))
                self.assertEqual(told["server"], self.site.server)
                self.assertEqual(told["target"], self.site.server)
                stages = list(told["ms"].values())
                self.assertEqual(stages, sorted(stages))
                self.assertEqual([each["result"] for each in told["candidates"]].count("won"), 1)

        return self.go(test())

    async def drained(self, reader: int) -> bytes:
        """Read a pipe to its end, without ever waiting in it."""
        os.set_blocking(reader, False)
        received = b""
        while True:
            try:
                data = os.read(reader, 1000)
            except BlockingIOError:
                await deferLater(reactor, 0.01)
                continue
            if not data:
                os.close(reader)
                return received
            received += data

    def test_files(self) -> Deferred[None]:
        """Input may be a file or ``/dev/null``; output is complete even if its reader is slow."""

        async def test() -> None:
            sent = self.site.directory / "sent"
            sent.write_bytes(b"from a file\n" * 50_000)
            with open(sent, "rb") as file, open(os.devnull, "rb") as nothing:
                by_file = self.connect("shout", stdin=file.fileno())
                by_nothing = self.connect("blob", stdin=nothing.fileno())
                reader, writer = os.pipe()
                slow = self.connect("page", "--paths", "tcp", stdout=writer)
                os.close(writer)
            await deferLater(reactor, 3.0)
            self.assertEqual(await by_file.ended, (0, b"FROM A FILE\n" * 50_000, ""))
            self.assertEqual(await by_nothing.ended, (0, BLOB, ""))
            # More than fits into the pipe, less than makes the session wait: that is long over.
            self.assertFalse(slow.ended.called)
            received = await self.drained(reader)
            self.assertEqual(received, b"x" * 100_000)
            self.assertEqual(await slow.ended, (0, b"", ""))

        return self.go(test())

    def test_server_closes_first(self) -> Deferred[None]:
        """When the server has closed and the input ends later, the command ends, with all bytes."""

        async def test() -> None:
            command = self.connect("blob", stdin=None)
            await command.output_with(BLOB[-1000:])
            await deferLater(reactor, 0.2)
            command.process.closeStdin()
            self.assertEqual(await command.ended, (0, BLOB, ""))

        return self.go(test())

    def test_reader_gone(self) -> Deferred[None]:
        """``wavesync connect ... | head -1`` ends when head has had enough, without a word."""

        async def test() -> None:
            reader, writer = os.pipe()
            command = self.connect("endless", stdin=None, stdout=writer)
            os.close(writer)
            while True:
                os.set_blocking(reader, False)
                await deferLater(reactor, 0.05)
                try:
                    if os.read(reader, 10):
                        break
                except BlockingIOError:
                    pass
            os.close(reader)
            self.assertEqual(await command.ended, (1, b"", ""))

        return self.go(test())

    def test_interrupted(self) -> Deferred[None]:
        """Ctrl-C, and the end of ssh, end it at once and in order: the agent's side is told."""

        async def test() -> None:
            for name in ("INT", "HUP"):
                report = self.site.directory / f"report-{name}"
                command = self.connect("echo", "--report", str(report), stdin=None)
                command.process.write(b"ping\n")
                await command.output_with(b"ping\n")
                began = time.monotonic()
                command.signal(name)
                self.assertEqual(await command.ended, (130, b"ping\n", ""))
                self.assertLess(time.monotonic() - began, 5)
                self.assertIsNotNone(json.loads(report.read_text())["ms"]["first_byte"])

        return self.go(test())

    def test_refused(self) -> Deferred[None]:
        """What cannot be reached is one sentence and the right exit status."""

        async def test() -> None:
            other = SystemCredentials.create((self.site.url,))
            stranger = save(
                other.add_client("mallory", now=time.time()), self.site.directory, "other.pem"
            )
            report = self.site.directory / "failed.json"
            # Whoever remembers a way needs no mediator.
            (self.site.directory / "new").mkdir()
            forgetful = save(
                self.site.client_credentials, self.site.directory / "new", "client.pem"
            )
            offline = str(self.site.system.add_server(now=time.time()).target)
            trust = ["--credentials", self.site.client]
            cases = {
                "no service": self.connect("nothing"),
                "other system": Command(
                    "connect", "--credentials", stranger, self.site.server, "echo"
                ),
                "unreachable": Command(
                    "connect",
                    *("--credentials", forgetful, "--allow-loopback"),
                    *("--mediator", "tcp://127.0.0.1:1", "--report", str(report)),
                    *(self.site.server, "echo"),
                ),
                "offline": Command("connect", *trust, offline, "echo"),
            }
            ended = {name: await command.ended for name, command in cases.items()}
            for name, (status, words) in {
                "no service": (
                    1,
                    "no service 'nothing' here; known: blob, echo, endless, page, shout",
                ),
                "other system": (3, "is of another system"),
                "unreachable": (1, "cannot reach the mediator 127.0.0.1:1: tcp: "),
                "offline": (1, f"{offline} is not online"),
            }.items():
                self.assertEqual((ended[name][0], ended[name][1]), (status, b""), ended[name])
                (line,) = ended[name][2].splitlines()
                self.assertTrue(line.startswith("wavesync: "), line)
                self.assertIn(words, line)
            told = json.loads(report.read_text())
            self.assertIn("cannot reach the mediator", told["outcome"])
            self.assertIsNone(told["path"])

        return self.go(test())
