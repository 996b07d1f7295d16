"""Tests for :mod:`wavesync.cli.report`: both ends' part of a connect, in a real file."""

import json
import stat
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.cli.support import Command, Site
from wavesync.agent.doctor import AgentDoctor
from wavesync.doctor.last import keep_findings
from wavesync.session.services import NamedServices

SECRET = b"the payload that nobody else may see"


class ReportTests(TestCase):
    """A person can hand a support team what is known of a connect that went wrong, and nothing else."""

    timeout = 90

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a mediator and an agent."""
        self.site = Site(Path(self.mktemp()).absolute())
        return Deferred.fromCoroutine(self.site.start())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""
        return Deferred.fromCoroutine(self.site.stop())

    async def run_command(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run the command to its good end."""
        command = Command(*argv[:1], *self.site.options(), *argv[1:], stdin=stdin)
        status, output, complaints = await command.ended
        self.assertEqual((status, complaints), (0, ""))
        return output

    def secrets(self) -> list[bytes]:
        """What must be nowhere: keys, in all forms, and what was transferred."""
        found = [SECRET, b"PRIVATE KEY", b"proof"]
        for credentials in (self.site.client_credentials, self.site.server_credentials):
            raw = credentials.private_key.private_bytes_raw()
            found += [raw.hex().encode(), raw]
        for line in Path(self.site.client).read_bytes().splitlines():
            if len(line) > 40 and b"=" not in line[:-2]:
                found.append(line)  # base64 of keys and certificates
        return found

    def assert_no_secrets(self, text: bytes) -> None:
        """Look for all of them."""
        secrets = self.secrets()
        self.assertGreater(len(secrets), 8)
        for secret in secrets:
            self.assertNotIn(secret, text)

    def test_both_ends(self) -> Deferred[None]:
        """Over each path: the client's and the server's part have one id, and are one timeline."""

        async def test() -> None:
            for path in ("udp", "tcp"):
                echoed = await self.run_command(
                    "connect", "--paths", path, self.site.server, "shout", stdin=SECRET
                )
                self.assertEqual(echoed, SECRET.upper())
                text = await self.run_command("report", "--json")
                self.assert_no_secrets(text)
                told: dict[str, Any] = json.loads(text)
                report, server = told["client"]["report"], told["server"]
                self.assertEqual((report["path"], report["outcome"]), (path, "ok"))
                (flight,) = server["flights"]
                self.assertEqual([flight["id"]], report["connections"])
                self.assertNotIn("missing", server)
                self.assertEqual(flight["client"], self.site.client_credentials.leaf.peer.text)
                words = [each["what"] for each in flight["events"]]
                for word in ("introduced", "path", "authenticated", "asked", "opened",
                             "first byte", "ended"):  # fmt: skip
                    self.assertIn(word, words)
                ended = next(e["why"] for e in flight["events"] if e["what"] == "ended")
                self.assertEqual(
                    ended, f"in order; {len(SECRET)} bytes in, {len(SECRET)} bytes out"
                )
                if path == "udp":
                    self.assertIn("heard", words)
                rows = [(row["end"], row["what"].split()[0]) for row in told["timeline"]]
                self.assertEqual(rows[0], ("client", "asks"))
                self.assertLess(
                    rows.index(("server", "introduced")), rows.index(("server", "opened"))
                )
                self.assertLess(abs(server["clock_ahead"]), 1)
            shown = (await self.run_command("report")).decode()
            self.assertIn("outcome: ok by tcp", shown)
            self.assertIn("introduced by the mediator", shown)
            listed = json.loads(await self.run_command("report", "--list", "--json"))
            self.assertEqual([each["path"] for each in listed], ["udp", "tcp"])
            first = await self.run_command(
                "report", "--id", listed[0]["id"][:10], "--no-server", "--json"
            )
            told = json.loads(first)
            self.assertEqual(told["client"]["report"]["path"], "udp")
            self.assertEqual(told["server"], {"missing": "the server was not asked"})

        return Deferred.fromCoroutine(test())

    def test_support_file(self) -> Deferred[None]:
        """The file for a ticket has all that helps, no address when blurred, and is its owner's only."""

        async def test() -> None:
            await self.run_command("connect", self.site.server, "echo", stdin=SECRET)
            directory = Path(self.site.client).parent
            keep_findings(directory, self.site.target.system, {"seen": "203.0.113.7"})
            ticket = self.site.directory / "ticket.json"
            await self.run_command("report", "--blur", "--output", str(ticket))
            text = ticket.read_bytes()
            self.assert_no_secrets(text)
            self.assertEqual(stat.S_IMODE(ticket.stat().st_mode), 0o600)
            self.assertNotIn(b"127.0.0.1", text)
            self.assertNotIn(b"203.0.113.7", text)
            self.assertIn(b"loopback-", text)
            told = json.loads(text)
            self.assertEqual(
                set(told),
                {"version", "made", "client", "server", "timeline", "settings", "findings"},
            )
            self.assertIn("wavesync", told["server"]["versions"])
            kept = next(directory.glob("recent-*.json"))
            self.assert_no_secrets(kept.read_bytes())

        return Deferred.fromCoroutine(test())

    def test_server_away(self) -> Deferred[None]:
        """Where the server cannot be asked, our part is shown with a sentence that says why."""

        async def test() -> None:
            await self.run_command("ping", "-c", "1", self.site.server)
            await self.site.agent.stopService()
            told = json.loads(await self.run_command("report", "--json"))
            self.assertEqual(told["client"]["report"]["outcome"], "ok")
            self.assertIn("the server could not be asked: ", told["server"]["missing"])
            self.assertIn("is not online", told["server"]["missing"])
            command = Command("report", *self.site.options(), "--id", "f00d")
            status, _, complaints = await command.ended
            self.assertEqual(status, 2)
            self.assertIn("no connect with the id 'f00d' is kept", complaints)

        return Deferred.fromCoroutine(test())

    def test_older_server(self) -> Deferred[None]:
        """A server that answers no questions is said to be older, or to have it switched off."""

        async def test() -> None:
            # As with settings that say no: only what the settings name is found.
            self.assertTrue(isinstance(self.site.agent.doctor, AgentDoctor))
            self.site.agent.sessions.services = NamedServices(self.site.services)
            await self.run_command("ping", "-c", "1", self.site.server)
            told = json.loads(await self.run_command("report", "--json"))
            self.assertIn("older version", told["server"]["missing"])

        return Deferred.fromCoroutine(test())
