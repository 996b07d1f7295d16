"""``twist wavesync-relay`` as people run it."""

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.relay.world import connect_request, park_request, reactor
from tests.signalling.authority import Authority
from wavesync.errors import SettingsError
from wavesync.identity.system import SystemCredentials
from wavesync.relay.service import Options, RelayService, makeService
from wavesync.relay.settings import Limits, RelaySettings
from wavesync.settings import load_settings, parse_settings
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_lines import Pong, Ready

ROOT = Path(__file__).parents[2]
NAME = "relay.example"


class SettingsTests(SynchronousTestCase):
    """The relay's settings, and the file that shows them."""

    def test_sample(self) -> None:
        """``etc/relay.toml`` holds every setting, with its default."""
        path = ROOT / "etc" / "relay.toml"
        self.assertEqual(load_settings(path, RelaySettings), RelaySettings())
        text = path.read_text()
        table = tomllib.loads(text)
        self.assertEqual(set(table) | {"proxied"}, set(RelaySettings.__struct_fields__))
        self.assertEqual(set(table["limits"]), set(Limits.__struct_fields__))
        # What is shown as a comment can be used as well.
        shown = text.replace("# [[proxied]]", "[[proxied]]")
        shown = re.sub(r"^# (listen = \"127|trusted)", r"\1", shown, flags=re.MULTILINE)
        before, _, after = shown.partition("[[proxied]]")
        front, limits = after.split("# Who may", 1)
        shown = f"{before}# Who may{limits}[[proxied]]{front}"
        (proxied,) = parse_settings(shown, RelaySettings, name="shown").proxied
        self.assertEqual(proxied.listen, "127.0.0.1:3357")

    def test_wrong(self) -> None:
        """Each mistake is told in one sentence with the key."""
        for text, expected in (
            ('name = ""', "name must be the host name"),
            ('name = "Relay.example"', "name must be the host name"),
            ('name = "a b"', "name must be the host name"),
            ("listen = []", "listen, tls_listen or proxied must name an address"),
            ('listen = ["3356"]', "'3356' is no address to listen on"),
            ('tls_listen = ["*:443"]', "tls_listen needs certificate and key"),
            ('url = "ftp://a"', "the scheme must be http or https"),
            ('systems = "some"', 'systems must be "any" or a list'),
            ('systems = ["x"]', "'x' is not an id"),
            ("idle = 0", "idle must be 1 to max_idle"),
            ("max_idle = 6", "idle must be 1 to max_idle"),
            ("max_idle = 129", "max_idle no more than parked_per_server"),
            ("keep_alive = 0.5", "keep_alive must be 1 to 600 seconds"),
            ("keep_alive = nan", "keep_alive must be 1 to 600 seconds"),
            ("idle_timeout = 0.5", "idle_timeout must be 1 second or more"),
            ("drain_grace = -1", "drain_grace must be 0 seconds or more"),
            ('splice = "on"', 'splice must be "auto" or "off"'),
            ('[[proxied]]\nlisten = "x"', "'x' is no address to listen on"),
            ('[[proxied]]\nlisten = "*:1"\ntrusted = []', "trusted must name an address"),
            ('[[proxied]]\nlisten = "*:1"\ntrusted = ["proxy"]', "'proxy' does not appear to be"),
            ("[limits]\npairs = 0", "setting 'limits': pairs must be more than 0"),
            ("[limits]\nsystem_bytes = -1", "system_bytes must be 0 (no limit) or more"),
            ("[limits]\nparis = 1", "there is no setting 'limits.paris'"),
        ):
            with self.assertRaises(SettingsError) as caught:
                parse_settings(text, RelaySettings, name="r.toml")
            sentence = str(caught.exception)
            self.assertIn(expected, sentence)
            self.assertTrue(sentence.startswith("r.toml: "))
            self.assertNotIn("\n", sentence)


