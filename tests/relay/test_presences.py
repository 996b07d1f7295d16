"""Which presence a relay's settings ask for, and where its store is."""

import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.relay.presence import MemoryPresence
from wavesync.relay.presences import open_presence
from wavesync.relay.redis_url import MAX_DATABASE, MAX_PASSWORD, PASSWORD, RedisURL
from wavesync.relay.settings import RelaySettings
from wavesync.relay.shared_presence import SharedPresence
from wavesync.settings import parse_settings

_WITHOUT = """
import sys
sys.modules["txredisapi"] = None
from twisted.application.service import IService
from wavesync.relay.service import Options, makeService
options = Options()
options["config"] = sys.argv[1]
makeService(options)
"""


class RedisURLTests(SynchronousTestCase):
    """Where Redis is."""

    def file(self, content: bytes) -> str:
        """Write a file."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return str(path)

    def test_parsed(self) -> None:
        """Port and database may be left out; a name may be told; IPv6 addresses are in brackets."""
        for text, expected, shown in (
            ("redis://redis.example", RedisURL("redis.example", 6379, 0), "redis.example:6379/0"),
            ("redis://10.0.0.1:7000/3", RedisURL("10.0.0.1", 7000, 3), "10.0.0.1:7000/3"),
            ("redis://me@a:1/", RedisURL("a", 1, 0, "me"), "a:1/0"),
            ("redis://[::1]:6380", RedisURL("::1", 6380, 0), "[::1]:6380/0"),
            (
                f"redis://a/{MAX_DATABASE}",
                RedisURL("a", 6379, MAX_DATABASE),
                f"a:6379/{MAX_DATABASE}",
            ),
        ):
            url = RedisURL.parse(text)
            self.assertEqual((url, str(url)), (expected, shown))

    def test_refused(self) -> None:
        """What is wrong is told without showing it: people write passwords there."""
        for text in (
            "redis.example",
            "rediss://a",
            "redis://",
            "redis://:sesame@a",
            "redis://me:sesame@a:6379/0",
            "redis://a:0",
            "redis://a:65536",
            f"redis://a/{MAX_DATABASE + 1}",
            "redis://a/x",
            "redis://a?x",
            "redis://a b",
            "redis://[a]",
            "redis://::1",
        ):
            error = self.assertRaises(SettingsError, RedisURL.parse, text)
            self.assertIn("presence", str(error))
            self.assertNotIn("sesame", str(error))

    def test_password(self) -> None:
        """It is the first line of the file, else in the environment; it is not shown."""
        url = RedisURL.parse("redis://me@a")
        environment = {PASSWORD: "from outside"}
        found = url.with_password(self.file(b"sesame\nmore\n"), environment)
        self.assertEqual((found.password, found.user), ("sesame", "me"))
        self.assertNotIn("sesame", f"{found} {found!r}")
        self.assertEqual(url.with_password("", environment).password, "from outside")
        self.assertEqual(url.with_password("", {}).password, "")

    def test_password_wrong(self) -> None:
        """A file without a password, or with one too long, is a mistake."""
        url = RedisURL.parse("redis://a")
        longest = b"x" * MAX_PASSWORD
        self.assertEqual(url.with_password(self.file(longest), {}).password, longest.decode())
        for file, words in (
            ("/no/such/file", "cannot be read: No such file"),
            (self.file(b"\n"), "holds no password"),
            (self.file(b"\xff\n"), "is not UTF-8 text"),
            (self.file(longest + b"x"), "1024 bytes at most"),
        ):
            error = self.assertRaises(SettingsError, url.with_password, file, {})
            self.assertTrue(str(error).startswith(f"{file}: "), error)
            self.assertIn(words, str(error))


class OpenPresenceTests(SynchronousTestCase):
    """What a relay gets."""

    def test_chosen(self) -> None:
        """A relay shares presence if its settings say where, and nothing otherwise."""
        alone = open_presence(RelaySettings(), reactor, bytes)
        self.assertIsInstance(alone, MemoryPresence)
        settings = RelaySettings(url="http://a.example", presence="redis://b.example")
        self.assertIsInstance(open_presence(settings, reactor, bytes), SharedPresence)

    def test_settings(self) -> None:
        """Others have to be told where to send clients."""
        for text, words in (
            ('presence = "redis://a"', "presence needs url"),
            ('url = "http://a"\npresence = "a"', "presence must be redis://HOST:PORT/DATABASE"),
        ):
            with self.assertRaises(SettingsError) as caught:
                parse_settings(text, RelaySettings, name="r.toml")
            self.assertIn(words, str(caught.exception))

    def test_not_installed(self) -> None:
        """Without txredisapi the relay says what to install, and does not start."""
        path = Path(self.mktemp()).absolute()
        path.write_text('url = "http://a.example"\npresence = "redis://b.example"\n')
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT, str(path)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 2, done.stderr)
        (line,) = done.stderr.splitlines()
        self.assertIn("pip install 'wavesync[redis]'", line)
