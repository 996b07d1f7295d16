"""Checking signatures: every way of it believes the same, and nothing else."""

import random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.signatures import SIGNATURE_SIZE, signed

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


class SignatureTests(SynchronousTestCase):
    """What a peer's signature has to be."""

    def test_vectors(self) -> None:
        """The RFC's signatures are right, and wrong for any other message."""
        for key, message, signature in VECTORS:
            raw = bytes.fromhex(signature), bytes.fromhex(message), bytes.fromhex(key)
            self.assertTrue(signed(*raw))
            self.assertFalse(signed(raw[0], raw[1] + b"\0", raw[2]))

    def test_tampered(self) -> None:
        """What OpenSSL signed is right; no bit of signature, message or key may be another one."""
        private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        key, message = private.public_key().public_bytes_raw(), b"to whom it may concern\0\xff"
        good = private.sign(message), message, key
        chance = random.Random(8032)
        self.assertTrue(signed(*good))
        for _ in range(60):
            parts = [bytearray(part) for part in good]
            part = chance.choice(parts)
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
            self.assertFalse(signed(*map(bytes, parts)))

    def test_second_form(self) -> None:
        """The same signature written in another way is none: who has seen it cannot make two of it."""
        key, message, signature = map(bytes.fromhex, VECTORS[1])
        number = int.from_bytes(signature[32:], "little") + ORDER
        self.assertFalse(signed(signature[:32] + number.to_bytes(32, "little"), message, key))

    def test_sizes(self) -> None:
        """What is too short or too long is wrong."""
        key, message, signature = map(bytes.fromhex, VECTORS[1])
        for size in (0, 1, SIGNATURE_SIZE - 1):
            self.assertFalse(signed(signature[:size], message, key))
        self.assertFalse(signed(signature + b"\0", message, key))
        for other in (b"", key[:31], key + b"\0"):
            self.assertFalse(signed(signature, message, other))

    def test_small_order(self) -> None:
        """A key that fits signatures over anything is nobody's."""
        zero = bytes(32)
        self.assertFalse(signed(zero + zero, b"", zero))
        self.assertFalse(signed(b"\x01" + bytes(63), b"", b"\x01" + bytes(31)))