class MakeTests(SynchronousTestCase):
    """What is wrong is told when the service is made, or started."""

    def file(self, content: bytes) -> str:
        """Write a file."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)

    def test_refused(self) -> None:
        """What it cannot start with is one sentence and status 2."""
        pem, other = (self.file(Authority().certify(NAME)) for _ in range(2))
        broken = self.file(b"nothing")
        tls = 'listen = []\ntls_listen = ["127.0.0.1:0"]\n'
        for text, words in (
            ("nane = 1", "there is no setting 'nane'"),
            (f'{tls}certificate = "/no"\nkey = "/no"', "/no: cannot be read: No such file"),
            (f'{tls}certificate = "{broken}"\nkey = "{pem}"', "holds no certificate in PEM form"),
            (f'{tls}certificate = "{pem}"\nkey = "{broken}"', "holds no key in PEM form"),
            (f'{tls}certificate = "{pem}"\nkey = "{other}"', "is not the key of"),
        ):
            options = Options()
            options["config"] = self.file(text.encode())
            complaints = io.StringIO()
            with contextlib.redirect_stderr(complaints):
                stopped = self.assertRaises(SystemExit, makeService, options)
            (line,) = complaints.getvalue().splitlines()
            self.assertTrue(line.startswith("wavesync-relay: "), line)
            self.assertIn(words, line)
            self.assertEqual(stopped.code, 2)

    def test_port_taken(self) -> None:
        """A port that is taken is told, and no other stays open."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"127.0.0.1:{taken.getsockname()[1]}"
            settings = RelaySettings(listen=("127.0.0.1:0", text))
            service = RelayService(settings, reactor)
            before = len(os.listdir("/proc/self/fd"))
            error = self.assertRaises(SettingsError, service.startService)
            self.assertEqual(str(error), f"cannot listen on {text}: Address already in use")
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class TwistTests(SynchronousTestCase):
    """The command in a process of its own."""

    def start(self, text: str) -> "subprocess.Popen[str]":
        """Start it; it is ended with the test."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        twist = ["-m", "twisted", "--log-format", "text"]
        command = [sys.executable, *twist, "wavesync-relay", "--config", str(path)]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def line_with(self, process: "subprocess.Popen[str]", words: str) -> str:
        """Wait for a line of its log."""
        assert process.stdout is not None
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            line = process.stdout.readline()
            if words in line or not line:
                return line
        return ""

    def test_drain(self) -> None:
        """SIGTERM lets a pair go on and tells a parked server to move; another ends it at once."""
        process = self.start(f'listen = ["127.0.0.1:0"]\nname = "{NAME}"\ndrain_grace = 60\n')
        ready = self.line_with(process, "is ready on")
        found = re.search(r"127\.0\.0\.1:(\d+)", ready)
        assert found is not None, ready
        port = int(found[1])
        now = time.time()
        system = SystemCredentials.create(())
        server, client = system.add_server(now=now), system.add_client("alice", now=now)

        def dial(request: bytes) -> socket.socket:
            dialled = socket.create_connection(("127.0.0.1", port), timeout=30)
            self.addCleanup(dialled.close)
            dialled.sendall(request)
            return dialled

        def read(leg: socket.socket, end: bytes) -> bytes:
            data = b""
            while not data.endswith(end):
                piece = leg.recv(65536)
                assert piece, data
                data += piece
            return data

        legs = [
            dial(park_request(server, prove=Prover(server, NAME, now + n / 1000))) for n in range(2)
        ]
        for leg in legs:
            self.assertIn(b"Wavesync-Idle: 7\r\n", read(leg, b"PING\n"))
            leg.sendall(Pong().encode())
        asked = connect_request(client, server.target, prove=Prover(client, NAME, now))
        visit = dial(asked + b"hello")
        opened = read(legs[1], b"hello")
        self.assertIn(b" alice 127.0.0.1 ", opened)
        legs[1].sendall(Ready().encode() + b"answer")
        self.assertTrue(read(visit, b"answer").startswith(b"HTTP/1.1 101 "))
        process.terminate()
        self.assertIn("pairs left: 1; they have 60.0 s", self.line_with(process, "draining"))
        self.assertEqual(read(legs[0], b"MOVE\n"), b"MOVE\n")
        self.assertEqual(legs[0].recv(1), b"")
        self.assertRaises(OSError, dial, b"")
        visit.sendall(b"more")
        self.assertEqual(read(legs[1], b"more"), b"more")
        self.assertIsNone(process.poll())
        began = time.monotonic()
        process.terminate()
        process.communicate(timeout=50)
        self.assertLess(time.monotonic() - began, 50)
        self.assertIn(process.returncode, (0, -15))
        self.assertRaises(ConnectionResetError, visit.recv, 1)
