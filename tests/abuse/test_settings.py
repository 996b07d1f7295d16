"""Settings and credentials files that make no sense: one sentence that names the file."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.abuse.memory import memory
from wavesync.agent.settings import AgentSettings
from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.mediator.settings import MediatorSettings
from wavesync.relay.settings import RelaySettings
from wavesync.settings import MAX_SETTINGS_SIZE, Section, load_settings

_ETC = Path(__file__).parents[2] / "etc"
_NOW = 1_795_000_000.0
_MAX_GROWN = 3 << 20
_FILES = 200
"""Files of each kind; the fuzz targets try more contents without files."""

_LINES = (
    'name = ""',
    "name = 3",
    'name = "two words"',
    "listen = []",
    'listen = "everywhere"',
    'listen = ["127.0.0.1:99999"]',
    "listen = [1, 2]",
    'systems = "some"',
    'systems = ["not an id"]',
    "keep_alive = -1",
    "keep_alive = nan",
    "keep_alive = inf",
    "keep_alive = 1e400",
    "keep_alive = true",
    "keep_alive = 1979-05-27",
    "nonsense = 1",
    '"" = 1',
    '"a\\u0000b" = 1',
    "limits = 3",
    "limits.legs = 0",
    "limits.source_rate = nan",
    "[limits]\nlegs = 0.5",
    "[limits.legs]",
    "[services]\n'Bad Name' = 'tcp:1'",
    "[services]\nweb = 3",
    "[services]\nweb = ''",
    "tcp_port = 70000",
    "tcp_port = '80'",
    "max_sessions = 0",
    "public_addresses = ['nowhere']",
    "mediators = ['ftp://x']",
    "mediators = ['http://a@x']",
    "mediators = ['[::1']",
    "credentials = 7",
    "=",
    "[",
    "]]",
    '"""',
    "a.b.c = [[[[",
    "a = " + "[" * 3000,
    "name = 'x'\nname = 'x'",
    "\ufeff",
    "x" * 5000,
)


