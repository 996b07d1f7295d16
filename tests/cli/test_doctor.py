"""Tests for :mod:`wavesync.cli.doctor`."""

import json
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.cli.support import Command, Site

LIMIT = 5.0
"""Seconds that an examination may take."""


class DoctorTests(TestCase):
    """A person learns what the network lets pass, and how a server is reached."""

    timeout = 60

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    def test_pair(self) -> Deferred[None]:
        """The path that was taken is told, with both networks; all as text, or all as JSON."""

        async def test() -> None:
            options = (*self.site.options(), "--no-port-mapping", "--paths", "tcp")
            commands = [
                Command("doctor", *options, *more, self.site.server) for more in ((), ("--json",))
            ]
            (status, output, complaints), (also, plain, _) = [await each.ended for each in commands]
            text = output.decode()
            self.assertEqual((status, also, complaints), (0, 0, ""), text)
            for words in ("The client's network", "The server's network", "taken: tcp in",
                          "All that is needed works."):  # fmt: skip
                self.assertIn(words, text)
            told = json.loads(plain)
            self.assertEqual(told["verdict"]["taken"], "tcp")
            self.assertEqual(told["connect"]["outcome"], "ok")
            self.assertEqual(told["server"]["port"], self.site.agent.tcp_port)
            self.assertLess(told["client"]["took"], LIMIT)
            (mediator,) = told["client"]["mediators"]
            self.assertTrue(mediator["udp"]["works"] and mediator["tcp"]["works"])
            self.assertLess(abs(mediator["clock_error"]), 2.0)

        return Deferred.fromCoroutine(test())

    def test_server_offline(self) -> Deferred[None]:
        """A server that is not there is status 1, and the sentence says so; the network is told still."""

        async def test() -> None:
            await self.site.agent.stopService()
            command = Command("doctor", *self.site.options(), "--no-port-mapping", self.site.server)
            status, output, complaints = await command.ended
            text = output.decode()
            self.assertEqual((status, complaints), (1, ""), text)
            for words in ("taken: none", "is not online", "mediator 127.0.0.1"):
                self.assertIn(words, " ".join(text.split()))

        return Deferred.fromCoroutine(test())

    def test_without_credentials(self) -> Deferred[None]:
        """A mediator is enough to look at a network; nobody there is status 1."""

        async def test() -> None:
            nothing = ("--credentials", str(self.site.directory / "none.pem"))
            good = Command("doctor", "--no-port-mapping", "--mediator", self.site.url)
            bad = Command("doctor", "--no-port-mapping", "--mediator", "tcp://127.0.0.1:1")
            wrong = Command("doctor", *nothing)
            status, output, complaints = await good.ended
            self.assertEqual((status, complaints), (0, ""), output)
            self.assertIn("This network", output.decode())
            status, output, _ = await bad.ended
            self.assertEqual(status, 1)
            self.assertIn("no mediator can be reached", output.decode())
            status, output, complaints = await wrong.ended
            self.assertEqual((status, output), (2, b""))
            self.assertIn("--mediator", complaints)

        return Deferred.fromCoroutine(test())
