"""Checking Ed25519 signatures (RFC 8032), which every introduction and every relayed connect need several of.

libsodium does it, in a quarter of the time that OpenSSL takes.  It is the stricter of the two: keys of
small order, and numbers that are not reduced, which only somebody out for trouble makes, are refused.
"""

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

__all__ = ["KEY_SIZE", "SIGNATURE_SIZE", "signed"]

SIGNATURE_SIZE = 64
"""Bytes of a signature."""

KEY_SIZE = 32
"""Bytes of a public key."""


def signed(signature: bytes, message: bytes, key: bytes) -> bool:
    """Tell whether a signature over a message is by the key with these raw bytes."""
    if len(signature) != SIGNATURE_SIZE or len(key) != KEY_SIZE:
        return False
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True
