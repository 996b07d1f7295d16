"""Tests for :mod:`wavesync.cli.report`: both ends' part of a connect, in a real file."""

import io
import json
import stat
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.cli.support import HOST, Command, Site, reactor
from tests.client.world import Talker
from tests.relay.world import until
from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.cli.main import main
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.doctor.last import keep_findings
from wavesync.relay.service import RelayService
from wavesync.relay.settings import RelaySettings
from wavesync.session.services import NamedServices
from wavesync.signalling.urls import parse_mediators

SECRET = b"the payload that nobody else may see"


class ReportTests(TestCase):
    """A person can hand a support team what is known of a connect that went wrong, and nothing else."""

    timeout = 90

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Start a relay, a mediator and an agent that parks."""
        settings = RelaySettings(name=HOST, listen=(f"{HOST}:0",), drain_grace=0.0)
        self.relay = RelayService(settings, reactor)
        self.relay.startService()
        self.site = Site(Path(self.mktemp()).absolute())
        self.site.agent = AgentService(
            reactor,
            self.site.server_credentials,
            self.site.services,
            parse_mediators((self.site.url,)),
            settings=AgentSettings(
                allow_loopback=True,
                lan=False,
                relays=("{}:{}".format(*self.relay.addresses[0]),),
            ),
        )

        async def begin() -> None:
            await self.site.start()
            await until(lambda: self.relay.house.pool.parked)

        return Deferred.fromCoroutine(begin())

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        """Stop them."""

        async def stop() -> None:
            await self.site.stop()
            await self.relay.stopService()

        return Deferred.fromCoroutine(stop())

    async def run_command(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run the command to its good end."""
        command = Command(*argv[:1], *self.site.options(), *argv[1:], stdin=stdin)
        status, output, complaints = await command.ended
        self.assertEqual((status, complaints), (0, ""))
        return output

    def in_process(self, *argv: str, status: int = 0) -> tuple[bytes, str]:
        """Run the command where it needs no reactor, which is faster; give output and complaints."""
        output, complaints = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with redirect_stdout(output), redirect_stderr(complaints):
            self.assertEqual(main(["report", *self.site.options(), *argv]), status)
        output.flush()
        return output.buffer.getvalue(), complaints.getvalue()

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

    def test_one_id(self) -> Deferred[None]:
        """Over each path, the first time and by the way that is known then, both ends have one id."""

        async def test() -> None:
            owner = self.site.client_credentials.leaf.peer.fingerprint.hex()
            for path in ("udp", "tcp", "relay"):
                connector = open_connector(
                    reactor, self.site.client_credentials, paths=(path,), allow_loopback=True
                )
                ids: list[str] = []
                for reused in (False, True):
                    timeline = Timeline(self.site.server, reactor.seconds)
                    talker = Talker(SECRET)
                    await connector.connect(self.site.target, "shout", talker, timeline=timeline)
                    self.assertEqual((timeline.path, timeline.reused), (path, reused))
                    ids += timeline.connections
                    flight = self.site.agent.doctor.flights.find(timeline.connection_id, owner)
                    assert flight is not None
                    words = [each.what for each in flight.events]
                    self.assertIn("opened", words)
                    self.assertEqual(words.count("introduced"), int(not reused))
                    self.assertEqual(words.count("relayed"), int(path == "relay"))
                    await deferLater(reactor, 0)  # then the way is known
                self.assertEqual(len(set(ids)), 2)
                await connector.close()

        return Deferred.fromCoroutine(test())

    def test_both_ends(self) -> Deferred[None]:
        """Over each path: the client's and the server's part have one id, and are one timeline."""

        async def test() -> None:
            for path in ("udp", "relay"):
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
                self.assertIn({"udp": "heard", "relay": "relayed"}[path], words)
                rows = [(row["end"], row["what"].split()[0]) for row in told["timeline"]]
                self.assertEqual(rows[0], ("client", "asks"))
                self.assertLess(
                    rows.index(("server", "introduced")), rows.index(("server", "opened"))
                )
                self.assertLess(abs(server["clock_ahead"]), 1)
            await self.check_support_file()
            shown = (await self.run_command("report")).decode()
            self.assertIn("outcome: ok by relay", shown)
            self.assertIn("introduced by the mediator", shown)
            listed = json.loads(self.in_process("--list", "--json")[0])
            self.assertEqual([each["path"] for each in listed], ["udp", "relay"])
            first, _ = self.in_process("--id", listed[0]["id"][:10], "--no-server", "--json")
            told = json.loads(first)
            self.assertEqual(told["client"]["report"]["path"], "udp")
            self.assertEqual(told["server"], {"missing": "the server was not asked"})

        return Deferred.fromCoroutine(test())

    async def check_support_file(self) -> None:
        """The file for a ticket has all that helps, no address when blurred, and is its owner's only."""
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
        self.assert_no_secrets(next(directory.glob("recent-*.json")).read_bytes())

    def test_server_away(self) -> Deferred[None]:
        """Where the server does not tell its part, ours is shown with a sentence that says why."""

        async def test() -> None:
            # As in an older version, and with settings that say no.
            self.site.agent.sessions.services = NamedServices(self.site.services)
            await self.run_command("ping", "-c", "1", self.site.server)
            told = json.loads(await self.run_command("report", "--json"))
            self.assertIn("older version", told["server"]["missing"])
            await self.site.agent.stopService()
            told = json.loads(await self.run_command("report", "--json"))
            self.assertEqual(told["client"]["report"]["outcome"], "ok")
            self.assertIn("the server could not be asked: ", told["server"]["missing"])
            self.assertIn("is not online", told["server"]["missing"])
            _, complaints = self.in_process("--id", "f00d", status=2)
            self.assertIn("no connect with the id 'f00d' is kept", complaints)

        return Deferred.fromCoroutine(test())
