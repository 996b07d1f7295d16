"""Tests for :mod:`wavesync.cli.common`: mistakes are told before anything is opened."""

import argparse
import contextlib
import io
import json
import time
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.support import save
from wavesync.cli.common import INTERRUPTED, Plan
from wavesync.cli.main import main
from wavesync.cli.proxying import add_proxy, chosen_proxies
from wavesync.client.report import Timeline
from wavesync.errors import SettingsError
from wavesync.identity.system import SystemCredentials
from wavesync.tunnel.proxies import PASSWORD_VARIABLE, Proxy
from wavesync.tunnel.urls import TunnelURL

DAY = 86400.0


class MistakesTests(SynchronousTestCase):
    """Every mistake is one sentence on standard error, and the right exit status."""

    def setUp(self) -> None:
        """Make a system with a client."""
        now = time.time()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.system = SystemCredentials.create(("tcp://127.0.0.1:1",))
        self.target = str(self.system.add_server(now=now).target)
        self.client = save(self.system.add_client("alice", now=now), self.directory, "client.pem")

    def file(self, name: str, text: str, mode: int = 0o600) -> str:
        """Write a file."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def call(self, *argv: str) -> tuple[int, str, str]:
        """Run the command in this process; it must not come to the reactor."""
        output, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaints):
            status = main(argv, environment={})
        return status, output.getvalue(), complaints.getvalue()

    def assert_refused(self, status: int, words: str, *options: str, target: str = "") -> None:
        """All three commands refuse that, with one sentence."""
        where = target or self.target
        for argv in (
            ("connect", *options, where, "web"),
            ("forward", *options, where, "web", "0"),
            ("ping", *options, where),
        ):
            got, output, complaints = self.call(*argv)
            self.assertEqual((got, output), (status, ""), complaints)
            (line,) = complaints.splitlines()
            self.assertTrue(line.startswith("wavesync: "), line)
            self.assertIn(words, line)

    def test_target(self) -> None:
        """A target that is none."""
        for target in ("camera", f"x.{self.target}", "a" * 1000, f"{self.target}."):
            self.assert_refused(2, "target", "--credentials", self.client, target=target)

    def test_missing_credentials(self) -> None:
        """No file where it should be."""
        missing = str(self.directory / "missing.pem")
        self.assert_refused(2, "does not exist", "--credentials", missing)

    def test_malformed_credentials(self) -> None:
        """A file that is something else, or damaged, or open to others."""
        good = Path(self.client).read_text()
        for name, text, mode, words in (
            ("empty", "", 0o600, "cannot be used"),
            ("noise", "\x00\x01", 0o600, "cannot be used"),
            ("cut", good[: len(good) // 2], 0o600, "cannot be used"),
            ("open", good, 0o644, "others"),
        ):
            path = self.file(name, text, mode)
            self.assert_refused(2, words, "--credentials", path)
        self.assert_refused(2, "cannot be read", "--credentials", str(self.directory))

    def test_server_credentials(self) -> None:
        """A server's credentials where a client's are needed."""
        path = save(self.system.add_server(now=time.time()), self.directory, "server.pem")
        self.assert_refused(2, "these are a server's credentials", "--credentials", path)

    def test_expired_credentials(self) -> None:
        """Credentials that have expired, or are of the future."""
        for name, made in (("old", time.time() - 20 * DAY), ("young", time.time() + 20 * DAY)):
            path = save(
                self.system.add_client("alice", now=made, days=1), self.directory, f"{name}.pem"
            )
            self.assert_refused(3, "cannot be used", "--credentials", path)

    def test_paths(self) -> None:
        """A kind of path that does not exist (yet)."""
        for paths, words in (
            ("smoke", "no such path: smoke; there are lan, tcp, udp, relay"),
            ("tcp,UDP", "no such path: UDP"),
            ("", "no path is named"),
            (" , ", "no path is named"),
        ):
            self.assert_refused(2, words, "--credentials", self.client, "--paths", paths)

    def test_mediator(self) -> None:
        """A mediator's URL that cannot be used."""
        for url, words in (
            ("ftp://m.example", "the scheme must be udp, tcp, http or https"),
            ("https://m.example/x", "expected udp://HOST:PORT"),
            ("m.example:99999", "port"),
            ("", "expected udp://HOST:PORT"),
        ):
            self.assert_refused(2, words, "--credentials", self.client, "--mediator", url)

    def test_proxy(self) -> None:
        """A proxy that cannot be used, or whose password anybody on this host could read."""
        secret = "correct-horse"
        open_file = self.file("password", secret, 0o644)
        user = "http://alice@corp:3128"
        for options, words in (
            (("--proxy", "socks5://corp"), "--proxy is no HTTP proxy"),
            (("--proxy", "http://corp:99999"), "--proxy is no proxy"),
            (("--proxy", f"http://alice:{secret}@corp"), "--proxy holds a password"),
            (("--proxy-password-file", open_file), "goes with a user"),
            (("--proxy", "corp", "--proxy-password-file", open_file), "goes with a user"),
            (("--proxy", user, "--proxy-password-file", open_file), "chmod 600"),
            (("--proxy", user, "--proxy-password-file", "nowhere"), "cannot be read"),
        ):
            self.assert_refused(2, words, "--credentials", self.client, *options)

    def test_report(self) -> None:
        """A report that cannot be written is told before the work, not after it."""
        for path in (str(self.directory), str(self.directory / "no" / "report.json")):
            self.assert_refused(
                2, "cannot be written", "--credentials", self.client, "--report", path
            )

    def test_service(self) -> None:
        """A service's name that none can have."""
        for service in ("", "Web", "a b", "a" * 65, "ä", "-x", "a/b", "a\n"):
            for argv in (
                ("connect", "--credentials", self.client, self.target, "--", service),
                ("forward", "--credentials", self.client, self.target, "--", service, "0"),
            ):
                got, _, complaints = self.call(*argv)
                self.assertEqual(got, 2)
                self.assertIn("is no name of a service", complaints)
                self.assertEqual(len(complaints.splitlines()), 1)

    def test_ping_options(self) -> None:
        """Numbers that make no sense."""
        for option, value in (
            ("-c", "0"), ("-c", "1000001"), ("-c", "x"), ("-c", "9" * 5000), ("-c", "1.5"),
            ("-i", "-1"), ("-i", "nan"), ("-i", "3601"), ("-i", "soon"),
        ):  # fmt: skip
            got, _, complaints = self.call("ping", f"{option}={value}", self.target)
            self.assertEqual(got, 2)
            self.assertIn("usage: wavesync ping", complaints)
            self.assertNotIn("_count", complaints)
            self.assertNotIn("_interval", complaints)


