"""Tests for ``wavesync system revoke``: certificates are taken back."""

import stat
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.system_case import SystemCase
from tests.identity.fixed import DAY, NOW
from wavesync.identity.credentials import Credentials
from wavesync.identity.crl import RevocationList
from wavesync.identity.issued import issued_path, load_issued
from wavesync.identity.keys import raw_public_key
from wavesync.identity.revocations import list_path, load_list
from wavesync.identity.system import SystemFile


class RevokeTests(SystemCase):
    """The system's owner takes certificates back."""

    def setUp(self) -> None:
        """Make a system with a server and two clients, one of them twice."""
        super().setUp()
        self.call("create")
        self.made = {name: self.add(name) for name in ("alice", "bob")}
        self.bob_again = self.add("bob")
        self.call("add-server", "--name", "site")
        self.server = self.load("server.pem")

    def add(self, name: str) -> Credentials:
        """Issue a client's credentials."""
        self.call("add-client", name, "--force")
        return self.load("client.pem")

    @property
    def system(self) -> SystemFile:
        """The system's file."""
        return SystemFile.load(self.directory / "system.pem")

    @property
    def path(self) -> Path:
        """Where its list is."""
        return list_path(self.directory, self.system.system)

    def list(self) -> RevocationList:
        """The list as it is now."""
        return load_list(self.path, raw_public_key(self.system.public_key))

    def test_by_name(self) -> None:
        """All certificates of a client go, with a word about what to do next."""
        told = self.call("revoke", "bob")
        serials = {self.made["bob"].leaf.serial, self.bob_again.leaf.serial}
        self.assertEqual(set(self.list().revoked), serials)
        self.assertEqual((self.list().number, self.list().issued), (1, NOW))
        self.assertEqual(told.count("Revoked client bob"), 2)
        for word in (str(self.path), "revocation list 1 (2 certificates)", "crl", "agent.toml"):
            self.assertIn(word, told)

    def test_by_server_id(self) -> None:
        """A server goes by its id, with dashes and in capitals, or by its whole target."""
        server = str(self.server.server)
        dashed = "-".join((server[:8], server[8:12], server[12:16], server[16:20], server[20:]))
        for who in (server, dashed.upper(), str(self.server.target)):
            self.call("revoke", who)
            self.assertEqual(set(self.list().revoked), {self.server.leaf.serial})
            self.path.unlink()

    def test_by_file(self) -> None:
        """Credentials and bare certificates will do, without any record."""
        issued_path(self.directory, self.system.system).unlink()
        bare = self.directory / "bare.pem"
        bare.write_bytes(self.made["alice"].certificate.public_bytes(Encoding.PEM))
        self.call("revoke", str(bare), str(self.directory / "server.pem"))
        self.assertEqual(
            set(self.list().revoked), {self.made["alice"].leaf.serial, self.server.leaf.serial}
        )

    def test_by_serial(self) -> None:
        """A serial number from a log will do."""
        self.call("revoke", "--serial", f"{self.server.leaf.serial:X}", "--serial", "00:0a:0b")
        self.assertEqual(set(self.list().revoked), {self.server.leaf.serial, 0xA0B})
        for bad in ("x", "0", "-1", "f" * 41):
            self.refused(2, "serial number", "revoke", f"--serial={bad}")

    def test_number_rises(self) -> None:
        """Each list has all that were revoked before, and the next number."""
        self.call("revoke", "bob")
        self.call("revoke", "alice", now=NOW + DAY)
        revoked = self.list()
        self.assertEqual((revoked.number, len(revoked.revoked)), (2, 3))
        self.assertEqual(revoked.revoked[self.made["bob"].leaf.serial], NOW)
        self.assertEqual(revoked.revoked[self.made["alice"].leaf.serial], NOW + DAY)

    def test_nothing_new(self) -> None:
        """Who was revoked already makes no new list."""
        self.call("revoke", "bob")
        before = self.path.read_bytes()
        self.assertIn("revoked already", self.call("revoke", "bob", now=NOW + DAY))
        self.assertEqual(self.path.read_bytes(), before)

    def test_reissued(self) -> None:
        """A certificate issued afterwards under the same name is not on the list."""
        self.call("revoke", "bob")
        anew = self.add("bob")
        self.assertNotIn(anew.leaf.serial, self.list().revoked)
        self.assertIn("Revoked client bob", self.call("revoke", "bob"))
        self.assertIn(anew.leaf.serial, self.list().revoked)

    def test_unknown(self) -> None:
        """One that is not known revokes nobody at all."""
        self.refused(2, "no certificate for 'carol'", "revoke", "bob", "carol")
        self.assertFalse(self.path.exists())
        self.refused(2, "say whom", "revoke")

    def test_foreign_certificate(self) -> None:
        """A certificate of another system, and a file without one, are refused."""
        mine, self.directory = self.directory, Path(self.mktemp()).absolute()
        self.call("create")
        self.call("add-client", "eve")
        foreign, self.directory = self.directory / "client.pem", mine
        self.refused(2, "another system", "revoke", str(foreign))
        (mine / "empty.pem").write_text("nothing")
        self.refused(2, "holds no certificate", "revoke", str(mine / "empty.pem"))
        self.assertFalse(self.path.exists())

    def test_other_place(self) -> None:
        """The list may be elsewhere, and is extended there."""
        output = self.directory / "lists" / "revoked.pem"
        self.call("revoke", "bob", "--output", str(output))
        self.call("revoke", "alice", "--output", str(output))
        key = raw_public_key(self.system.public_key)
        self.assertEqual(load_list(output, key).number, 2)
        self.assertFalse(self.path.exists())

    def test_damaged_list(self) -> None:
        """A damaged list is never replaced by one that has forgotten everybody."""
        self.call("revoke", "bob")
        self.path.write_text("garbage")
        self.refused(2, str(self.path), "revoke", "alice")
        self.assertEqual(self.path.read_text(), "garbage")

    def test_damaged_record(self) -> None:
        """A damaged record is told with its line."""
        record = issued_path(self.directory, self.system.system)
        self.assertEqual(len(load_issued(record)), 4)
        for line in (
            b"garbage",
            b"{}",
            b'{"role":"client","name":"x","serial":"-1","not_after":1}',
        ):
            record.write_bytes(record.read_bytes().splitlines()[0] + b"\n" + line + b"\n")
            self.refused(2, "damaged in line 2", "revoke", "alice")

    def test_unwritable_record(self) -> None:
        """Credentials can be made from a stick that cannot be written to; one is told."""
        record = issued_path(self.directory, self.system.system)
        record.unlink()
        record.mkdir()
        self.assertIn("not recorded", self.call("add-client", "dave", "--force"))
        self.assertEqual(self.load("client.pem").name, "dave")

    def test_encrypted_key(self) -> None:
        """The passphrase is asked for, and a wrong one revokes nobody."""
        self.call("create", "--force", "--ask-passphrase", ask=lambda prompt: "open sesame")
        self.call("add-client", "frank", "--force", ask=lambda prompt: "open sesame")
        self.refused(3, "passphrase is wrong", "revoke", "frank", ask=lambda prompt: "barley")
        self.call("revoke", "frank", ask=lambda prompt: "open sesame")
        self.assertEqual(len(self.list().revoked), 1)

    def test_modes(self) -> None:
        """The record is its owner's, the list is for anybody to read."""
        self.call("revoke", "bob")
        record = issued_path(self.directory, self.system.system)
        self.assertEqual(stat.S_IMODE(record.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o444, 0o444)

    def test_show(self) -> None:
        """Who was revoked is shown by name, and credentials that count no more as such."""
        self.assertRegex(self.call("show"), "revoked: +nobody")
        self.call("revoke", "bob", str(self.server.server), "--serial", "abc")
        text = self.call("show")
        for word in (
            "number 1 of 2026-01-01 00:00 UTC",
            f"client bob, serial {self.bob_again.leaf.serial:x}, 2026-01-01 00:00 UTC",
            f"server {self.server.server}, serial",
            "serial abc, 2026",
            "4 certificates",
        ):
            self.assertIn(word, text)
        self.assertEqual(text.count("(REVOKED)"), 2)  # bob's last certificate, and the server's
