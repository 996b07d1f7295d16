"""Tests for :mod:`wavesync.cli.system`: the command that makes identities."""

import stat
from pathlib import Path

from tests.cli.system_case import SystemCase
from tests.identity.fixed import DAY, NOW
from wavesync.identity.credentials import Credentials
from wavesync.identity.keys import raw_public_key
from wavesync.identity.system import SystemFile


class SystemCommandTests(SystemCase):
    """``wavesync system``, in a directory of its own."""

    def test_from_nothing(self) -> None:
        """Three commands make a system, a server and a client that belong together."""
        made = self.call("create", "--mediator", "m.example", "--mediator", "udp://192.0.2.1:1")
        system = SystemFile.load(self.directory / "system.pem").system
        self.assertIn(system, made)
        made_server = self.call("add-server", "--name", "site")
        made_client = self.call("add-client", "alice")
        server, client = self.load("server.pem"), self.load("client.pem")
        self.assertIn(str(server.target), made_server)
        self.assertIn(f"alice@{system}", made_client)
        self.assertEqual((server.system, client.system), (system, system))
        self.assertEqual((server.label, client.name), ("site", "alice"))
        self.assertEqual(server.mediators, ("m.example", "udp://192.0.2.1:1"))
        self.assertEqual(client.mediators, server.mediators)

    def test_files_are_private(self) -> None:
        """Every file made is readable for its owner only."""
        self.call("create")
        self.call("add-server")
        self.call("add-client", "alice")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(modes, {0o600})

    def test_nothing_is_overwritten(self) -> None:
        """A second run keeps what is there, unless forced."""
        self.call("create")
        self.call("add-client", "alice")
        self.refused(2, "--force", "create")
        self.refused(2, "--force", "add-client", "bob")
        self.assertEqual(self.load("client.pem").name, "alice")
        self.call("add-client", "bob", "--force")
        self.assertEqual(self.load("client.pem").name, "bob")

    def test_output(self) -> None:
        """Credentials go where they are wanted."""
        self.call("create")
        path = self.directory / "deeper" / "bob.pem"
        self.call("add-client", "bob", "--output", str(path))
        self.assertEqual(Credentials.load(path, now=NOW).name, "bob")

    def test_system_elsewhere(self) -> None:
        """The system's key may be on a stick."""
        home, self.directory = self.directory, Path(self.mktemp()).absolute()
        self.call("create")
        stick, self.directory = self.directory / "system.pem", home
        self.refused(2, "does not exist", "add-client", "bob")
        self.call("add-client", "bob", "--system", str(stick))
        self.assertEqual(self.load("client.pem").system, SystemFile.load(stick).system)

    def test_replace_a_servers_key(self) -> None:
        """The same server id with a new key, written as a UUID."""
        self.call("create")
        self.call("add-server")
        old = self.load("server.pem")
        self.call("add-server", "--server-id", str(old.server).upper(), "--force")
        new = self.load("server.pem")
        self.assertEqual(new.server, old.server)
        self.assertNotEqual(raw_public_key(new.private_key), raw_public_key(old.private_key))

    def test_days(self) -> None:
        """The validity is what was asked for."""
        self.call("create")
        self.call("add-client", "bob", "--days", "2")
        self.assertEqual(self.load("client.pem").leaf.not_after, NOW + 2 * DAY)
        self.refused(2, "1 to", "add-server", "--days", "0")

    def test_other_mediators(self) -> None:
        """One site may have a mediator of its own; without any a hint is printed."""
        self.call("create", "--mediator", "m.example")
        self.call("add-client", "bob", "--mediator", "other.example")
        self.assertEqual(self.load("client.pem").mediators, ("other.example",))
        self.call("create", "--force")
        self.assertIn("--mediator", self.call("add-server"))

    def test_relays(self) -> None:
        """A system's relays come with its credentials, are shown, and may be others at one site."""
        self.call("create", "--relay", "relay.example:3356", "--relay", "https://two.example")
        self.call("add-server")
        self.call("add-client", "bob", "--relay", "http://other.example:8080")
        self.assertEqual(
            self.load("server.pem").relays, ("relay.example:3356", "https://two.example")
        )
        self.assertEqual(self.load("client.pem").relays, ("http://other.example:8080",))
        shown = self.call("show")
        self.assertEqual(shown.count("https://two.example"), 2)
        self.assertEqual(shown.count("http://other.example:8080"), 1)
        self.refused(2, "udp://x", "add-client", "eve", "--relay", "udp://x")

    def test_bad_arguments(self) -> None:
        """What cannot be is refused, and no file is made."""
        self.refused(2, "gopher://x", "create", "--mediator", "gopher://x")
        self.assertFalse(self.directory.exists())
        self.call("create")
        self.refused(2, "client's name", "add-client", "Bob")
        self.refused(2, "not an id", "add-server", "--server-id", "office")
        self.refused(2, "label", "add-server", "--name", "x" * 65)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["system.pem"])

    def test_passphrase_file(self) -> None:
        """The key is encrypted under the file's first line, and opened by it."""
        secret = self.secret("open sesame\r\nnot this\n")
        self.call("create", "--passphrase-file", secret)
        file = SystemFile.load(self.directory / "system.pem")
        self.assertEqual(file.unlock(b"open sesame").system, file.system)
        self.call("add-client", "bob", "--passphrase-file", secret)
        wrong = self.secret("open barley\n")
        self.refused(3, "passphrase is wrong", "add-server", "--passphrase-file", wrong)

    def test_bad_passphrase_files(self) -> None:
        """A missing, empty or endless one is refused, and no file is made."""
        self.refused(2, "cannot be read", "create", "--passphrase-file", "missing")
        for text in ("", "\nsecond line", "x" * 5000):
            secret = self.secret(text)
            self.refused(2, "1 to 1024 bytes", "create", "--passphrase-file", secret)
        self.assertFalse(self.directory.exists())

    def test_typed_passphrase(self) -> None:
        """A typed passphrase is asked for twice, later once."""
        prompts: list[str] = []

        def ask(prompt: str) -> str:
            prompts.append(prompt)
            return "open sésame"

        self.call("create", "--ask-passphrase", ask=ask)
        self.assertEqual(len(prompts), 2)
        self.call("add-client", "bob", ask=ask)
        self.assertIn(str(self.directory / "system.pem"), prompts[2])
        self.refused(3, "--passphrase-file", "add-server")

    def test_mistyped_passphrase(self) -> None:
        """Two different ones make no file."""
        answers = ["one", "two"]
        self.refused(
            2, "not the same", "create", "--ask-passphrase", ask=lambda prompt: answers.pop(0)
        )
        self.assertFalse(self.directory.exists())

    def test_bare_key_asks_nothing(self) -> None:
        """Who gives a passphrase for a key that has none is not stopped."""
        self.call("create")
        self.call("add-client", "bob", "--passphrase-file", self.secret("unneeded"))

    def test_show(self) -> None:
        """All that is in the directory is described, with what others need to know."""
        self.call("create", "--mediator", "m.example", "--passphrase-file", self.secret("x"))
        secret = ("--passphrase-file", self.secret("x"))
        self.call("add-server", "--name", "site", *secret)
        self.call("add-client", "alice", *secret)
        text = self.call("show")
        server, client = self.load("server.pem"), self.load("client.pem")
        for word in (
            "role:        system",
            "encrypted",
            str(server.target),
            f"{client.leaf.serial:x}",
            server.peer.fingerprint.hex(),
            "alice",
            "site",
            "m.example",
            "2025-12-25 00:00 to 2035-12-30 00:00 UTC\n",
        ):
            self.assertIn(word, text)

    def test_show_has_no_secrets(self) -> None:
        """What is printed can be sent to anybody."""
        self.call("create")
        self.call("add-server")
        self.call("add-client", "alice")
        text = self.call("show")
        for path in self.directory.iterdir():
            for line in path.read_text().split("-----"):
                if line.startswith("\nM"):
                    self.assertNotIn(line.strip()[:40], text)
        self.assertNotIn("PRIVATE", text)

    def test_show_one(self) -> None:
        """One file is described alone."""
        self.call("create")
        self.call("add-client", "alice")
        text = self.call("show", str(self.directory / "client.pem"))
        self.assertIn("alice", text)
        self.assertNotIn("role:        system", text)
        self.assertIn("mediator:    none", text)

    def test_show_expired(self) -> None:
        """Expired credentials are shown as such, not refused."""
        self.call("create")
        self.call("add-client", "alice", "--days", "1")
        self.assertIn("(EXPIRED)", self.call("show", now=NOW + 2 * DAY))
        self.assertIn("(NOT YET VALID)", self.call("show", now=NOW - 9 * DAY))

    def test_show_nothing(self) -> None:
        """In an empty directory one is told how to begin."""
        self.refused(2, "wavesync system create", "show")

    def test_show_damaged(self) -> None:
        """A damaged file is told with what is wrong in it."""
        self.call("create")
        self.call("add-client", "alice")
        for name in ("system.pem", "client.pem"):
            path = self.directory / name
            path.write_text(path.read_text().replace("-----END CERT", "-----END X"))
            self.refused(2, "PEM blocks are damaged", "show", str(path))
