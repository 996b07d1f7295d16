"""Tests for :mod:`wavesync.identity.keys`."""

import base64

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import SYSTEM_KEY, SYSTEM_RAW
from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.keys import (
    MAX_PASSPHRASE,
    is_encrypted,
    load_private_key,
    new_private_key,
    private_key_pem,
    raw_public_key,
)

SEALED = private_key_pem(SYSTEM_KEY, b"correct horse", random=bytes)


class KeyTests(SynchronousTestCase):
    """Private keys in files."""

    def test_bare_round_trip(self) -> None:
        """A key written without a passphrase is read back."""
        pem = private_key_pem(SYSTEM_KEY)
        self.assertFalse(is_encrypted(pem))
        self.assertEqual(raw_public_key(load_private_key(pem)), SYSTEM_RAW)

    def test_passphrase_is_ignored_for_a_bare_key(self) -> None:
        """A key that needs no passphrase opens even if one was asked for."""
        key = load_private_key(private_key_pem(SYSTEM_KEY), b"unneeded")
        self.assertEqual(raw_public_key(key), SYSTEM_RAW)

    def test_encrypted_round_trip(self) -> None:
        """The right passphrase opens the key."""
        self.assertTrue(is_encrypted(SEALED))
        self.assertEqual(raw_public_key(load_private_key(SEALED, b"correct horse")), SYSTEM_RAW)

    def test_encrypted_form_is_standard(self) -> None:
        """Other tools that know PKCS #8 with scrypt open it: here the library's own reader."""
        key = load_pem_private_key(SEALED.encode(), b"correct horse")
        self.assertEqual(key.private_bytes_raw(), SYSTEM_KEY.private_bytes_raw())  # type: ignore[union-attr]

    def test_every_passphrase_works(self) -> None:
        """Bytes of any value and length within the limits are a passphrase."""
        for passphrase in (b"x", bytes(range(1, 256)), b"y" * MAX_PASSPHRASE):
            pem = private_key_pem(SYSTEM_KEY, passphrase)
            self.assertEqual(raw_public_key(load_private_key(pem, passphrase)), SYSTEM_RAW)

    def test_encryption_hides_the_key(self) -> None:
        """Neither the key nor a bare block is in the file, and two files are never the same."""
        self.assertNotIn("BEGIN PRIVATE KEY", SEALED)
        self.assertNotEqual(private_key_pem(SYSTEM_KEY, b"x"), private_key_pem(SYSTEM_KEY, b"x"))

    def test_wrong_passphrase(self) -> None:
        """A wrong passphrase is told as such."""
        error = self.assertRaises(NotAllowed, load_private_key, SEALED, b"incorrect horse")
        self.assertIn("passphrase is wrong", str(error))

    def test_missing_passphrase(self) -> None:
        """That a passphrase is needed is told as such."""
        error = self.assertRaises(NotAllowed, load_private_key, SEALED)
        self.assertIn("encrypted", str(error))

    def test_passphrase_limits(self) -> None:
        """An empty passphrase, or one past the limit, is refused and not truncated."""
        for passphrase in (b"", b"y" * (MAX_PASSPHRASE + 1)):
            self.assertRaises(SettingsError, private_key_pem, SYSTEM_KEY, passphrase)
            self.assertRaises(SettingsError, load_private_key, SEALED, passphrase)

    def test_other_key_type(self) -> None:
        """A key that cannot sign is refused by name."""
        pem = X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        error = self.assertRaises(SettingsError, load_private_key, pem.decode())
        self.assertIn("not an Ed25519 key", str(error))

    def test_new_keys_differ(self) -> None:
        """Nobody gets somebody else's key."""
        self.assertNotEqual(raw_public_key(new_private_key()), raw_public_key(new_private_key()))

    @given(st.binary(max_size=80))
    def test_damaged_key(self, garbage: bytes) -> None:
        """Any bytes in a key's block are refused with a sentence."""
        text = base64.b64encode(garbage).decode()
        pem = f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
        self.assertRaises(SettingsError, load_private_key, pem)
