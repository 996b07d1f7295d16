"""Tests for :mod:`wavesync.identity.files`."""

import contextlib
import os
import stat
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.identity.files import (
    MAX_FILE,
    MAX_LABEL,
    MAX_MEDIATORS,
    MAX_RELAY_URL,
    MAX_RELAYS,
    MAX_URL,
    check_label,
    check_mediators,
    check_relays,
    default_directory,
    parse,
    read_file,
    render,
    write_file,
)
from wavesync.identity.keys import pem_block

BLOCK = pem_block("CERTIFICATE", bytes(100))
TEXT = render("A comment.", {"version": 1, "label": "Süd", "mediators": ["a", "b"]}, [BLOCK])


class WriteTests(SynchronousTestCase):
    """Secrets on disk."""

    def setUp(self) -> None:
        """Work in a new directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "server.pem"

    def test_round_trip(self) -> None:
        """What is written is read."""
        write_file(self.path, TEXT, force=False)
        contents = read_file(self.path)
        self.assertEqual(contents.text("label"), "Süd")
        self.assertEqual(contents.texts("mediators"), ("a", "b"))
        self.assertEqual(contents.pem("CERTIFICATE"), BLOCK)

    def test_mode(self) -> None:
        """Only the owner can read it, whatever the umask."""
        for umask in (0o000, 0o022, 0o077):
            old = os.umask(umask)
            try:
                write_file(self.path, TEXT, force=True)
            finally:
                os.umask(old)
            self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_new_directory_is_private(self) -> None:
        """A directory made for secrets is the owner's only."""
        path = self.directory / "new" / "server.pem"
        write_file(path, TEXT, force=False)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_not_overwritten(self) -> None:
        """A key that is there is never lost by mistake."""
        self.path.write_text("precious")
        error = self.assertRaises(SettingsError, write_file, self.path, TEXT, force=False)
        self.assertIn("--force", str(error))
        self.assertEqual(self.path.read_text(), "precious")

    def test_dangling_link_is_not_followed(self) -> None:
        """A link that somebody laid does not lead the secret elsewhere."""
        elsewhere = self.directory / "elsewhere"
        self.path.symlink_to(elsewhere)
        self.assertRaises(SettingsError, write_file, self.path, TEXT, force=False)
        self.assertFalse(elsewhere.exists())

    def test_force_replaces_a_file_that_was_open_to_all(self) -> None:
        """With force the old file goes, and its mode with it."""
        self.path.write_text("old")
        self.path.chmod(0o644)
        write_file(self.path, TEXT, force=True)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(self.path.read_text(encoding="utf-8"), TEXT)

    def test_nothing_is_left_behind(self) -> None:
        """Neither success nor failure leaves a temporary file."""
        write_file(self.path, TEXT, force=False)
        self.assertRaises(SettingsError, write_file, self.path, TEXT, force=False)
        write_file(self.path, TEXT, force=True)
        self.assertEqual(os.listdir(self.directory), ["server.pem"])

    def test_cannot_be_written(self) -> None:
        """Where no file can be, a sentence says so."""
        self.path.write_text("")
        error = self.assertRaises(SettingsError, write_file, self.path / "x", TEXT, force=False)
        self.assertIn("cannot be written", str(error))
        self.directory.joinpath("d").mkdir()
        self.assertRaises(SettingsError, write_file, self.directory / "d", TEXT, force=True)


