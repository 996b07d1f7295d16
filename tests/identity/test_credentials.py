"""Tests for :mod:`wavesync.identity.credentials` and :mod:`wavesync.identity.system`."""

import base64
import dataclasses
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import (
    DAY,
    NOW,
    OTHER_KEY,
    SERVER,
    SYSTEM,
    SYSTEM_KEY,
    SYSTEM_RAW,
    client_credentials,
    odd_leaf,
    server_credentials,
)
from wavesync.errors import NotAllowed, SettingsError, WavesyncError
from wavesync.identity.certificates import make_system_certificate
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import parse
from wavesync.identity.ids import Target
from wavesync.identity.keys import pem_block, private_key_pem, raw_public_key
from wavesync.identity.system import SystemCredentials, SystemFile
from wavesync.identity.verify import Role, verify_leaf

MEDIATORS = ("udp://mediator.example:3345", "192.0.2.1")
SYSTEM_CREDENTIALS = SystemCredentials(SYSTEM_KEY, MEDIATORS)


class FileCase(SynchronousTestCase):
    """What the tests of files share."""

    def setUp(self) -> None:
        """Choose a place for a file."""
        self.path = Path(self.mktemp())

    def change(self, old: str, new: str, count: int = 1) -> None:
        """Change the file's text."""
        text = self.path.read_text(encoding="utf-8")
        self.assertIn(old, text)
        self.path.write_text(text.replace(old, new, count), encoding="utf-8")

    def told(self, error: WavesyncError, status: int, words: str) -> None:
        """Check that an error names the file, says the words, and ends with that exit status."""
        self.assertEqual(error.exit_status, status)
        self.assertIn(str(self.path), str(error))
        self.assertIn(words, str(error))