class _Mutator:
    """Changes files in many ways."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def change(self, text: bytes) -> bytes:
        """Another file."""
        r = self._random
        at = r.randrange(len(text) + 1)
        match r.randrange(6):
            case 0:
                return text[:at]
            case 1:
                return text[:at] + r.randbytes(r.randrange(1, 8)) + text[at:]
            case 2:
                changed = bytearray(text)
                for bit in r.sample(range(8 * len(text)), r.randint(1, 3)):
                    changed[bit // 8] ^= 1 << bit % 8
                return bytes(changed)
            case 3:
                return text[:at] + text[at + r.randrange(1, 40) :]
            case 4:
                return r.choice(_LINES).encode() + b"\n" + text
            case _:
                return text + b"\n" + r.choice(_LINES).encode() + b"\n"


class FileTests(SynchronousTestCase):
    """In one process, by the thousand."""

    def check(
        self, load: Callable[[str], object], texts: Callable[[], bytes], *, refused: int
    ) -> None:
        """Load a thousand files: each is good, or is refused in one sentence that names it."""
        path = self.mktemp()
        count = 0

        def attempt() -> bool:
            Path(path).write_bytes(texts())
            os.chmod(path, 0o600)
            try:
                load(path)
            except (SettingsError, NotAllowed) as error:
                sentence = str(error)
                self.assertIn(path, sentence)
                self.assertEqual(sentence.count("\n"), 0, sentence)
                self.assertLess(len(sentence), 6000)
                self.assertNotIn("Traceback", sentence)
                return True
            return False

        for _ in range(100):
            attempt()
        files, before = len(os.listdir("/proc/self/fd")), memory()
        for _ in range(_FILES):
            count += attempt()
        self.assertEqual(len(os.listdir("/proc/self/fd")), files)
        self.assertLess(memory() - before, _MAX_GROWN)
        self.assertGreaterEqual(count, refused)
        self.assertEqual(self.flushLoggedErrors(), [])

    def check_section(self, section: type[Section], name: str) -> None:
        """Change a sample file a thousand times."""
        good = (_ETC / name).read_bytes()
        # With its settings in force, not only shown.
        shown = b"\n".join(line.removeprefix(b"#") for line in good.splitlines())
        mutator = _Mutator(name)
        texts = (good, shown)
        turn = iter(range(10 * _FILES))
        self.check(
            lambda path: load_settings(path, section),
            lambda: mutator.change(texts[next(turn) % 2]),
            refused=_FILES // 3,
        )

    def test_mediator(self) -> None:
        """The mediator's settings."""
        self.check_section(MediatorSettings, "mediator.toml")

    def test_relay(self) -> None:
        """The relay's settings."""
        self.check_section(RelaySettings, "relay.toml")

    def test_agent(self) -> None:
        """The agent's settings."""
        self.check_section(AgentSettings, "agent.toml")

    def test_every_line(self) -> None:
        """Each kind of wrong line is refused: as wrong, or as another role's setting."""
        path = self.mktemp()
        for line in _LINES:
            Path(path).write_text(line + "\n", encoding="utf-8")
            for section in (MediatorSettings, AgentSettings, RelaySettings):
                with self.assertRaises(SettingsError, msg=(line, section)) as caught:
                    load_settings(path, section)
                self.assertIn(path, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))

    def test_size(self) -> None:
        """A file that is far too large is not even read to its end; nor is a device."""
        path = self.mktemp()
        Path(path).write_bytes(b"#" * (MAX_SETTINGS_SIZE + 1))
        for bad in (path, "/dev/zero", "/", "/nowhere/at/all"):
            with self.assertRaises(SettingsError) as caught:
                load_settings(bad, MediatorSettings)
            self.assertIn(bad, str(caught.exception))

    def _credentials(self) -> tuple[Credentials, bytes]:
        credentials = SystemCredentials.create(("mediator.example",)).add_client("good", now=_NOW)
        path = self.mktemp()
        credentials.save(path)
        return credentials, Path(path).read_bytes()

    def test_credentials(self) -> None:
        """Credentials with something changed."""
        good = self._credentials()[1]
        mutator = _Mutator("credentials")
        self.check(
            lambda path: Credentials.load(path, now=_NOW),
            lambda: mutator.change(good),
            refused=_FILES * 2 // 3,
        )

    def test_wrong_key(self) -> None:
        """Credentials whose key does not match their certificate."""
        credentials, good = self._credentials()
        keys = [_pem(credentials.private_key)] + [
            _pem(Ed25519PrivateKey.generate()) for _ in range(20)
        ]
        self.assertIn(keys[0], good)
        turn = iter(range(2 * _FILES))
        self.check(
            lambda path: Credentials.load(path, now=_NOW),
            lambda: good.replace(keys[0], keys[1 + next(turn) % 20]),
            refused=_FILES,
        )

    def test_expired(self) -> None:
        """Credentials that have expired."""
        good = self._credentials()[1]
        later = _NOW + 20 * 365 * 86400.0
        self.check(lambda path: Credentials.load(path, now=later), lambda: good, refused=_FILES)


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ProcessTests(SynchronousTestCase):
    """As a person meets it: one line on standard error and status 2."""

    def test_twist(self) -> None:
        """``twist`` with malformed settings ends at once, without a traceback."""
        for service, text in (
            ("wavesync-mediator", "keep_alive = nan\n"),
            ("wavesync-agent", "[services\n"),
        ):
            path = os.path.abspath(self.mktemp())
            Path(path).write_text(text)
            done = subprocess.run(
                [sys.executable, "-m", "twisted", service, "--config", path],
                capture_output=True,
                text=True,
                timeout=60,
            )
            said = done.stderr.strip().splitlines()
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(len(said), 1, said)
            self.assertIn(path, said[0])