class ReadTests(SynchronousTestCase):
    """Files as people leave them."""

    def setUp(self) -> None:
        """Write a good file."""
        self.path = Path(self.mktemp())
        write_file(self.path, TEXT, force=False)

    def refused(self, *words: str) -> None:
        """Check that the file is refused with a sentence with its name and those words."""
        error = self.assertRaises(SettingsError, read_file, self.path)
        for word in (str(self.path), *words):
            self.assertIn(word, str(error))

    def test_missing(self) -> None:
        """A missing file is told as such."""
        self.path.unlink()
        self.refused("does not exist")

    def test_unreadable(self) -> None:
        """What the system refuses to open is told with its reason."""
        self.path = self.path / "below"
        self.refused("cannot be read", "Not a directory")

    def test_directory(self) -> None:
        """A directory is no file."""
        self.path = self.path.parent
        self.refused("Is a directory")

    def test_pipe(self) -> None:
        """A named pipe is refused at once instead of waited for."""
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        waited: list[bool] = []

        def end_the_wait() -> None:
            waited.append(True)
            os.close(os.open(self.path, os.O_RDWR))

        writer = threading.Timer(5, end_the_wait)
        writer.start()
        try:
            self.refused("not a regular file")
        finally:
            writer.cancel()
        self.assertEqual(waited, [])

    def test_too_open(self) -> None:
        """A file that others could read or change is refused with the cure."""
        for bit in (0o040, 0o020, 0o004, 0o002):
            self.path.chmod(0o600 | bit)
            self.refused("chmod 600", f"06{bit:02o}")
        self.path.chmod(0o400)
        read_file(self.path)

    def test_size_limit(self) -> None:
        """A file at the limit is read, one byte more is refused."""
        room = MAX_FILE - len(TEXT.encode())
        for extra, good in ((room, True), (room + 1, False)):
            write_file(self.path, "#" * (extra - 1) + "\n" + TEXT, force=True)
            if good:
                read_file(self.path)
            else:
                self.refused(f"longer than {MAX_FILE}")

    def test_damage(self) -> None:
        """What is wrong with a damaged file is told."""
        for old, new, words in (
            ("version = 1", "version", "not TOML"),
            ("version = 1", "version = 2", "version = 1"),
            ("version = 1\n", "", "version = 1"),
            ("-----END CERTIFICATE-----", "", "PEM blocks are damaged"),
            ("-----END CERTIFICATE-----", "-----END PRIVATE KEY-----", "PEM blocks are damaged"),
            ("AAAA", "A*AA", "PEM blocks are damaged"),
            ("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\nx", "PEM blocks"),
        ):
            write_file(self.path, TEXT.replace(old, new, 1), force=True)
            self.refused("cannot be used", words)

    def test_other_line_ends(self) -> None:
        """A file that went through another system's editor still works."""
        self.path.write_bytes(TEXT.replace("\n", "\r\n").encode())
        self.assertEqual(read_file(self.path).pem("CERTIFICATE"), BLOCK)

    def test_not_text(self) -> None:
        """A binary file is refused."""
        self.path.write_bytes(b"\xff\xfe\0")
        self.refused("not text")

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are taken apart or refused with the one error."""
        for garbage in (data, TEXT.encode() + data, b"version = 1\n" + data):
            with contextlib.suppress(SettingsError):
                parse(garbage)

    def test_deep_toml(self) -> None:
        """Nesting without end is refused like other damage."""
        self.assertRaises(SettingsError, parse, b"a = " + b"[" * 60000)


class ContentsTests(SynchronousTestCase):
    """What a head and blocks may lack."""

    def test_wrong_types(self) -> None:
        """A number in place of a text is refused by name."""
        contents = parse(b'version = 1\nrole = 5\nmediators = ["a", 1]\n')
        self.assertIn("'role'", str(self.assertRaises(SettingsError, contents.text, "role")))
        self.assertIn(
            "'mediators'", str(self.assertRaises(SettingsError, contents.texts, "mediators"))
        )

    def test_missing(self) -> None:
        """A missing text is refused, a missing list is empty, a missing block is refused by name."""
        contents = parse(b"version = 1\n")
        self.assertRaises(SettingsError, contents.text, "role")
        self.assertEqual(contents.texts("mediators"), ())
        error = self.assertRaises(SettingsError, contents.pem, "PRIVATE KEY")
        self.assertIn("'PRIVATE KEY'", str(error))


class CheckTests(SynchronousTestCase):
    """Mediators and labels."""

    def test_mediators(self) -> None:
        """All forms that a mediator's address may have are taken."""
        urls = (
            "mediator.example",
            "mediator.example:3345",
            "udp://192.0.2.1:3345",
            "tcp://[2001:db8::1]:3345",
            "[2001:db8::1]",
            "2001:db8::1",
            "http://m.example/",
            "https://m.example:8443/",
        )
        self.assertEqual(check_mediators(urls), urls)

    def test_not_mediators(self) -> None:
        """Anything else is refused by name."""
        for url in (
            "",
            "ftp://m.example",
            "udp://",
            "udp://m.example:0",
            "udp://m.example:65536",
            "m example",
            "m.example\n",
            "user:secret@m.example",
            "http://m.example/path",
            "-m.example",
            "m\x1b[31m",
        ):
            error = self.assertRaises(SettingsError, check_mediators, [url])
            self.assertIn(repr(url), str(error))

    def test_limits(self) -> None:
        """Longest address and most of them are taken, one more is not."""
        check_mediators(["m"] * MAX_MEDIATORS)
        self.assertRaises(SettingsError, check_mediators, ["m"] * (MAX_MEDIATORS + 1))
        check_mediators(["m" * MAX_URL])
        self.assertRaises(SettingsError, check_mediators, ["m" * (MAX_URL + 1)])

    def test_relays(self) -> None:
        """All forms that a relay's URL may have are taken; no other scheme, not too long, not too many."""
        urls = ("relay.example:3356", "http://192.0.2.1:80", "https://relay.example", "2001:db8::1")
        self.assertEqual(check_relays(urls), urls)
        for url in ("", "udp://relay.example", "http://relay.example:0", "http://r.example/path"):
            error = self.assertRaises(SettingsError, check_relays, [url])
            self.assertIn(repr(url), str(error))
        check_relays(["r"] * MAX_RELAYS)
        self.assertRaises(SettingsError, check_relays, ["r"] * (MAX_RELAYS + 1))
        check_relays(["r" * MAX_RELAY_URL])
        self.assertRaises(SettingsError, check_relays, ["r" * (MAX_RELAY_URL + 1)])

    def test_labels(self) -> None:
        """A label is what a person can read on one line."""
        for label in ("", "Lager Süd 🙂", "x" * MAX_LABEL):
            self.assertEqual(check_label(label), label)
        for label in ("x" * (MAX_LABEL + 1), "a\nb", "\x1b[31m", "\x7f"):
            self.assertRaises(SettingsError, check_label, label)


class DirectoryTests(SynchronousTestCase):
    """Where credentials are looked for."""

    def test_default(self) -> None:
        """Without the variable, or with a relative path in it, it is below the home directory."""
        home = Path.home() / ".config" / "wavesync"
        self.assertEqual(default_directory({}), home)
        self.assertEqual(default_directory({"XDG_CONFIG_HOME": "relative"}), home)

    def test_variable(self) -> None:
        """The XDG variable is honoured."""
        self.assertEqual(default_directory({"XDG_CONFIG_HOME": "/etc/x"}), Path("/etc/x/wavesync"))
