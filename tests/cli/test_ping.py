"""Tests for :mod:`wavesync.cli.ping`."""

import json
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.cli.support import Command, Site


class PingTests(TestCase):
    """A person learns whether, how and how fast a server can be reached."""

    timeout = 60

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    def test_ping(self) -> Deferred[None]:
        """Each path is named with its address and times; a whole system may be asked for."""

        async def test() -> None:
            report = self.site.directory / "report.json"
            commands = {
                path: Command(
                    "ping", *self.site.options(), "-c", "3", "-i", "0.01", "--paths", path,
                    "--report", f"{report}.{path}", self.site.target.system,
                )
                for path in ("tcp", "udp")
            }  # fmt: skip
            for path, command in commands.items():
                status, output, complaints = await command.ended
                self.assertEqual((status, complaints), (0, ""))
                first, *pongs, last = output.decode().splitlines()
                self.assertRegex(
                    first,
                    rf"{self.site.server}: {path} via [0-9a-f.:\[\]]+:\d+, connected in [0-9.]+ ms$",
                )
                self.assertEqual([line.split(":")[0] for line in pongs],
                                 ["pong 1", "pong 2", "pong 3"])  # fmt: skip
                self.assertRegex(last, r"3 pings, min/avg/max [0-9.]+/[0-9.]+/[0-9.]+ ms")
                told = json.loads(Path(f"{report}.{path}").read_text())
                self.assertEqual((told["path"], told["outcome"]), (path, "ok"))
                self.assertEqual(told["server"], self.site.server)

        return Deferred.fromCoroutine(test())

    def test_server_goes_away(self) -> Deferred[None]:
        """A server that ends in between is a sentence and status 1."""

        async def test() -> None:
            command = Command("ping", *self.site.options(), "-i", "0.05", "-c", "1000", "--paths",
                              "tcp", self.site.server)  # fmt: skip
            await command.output_with(b"pong 2")
            await self.site.agent.stopService()
            status, _, complaints = await command.ended
            self.assertEqual((status, len(complaints.splitlines())), (1, 1), complaints)

        return Deferred.fromCoroutine(test())
