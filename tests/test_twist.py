"""Tests that ``twist wavesync-mediator`` and ``wavesync-agent`` fail to start in one sentence."""

import contextlib
import io
import socket
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.cli.support import Command, save
from wavesync.agent import service as agent
from wavesync.identity.system import SystemCredentials
from wavesync.mediator import service as mediator

TWIST = "from twisted.application.twist._twist import Twist; Twist.main()"
DAY = 86400.0


class SettingsTests(SynchronousTestCase):
    """What is wrong with a settings file is told when the service is made."""

    def setUp(self) -> None:
        """Make a directory for files, and credentials."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        now = time.time()
        self.system = SystemCredentials.create(("m.example",))
        self.server = save(self.system.add_server(now=now), self.directory, "server.pem")
        self.client = save(self.system.add_client("alice", now=now), self.directory, "client.pem")

    def file(self, text: str) -> str:
        """Write settings."""
        path = self.directory / "settings.toml"
        path.write_text(text)
        return str(path)

    def refused(self, module: Any, name: str, config: str | None) -> tuple[int, str]:
        """Exit status and sentence of a service that cannot be made."""
        options = module.Options()
        options["config"] = config
        complaints = io.StringIO()
        with contextlib.redirect_stderr(complaints):
            stopped = self.assertRaises(SystemExit, module.makeService, options)
        (line,) = complaints.getvalue().splitlines()
        self.assertTrue(line.startswith(f"{name}: "), line)
        assert isinstance(stopped.code, int)
        return stopped.code, line

    def test_mediator(self) -> None:
        """The mediator's mistakes."""
        for text, words in (
            ("listen = 3345", "listen"),
            ("listen = []", "listen must name an address"),
            ('listen = ["3345"]', "is no address to listen on"),
            ('listen = ["*:99999"]', "is no address to listen on"),
            (f'listen = ["*:{"9" * 5000}"]', "is no address to listen on"),
            ('name = ""', "name must be"),
            ('nmae = "m.example"', "there is no setting 'nmae'"),
            ("[limits]\nlegs = 0", "legs must be more than 0"),
            ("keep_alive = 0.1", "keep_alive must be"),
            ("= 3", "is not TOML"),
        ):
            path = self.file(text)
            status, line = self.refused(mediator, "wavesync-mediator", path)
            self.assertEqual(status, 2)
            self.assertIn(words, line)
            self.assertIn(path, line)
        for missing in (str(self.directory / "no.toml"), str(self.directory)):
            status, line = self.refused(mediator, "wavesync-mediator", missing)
            self.assertEqual(status, 2)
            self.assertIn("cannot be read", line)

    def test_agent(self) -> None:
        """The agent's mistakes."""
        old = save(
            self.system.add_server(now=time.time() - 20 * DAY, days=1), self.directory, "old.pem"
        )
        good = f'credentials = "{self.server}"\n'
        services = '[services]\nweb = "tcp:127.0.0.1:80"\n'
        for text, expected, words in (
            (good, 2, "names nothing that clients may open; write there for instance web = "),
            (f'credentials = "{self.directory}/no.pem"\n{services}', 2, "does not exist"),
            (f'credentials = "{self.client}"\n{services}', 2, "these are a client's credentials"),
            (f'credentials = "{old}"\n{services}', 3, "old.pem cannot be used"),
            (
                f'{good}[services]\nweb = "tcp:127.0.0.1"\n',
                2,
                "services.web: 'tcp:127.0.0.1' is no endpoint such as tcp:127.0.0.1:80",
            ),
            (f'{good}[services]\nweb = "nosuch:1"\n', 2, "services.web: 'nosuch:1'"),
            (f'{good}[services]\nweb = "wavesync:x"\n', 2, "a wavesync client is"),
            (f'{good}[services]\nweb = "ssl:h:1:privateKey=/no:certKey=/no"\n', 2, "services.web"),
            (f'{good}mediators = ["ftp://m"]\n{services}', 2, "the scheme must be"),
            (f"{good}tcp_port = 70000\n{services}", 2, "tcp_port must be"),
            (f"{good}tcp_prot = 7000\n{services}", 2, "there is no setting 'tcp_prot'"),
        ):
            status, line = self.refused(agent, "wavesync-agent", self.file(text))
            self.assertEqual((status, words in line), (expected, True), line)
        status, line = self.refused(agent, "wavesync-agent", None)
        self.assertEqual((status, "--config FILE" in line), (2, True), line)

    def test_no_mediator(self) -> None:
        """An agent whose credentials name no mediator says what to do."""
        system = SystemCredentials.create(())
        server = save(system.add_server(now=time.time()), self.directory, "lonely.pem")
        text = f'credentials = "{server}"\n[services]\nweb = "tcp:127.0.0.1:80"\n'
        status, line = self.refused(agent, "wavesync-agent", self.file(text))
        self.assertEqual((status, "no mediator is named" in line), (2, True), line)


class StartTests(TestCase):
    """What goes wrong when the service starts is one sentence and ends the process."""

    timeout = 60

    def setUp(self) -> None:
        """Make a directory for files."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.commands = 0

    def twist(self, name: str, text: str) -> Command:
        """Start a service under ``twist``."""
        self.commands += 1
        path = self.directory / f"{self.commands}.toml"
        path.write_text(text)
        return Command(name, "--config", str(path), module=TWIST, cwd=self.directory)

    def test_cannot_listen(self) -> Deferred[None]:
        """A port that is taken, or an address that is not this host's."""

        async def test() -> None:
            system = SystemCredentials.create(("127.0.0.1:1",))
            server = save(system.add_server(now=time.time()), self.directory, "server.pem")
            agent_text = f'credentials = "{server}"\n{{}}\n[services]\nweb = "tcp:127.0.0.1:80"\n'
            with (
                socket.create_server(("", 0)) as tcp,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            ):
                udp.bind(("", 0))
                tcp_port, udp_port = tcp.getsockname()[1], udp.getsockname()[1]
                cases = (
                    ("wavesync-mediator", f'listen = ["127.0.0.1:{tcp_port}"]', "in use"),
                    ("wavesync-mediator", f'listen = ["127.0.0.1:{udp_port}"]', "in use"),
                    ("wavesync-mediator", 'listen = ["192.0.2.77:0"]', "Cannot assign"),
                    ("wavesync-mediator", 'listen = ["a..b:0"]', "cannot listen on a..b:0"),
                    ("wavesync-agent", agent_text.format(f"tcp_port = {tcp_port}"), "in use"),
                    ("wavesync-agent", agent_text.format(f"udp_port = {udp_port}"), "in use"),
                )
                commands = [self.twist(name, text) for name, text, _ in cases]
                ended = await gatherResults([command.ended for command in commands])
            for (name, _, words), (status, output, complaints) in zip(cases, ended, strict=True):
                self.assertEqual(status, 2, (output, complaints))
                (line,) = complaints.splitlines()
                self.assertTrue(line.startswith(f"{name}: "), line)
                self.assertIn(words, line)
                self.assertNotIn(b"Traceback", output)

        return Deferred.fromCoroutine(test())