class CredentialsTests(FileCase):
    """Credentials of servers and clients."""

    def refused(self, status: int, words: str, now: float = NOW) -> None:
        """Check that loading fails with that exit status and a sentence with those words."""
        with self.assertRaises(WavesyncError) as caught:
            Credentials.load(self.path, now=now)
        self.told(caught.exception, status, words)

    def test_server_round_trip(self) -> None:
        """A server that starts again is the same server."""
        server_credentials(MEDIATORS, "Lager Süd").save(self.path)
        loaded = Credentials.load(self.path, now=NOW)
        self.assertEqual((loaded.role, loaded.label), (Role.SERVER, "Lager Süd"))
        self.assertEqual(loaded.mediators, MEDIATORS)
        self.assertEqual((loaded.system, loaded.server, loaded.name), (SYSTEM, SERVER, None))
        self.assertEqual(loaded.target, Target(SYSTEM, SERVER))
        self.assertEqual(loaded.peer, server_credentials().peer)
        self.assertEqual(loaded.system_key_bytes, SYSTEM_RAW)
        self.assertEqual(raw_public_key(loaded.system_key), SYSTEM_RAW)

    def test_client_round_trip(self) -> None:
        """A client that starts again is the same client, and asks for any server by default."""
        client_credentials().save(self.path)
        loaded = Credentials.load(str(self.path), now=NOW)
        self.assertEqual((loaded.role, loaded.name, loaded.server), (Role.CLIENT, "alice", None))
        self.assertEqual(loaded.target, Target(SYSTEM))

    def test_not_overwritten(self) -> None:
        """A second save keeps the first file unless forced."""
        client_credentials().save(self.path)
        self.assertRaises(SettingsError, server_credentials().save, self.path)
        self.assertEqual(Credentials.load(self.path, now=NOW).role, Role.CLIENT)
        server_credentials().save(self.path, force=True)
        self.assertEqual(Credentials.load(self.path, now=NOW).role, Role.SERVER)

    def test_missing_file(self) -> None:
        """No file, no traceback."""
        self.refused(2, "does not exist")

    def test_too_open(self) -> None:
        """A key that others may have read is refused."""
        client_credentials().save(self.path)
        self.path.chmod(0o640)
        self.refused(2, "chmod 600")

    def test_malformed_head(self) -> None:
        """Damage in the head is told as such."""
        client_credentials().save(self.path)
        self.change('role = "client"', "role = client")
        self.refused(2, "not TOML")

    def test_role(self) -> None:
        """A file of no role, another role or a system's is refused."""
        client_credentials().save(self.path)
        self.change('role = "client"', 'role = "owner"')
        self.refused(2, "not a server's or client's")
        self.change('role = "owner"', 'role = "server"')
        self.refused(3, "not of a server")
        self.change('role = "server"\n', "")
        self.refused(2, "'role'")
        SYSTEM_CREDENTIALS.save(self.path, force=True)
        self.refused(2, "not a server's or client's")

    def test_missing_blocks(self) -> None:
        """Which block is missing is told."""
        credentials = client_credentials()
        credentials.save(self.path)
        text = self.path.read_text()
        blocks = [block for _, block in parse(text.encode()).blocks]
        for block, words in zip(blocks, ("PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"), strict=True):
            self.path.write_text(text.replace(block, ""))
            self.refused(2, f"'{words}'")

    def test_damaged_blocks(self) -> None:
        """A damaged block is told."""
        client_credentials().save(self.path)
        text = self.path.read_text()
        blocks = [block for _, block in parse(text.encode()).blocks]
        for (label, damage), words in (
            ((0, pem_block("PRIVATE KEY", bytes(48))), "private key is damaged"),
            ((1, pem_block("CERTIFICATE", bytes(200))), "certificate in it is damaged"),
            ((2, pem_block("CERTIFICATE", bytes(200))), "certificate in it is damaged"),
        ):
            self.path.write_text(text.replace(blocks[label], damage))
            self.refused(2, words)

    def test_encrypted_key(self) -> None:
        """A server's key cannot be encrypted: nobody is there to type the passphrase."""
        client_credentials().save(self.path)
        bare = private_key_pem(client_credentials().private_key)
        self.change(bare, private_key_pem(client_credentials().private_key, b"x"))
        self.refused(3, "encrypted")

    def test_other_key(self) -> None:
        """A key that does not belong to the certificate is refused before anybody is asked."""
        dataclasses.replace(client_credentials(), private_key=OTHER_KEY).save(self.path)
        self.refused(3, "does not belong to the certificate")

    def test_other_system(self) -> None:
        """A certificate of another system is refused."""
        client_credentials().save(self.path)
        ours, theirs = (anchor_pem(key) for key in (SYSTEM_KEY, OTHER_KEY))
        self.change(ours, theirs)
        self.refused(3, "of another system")

    def test_no_system_certificate(self) -> None:
        """Only the certificate that a system's key gives is taken as trust anchor."""
        client_credentials().save(self.path)
        self.change(anchor_pem(SYSTEM_KEY), pem_block("CERTIFICATE", odd_leaf()))
        self.refused(3, "not a system's certificate")

    def test_changed_system_certificate(self) -> None:
        """A trust anchor with a changed body or signature is refused."""
        client_credentials().save(self.path)
        good = anchor_pem(SYSTEM_KEY)
        der = base64.b64decode("".join(good.splitlines()[1:-1]))
        shorter = der.replace(b"99991231235959Z", b"99981231235959Z")
        for changed in (shorter, der[:-1] + bytes([der[-1] ^ 1])):
            self.assertNotEqual(changed, der)
            bad = pem_block("CERTIFICATE", changed)
            self.change(good, bad)
            self.refused(3, "not a system's certificate")
            self.change(bad, good)

    def test_validity(self) -> None:
        """Expired and not yet valid credentials are refused, each as such."""
        client_credentials().save(self.path)
        self.refused(3, "expired", now=NOW + 3651 * DAY)
        self.refused(3, "not valid yet", now=NOW - 8 * DAY)
        self.assertEqual(Credentials.load(self.path, now=None).name, "alice")

    def test_head_names_somebody_else(self) -> None:
        """The head cannot claim what the certificate does not say."""
        client_credentials().save(self.path)
        self.change('name = "alice"', 'name = "bob"')
        self.refused(3, "head does not name")
        server_credentials().save(self.path, force=True)
        self.change(f'system = "{SYSTEM}"', f'system = "{SERVER}"')
        self.refused(3, "head does not name")

    def test_mediators_are_checked(self) -> None:
        """A mediator that is none is refused when the file is read, not when it is needed."""
        server_credentials(MEDIATORS).save(self.path)
        self.change("192.0.2.1", "gopher://x")
        self.refused(2, "gopher://x")

    def test_label_is_checked(self) -> None:
        """A label that would disturb a terminal is refused."""
        server_credentials(MEDIATORS, "site").save(self.path)
        self.change('"site"', '"\\u001b[31m"')
        self.refused(2, "printable")

    def test_no_secret_in_repr(self) -> None:
        """Logging credentials by mistake shows no key."""
        client_credentials().save(self.path)
        secret = self.path.read_text().split("-----")[2].strip()
        self.assertNotIn(secret, repr(Credentials.load(self.path, now=NOW)))

    @given(st.data())
    def test_any_damage(self, data: st.DataObject) -> None:
        """However a file is damaged, it is read or refused with a sentence."""
        path = Path(self.mktemp())
        server_credentials(MEDIATORS).save(path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            loaded = Credentials.load(path, now=NOW)
        except WavesyncError:
            return
        self.assertEqual(loaded.peer, server_credentials().peer)


def anchor_pem(key: Ed25519PrivateKey) -> str:
    """Give the PEM of a key's system certificate."""
    return make_system_certificate(key).public_bytes(Encoding.PEM).decode()


class SystemTests(FileCase):
    """The system's own key, and what is made with it."""

    def refused(self, status: int, words: str, passphrase: bytes | None = None) -> None:
        """Check that loading and unlocking fails so."""
        with self.assertRaises(WavesyncError) as caught:
            SystemFile.load(self.path).unlock(passphrase)
        self.told(caught.exception, status, words)

    def test_round_trip(self) -> None:
        """A system's file gives back the system."""
        SYSTEM_CREDENTIALS.save(self.path)
        file = SystemFile.load(self.path)
        self.assertEqual((file.system, file.mediators, file.encrypted), (SYSTEM, MEDIATORS, False))
        self.assertEqual(file.certificate, SYSTEM_CREDENTIALS.certificate)
        self.assertEqual(file.unlock().system, SYSTEM)
        self.assertEqual(file.unlock().mediators, MEDIATORS)

    def test_passphrase(self) -> None:
        """An encrypted file shows what is public, and gives the key for its passphrase only."""
        SYSTEM_CREDENTIALS.save(self.path, passphrase=b"open sesame")
        file = SystemFile.load(self.path)
        self.assertEqual((file.system, file.encrypted), (SYSTEM, True))
        self.assertEqual(file.unlock(b"open sesame").system, SYSTEM)
        self.refused(3, "passphrase is needed")
        self.refused(3, "passphrase is wrong", b"open barley")

    def test_no_secret_in_repr(self) -> None:
        """Logging it by mistake shows no key."""
        SYSTEM_CREDENTIALS.save(self.path)
        secret = self.path.read_text().split("-----")[2].strip()
        self.assertNotIn(secret, repr(SystemFile.load(self.path)))

    def test_not_a_systems_file(self) -> None:
        """A client's file is not taken for a system's."""
        client_credentials().save(self.path)
        self.refused(2, "not a system's key file")

    def test_other_key(self) -> None:
        """A key that does not belong to the certificate is refused."""
        SYSTEM_CREDENTIALS.save(self.path)
        self.change(private_key_pem(SYSTEM_KEY), private_key_pem(OTHER_KEY))
        self.refused(3, "does not belong to the certificate")

    def test_head_names_another(self) -> None:
        """The head cannot name another system."""
        SYSTEM_CREDENTIALS.save(self.path)
        self.change(f'system = "{SYSTEM}"', f'system = "{SERVER}"')
        self.refused(3, "head does not name")

    def test_create(self) -> None:
        """Every new system is another one."""
        self.assertNotEqual(SystemCredentials.create().system, SystemCredentials.create().system)
        self.assertEqual(SystemCredentials.create(MEDIATORS).mediators, MEDIATORS)
        self.assertRaises(SettingsError, SystemCredentials.create, ("gopher://x",))

    def test_add_server(self) -> None:
        """A new server gets its own id and key, the mediators, and a certificate that verifies."""
        one, two = (SYSTEM_CREDENTIALS.add_server(now=NOW, label="site") for _ in range(2))
        self.assertNotEqual(one.server, two.server)
        self.assertNotEqual(raw_public_key(one.private_key), raw_public_key(two.private_key))
        self.assertEqual((one.label, one.mediators), ("site", MEDIATORS))
        peer = verify_leaf(one.certificate_der, SYSTEM_RAW, role=Role.SERVER, at=NOW)
        self.assertEqual(peer.server, one.server)
        one.check(NOW)

    def test_replace_a_servers_key(self) -> None:
        """A server whose disk was stolen keeps its id and gets another key."""
        old = SYSTEM_CREDENTIALS.add_server(now=NOW)
        new = SYSTEM_CREDENTIALS.add_server(now=NOW, server_id=old.server)
        self.assertEqual(new.server, old.server)
        self.assertNotEqual(raw_public_key(new.private_key), raw_public_key(old.private_key))

    def test_add_client(self) -> None:
        """A new client gets its name, and other mediators if asked."""
        client = SYSTEM_CREDENTIALS.add_client("bob", now=NOW, days=2, mediators=("m.example",))
        client.check(NOW + 2 * DAY)
        self.assertRaises(NotAllowed, client.check, NOW + 2 * DAY + 1)
        self.assertEqual((client.name, client.mediators), ("bob", ("m.example",)))

    def test_bad_parameters(self) -> None:
        """What cannot be certified is refused before a key is written anywhere."""
        add_server, add_client = SYSTEM_CREDENTIALS.add_server, SYSTEM_CREDENTIALS.add_client
        self.assertRaises(SettingsError, add_server, now=NOW, server_id="office")
        self.assertRaises(SettingsError, add_server, now=NOW, label="\n")
        self.assertRaises(SettingsError, add_server, now=NOW, days=0)
        self.assertRaises(SettingsError, add_client, "Bob", now=NOW)
        self.assertRaises(SettingsError, add_client, "bob", now=NOW, mediators=("gopher://x",))
