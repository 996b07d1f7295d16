"""Checking signatures: every way of it believes the same, and nothing else."""

import random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.signatures import (
    CHECKED_BY,
    SIGNATURE_SIZE,
    Check,
    openssl_check,
    signed,
    sodium_check,
)

# RFC 8032 section 7.1, tests 1 and 3.
VECTORS = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
)
# The group's order, by which a signature's second half may be made another one (section 5.1.7).
ORDER = 2**252 + 27742317777372353535851937790883648493


def checks() -> dict[str, Check]:
    """Every way that there is here."""
    found = {"openssl": openssl_check, "chosen": signed}
    sodium = sodium_check()
    if sodium is not None:
        found["sodium"] = sodium
    return found


class SignatureTests(SynchronousTestCase):
    """What a peer's signature has to be."""

    def test_vectors(self) -> None:
        """The RFC's signatures are right, and wrong for any other message."""
        for name, check in checks().items():
            for key, message, signature in VECTORS:
                raw = bytes.fromhex(signature), bytes.fromhex(message), bytes.fromhex(key)
                self.assertTrue(check(*raw), name)
                self.assertFalse(check(raw[0], raw[1] + b"\0", raw[2]), name)

    def test_tampered(self) -> None:
        """No bit of signature, message or key may be another one."""
        private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        key, message = private.public_key().public_bytes_raw(), b"to whom it may concern\0\xff"
        good = private.sign(message), message, key
        chance = random.Random(8032)
        for name, check in checks().items():
            self.assertTrue(check(*good), name)
            for _ in range(60):
                parts = [bytearray(part) for part in good]
                part = chance.choice(parts)
                part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
                self.assertFalse(check(*map(bytes, parts)), name)

    def test_second_form(self) -> None:
        """The same signature written in another way is none: who has seen it cannot make two of it."""
        key, message, signature = map(bytes.fromhex, VECTORS[1])
        number = int.from_bytes(signature[32:], "little") + ORDER
        other = signature[:32] + number.to_bytes(32, "little")
        for name, check in checks().items():
            self.assertFalse(check(other, message, key), name)

    def test_sizes(self) -> None:
        """What is too short or too long is wrong, and nothing behind it is read."""
        key, message, signature = map(bytes.fromhex, VECTORS[1])
        for name, check in checks().items():
            for size in (0, 1, SIGNATURE_SIZE - 1):
                self.assertFalse(check(signature[:size], message, key), name)
            self.assertFalse(check(signature + b"\0", message, key), name)
            self.assertFalse(check(signature, message, key[:31]), name)
            self.assertFalse(check(signature, message, key + b"\0"), name)
            self.assertFalse(check(signature, message, b""), name)

    def test_small_order(self) -> None:
        """A key that fits signatures over anything is nobody's, wherever it is looked at closely."""
        sodium = sodium_check()
        if sodium is not None:
            zero = bytes(32)
            self.assertFalse(sodium(zero + zero, b"", zero))
            self.assertFalse(sodium(b"\x01" + bytes(63), b"", b"\x01" + bytes(31)))

    def test_named(self) -> None:
        """It is known what checks."""
        self.assertEqual(CHECKED_BY, "libsodium" if sodium_check() else "OpenSSL")
