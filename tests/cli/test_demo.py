"""Tests for :mod:`wavesync.cli.demo`."""

import argparse
import io
import re

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cli.support import Command, reactor
from wavesync.cli.commands import COMMANDS
from wavesync.cli.demo import PROXIED, Row, _size, run_demo, run_proxied, show
from wavesync.client.options import PATHS


class BadEcho(Protocol):
    """An echo that gets the first byte wrong."""

    def __init__(self) -> None:
        self.first = True

    def dataReceived(self, data: bytes) -> None:
        """Send it back, changed."""
        assert self.transport is not None
        if self.first:
            data = bytes([data[0] ^ 1]) + data[1:]
            self.first = False
        self.transport.write(data)


class Hangup(Protocol):
    """A service that takes nothing."""

    def connectionMade(self) -> None:
        """Good-bye."""
        assert self.transport is not None
        self.transport.loseConnection()


class DemoTests(TestCase):
    """The demo says that all is well when it is, and only then."""

    timeout = 90

    def demo(
        self, service: IProtocolFactory, paths: tuple[str, ...] = PATHS
    ) -> Deferred[list[Row]]:
        """Run it with a small payload."""
        running = run_demo(reactor, b"payload" * 1000, service=service, paths=paths)
        return Deferred.fromCoroutine(running)

    @staticmethod
    def shown(rows: list[Row]) -> tuple[int, str]:
        """The exit status, and what a person sees."""
        console = Console(file=io.StringIO(), width=160)
        status = show(rows, 7000, console)
        assert isinstance(console.file, io.StringIO)
        return status, console.file.getvalue()

    def test_all_paths(self) -> Deferred[None]:
        """Every path is tried twice, the second time without an introduction."""

        async def test() -> None:
            rows = await self.demo(Factory.forProtocol(Echo))
            self.assertEqual(
                [(row.path, row.how, row.wrong) for row in rows],
                [(path, how, "") for path in PATHS for how in ("introduced", "reused")],
            )
            status, text = self.shown(rows)
            self.assertEqual((status, text.count(" ok ")), (0, 2 * len(PATHS)))
            self.assertEqual(text.count(rows[0].digest[:12]), 2 * len(PATHS))

        return Deferred.fromCoroutine(test())

    def test_proxied(self) -> Deferred[None]:
        """Where only a proxy leads out that lets short requests pass, it is told so by name."""

        async def test() -> None:
            (row,) = await run_proxied(
                reactor, b"payload" * 1000, service=Factory.forProtocol(Echo)
            )
            self.assertEqual((row.path, row.how, row.wrong), ("relay", PROXIED, ""))
            (won,) = [each for each in row.timeline.candidates if each.result == "won"]
            self.assertRegex(won.way, r"^127\.0\.0\.1:\d+ through proxy 127\.0\.0\.1:\d+, poll$")
            self.assertEqual(self.shown([row])[0], 0)

        return Deferred.fromCoroutine(test())

    def test_changed(self) -> Deferred[None]:
        """A payload that comes back changed is a failure."""

        async def test() -> None:
            rows = await self.demo(Factory.forProtocol(BadEcho), ("tcp",))
            self.assertEqual([row.wrong for row in rows], ["the payload came back changed"] * 2)
            status, text = self.shown(rows)
            self.assertEqual((status, text.count("came back changed")), (1, 2))
            self.assertNotIn(" ok ", text)

        return Deferred.fromCoroutine(test())

    def test_cut_off(self) -> Deferred[None]:
        """A payload that does not come back is a failure, and no traceback."""

        async def test() -> None:
            rows = await self.demo(Factory.forProtocol(Hangup), ("udp",))
            for row in rows:
                self.assertIn("only 0 bytes came back", row.wrong)
            self.assertEqual(self.shown(rows)[0], 1)

        return Deferred.fromCoroutine(test())

    def test_process(self) -> Deferred[None]:
        """The command as the README has it."""

        async def test() -> None:
            status, output, complaints = await Command("demo", "--size", "0.1").ended
            self.assertEqual((status, complaints), (0, ""))
            lines = [re.split(r"\s*[│|]\s*", line) for line in output.decode().splitlines()]
            rows = [tuple(line[1:3]) for line in lines if len(line) > 9 and line[1] in PATHS]
            expected = [(path, how) for path in PATHS for how in ("introduced", "reused")]
            self.assertEqual(rows, [*expected, ("relay", PROXIED)])

        return Deferred.fromCoroutine(test())


class PartsTests(SynchronousTestCase):
    """What surrounds it."""

    def test_nothing_tried(self) -> None:
        """A demo of nothing is no success."""
        self.assertEqual(DemoTests.shown([])[0], 1)

    def test_is_a_command(self) -> None:
        """It is the first that the help names."""
        self.assertEqual(next(iter(COMMANDS)), "demo")

    def test_size(self) -> None:
        """Sizes that make no sense are refused in words."""
        self.assertEqual(_size("0.5"), 0.5)
        self.assertEqual(_size("1024"), 1024.0)
        for text in ("0", "-1", "1024.1", "nan", "inf", "big", "1e-9"):
            error = self.assertRaises(argparse.ArgumentTypeError, _size, text)
            self.assertIn("MiB", str(error))