class ProxyingTests(SynchronousTestCase):
    """The options come before the environment."""

    def chosen(self, *options: str, **environ: str) -> Proxy | None:
        """The proxy to a mediator."""
        parser = argparse.ArgumentParser()
        add_proxy(parser)
        proxies = chosen_proxies(parser.parse_args(options), environ)
        return proxies(TunnelURL("tcp", "m.example", 3345))

    def test_which(self) -> None:
        """The option, the environment, none."""
        environ = {"HTTPS_PROXY": "http://env:1"}
        self.assertIsNone(self.chosen())
        self.assertEqual(self.chosen(**environ), Proxy("env", 1))
        self.assertEqual(self.chosen("--proxy", "set:2", **environ), Proxy("set", 2))
        self.assertIsNone(self.chosen("--proxy", "none", **environ))

    def test_password(self) -> None:
        """It is in a file, or in the environment; the file comes first."""
        path = Path(self.mktemp())
        path.write_text("filed")
        path.chmod(0o600)
        user = ("--proxy", "http://alice@set:2")
        environ = {PASSWORD_VARIABLE: "hidden"}
        self.assertEqual(self.chosen(*user, **environ), Proxy("set", 2, "alice", "hidden"))
        found = self.chosen(*user, "--proxy-password-file", str(path), **environ)
        self.assertEqual(found, Proxy("set", 2, "alice", "filed"))


class Closing:
    """Stands for a connector that is closed."""

    closed = False

    def close(self) -> Deferred[None]:
        """Note it."""
        self.closed = True
        return succeed(None)


class PlanTests(SynchronousTestCase):
    """What the options ask for is what is done."""

    def arguments(self, **changed: object) -> argparse.Namespace:
        """What the parser gives."""
        system = SystemCredentials.create(("m.example",))
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.client = system.add_client("alice", now=time.time())
        values: dict[str, object] = {
            "target": str(system.add_server(now=time.time()).target),
            "credentials": save(self.client, directory, "client.pem"),
            "mediator": [],
            "paths": "lan,tcp,udp,relay",
            "allow_loopback": False,
            "report": None,
            "proxy": "",
            "proxy_password_file": "",
        }
        return argparse.Namespace(**{**values, **changed})

    def test_plan(self) -> None:
        """All options, with blanks where people put them."""
        plan = Plan.of(self.arguments(paths=" udp ,", mediator=["tcp://n.example", "n.example"]))
        self.assertEqual(plan.paths, {"udp"})
        self.assertEqual(plan.mediators, ("tcp://n.example", "n.example"))
        self.assertEqual(plan.credentials.name, "alice")
        self.assertIsNone(plan.report)

    def test_report(self) -> None:
        """The report is written when all is over, and replaces an older one."""
        path = Path(self.mktemp()).absolute()
        path.write_text("an older one\n" * 1000)
        plan = Plan.of(self.arguments(report=str(path)))
        timeline = plan.timeline(Clock())
        timeline.outcome = "ok"
        connector = Closing()
        self.successResultOf(
            Deferred.fromCoroutine(plan.wind_up(connector, timeline))  # type: ignore[arg-type]
        )
        self.assertTrue(connector.closed)
        self.assertEqual(json.loads(path.read_text())["outcome"], "ok")

    def test_report_fails_late(self) -> None:
        """A disk that fills up meanwhile is a sentence, too, after the connector was closed."""
        path = Path(self.mktemp()).absolute()
        plan = Plan.of(self.arguments(report=str(path)))
        path.unlink()
        path.mkdir()
        connector = Closing()
        winding = plan.wind_up(connector, Timeline("t", Clock().seconds))  # type: ignore[arg-type]
        failure = self.failureResultOf(Deferred.fromCoroutine(winding), SettingsError)
        self.assertIn("cannot be written", failure.getErrorMessage())
        self.assertTrue(connector.closed)

    def test_interrupted(self) -> None:
        """The status of an interrupted command is the shells' own."""
        self.assertEqual(INTERRUPTED, 128 + 2)
