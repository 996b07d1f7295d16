"""Checking Ed25519 signatures (RFC 8032): by libsodium where that is installed, which takes half as long.

OpenSSL is what everything else uses, and what checks where there is no libsodium.  Whatever libsodium
believes OpenSSL believes as well; the other way round there are keys and signatures that only somebody
out for trouble makes (points of small order, coordinates that are not reduced).
"""

import ctypes
from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["CHECKED_BY", "SIGNATURE_SIZE", "Check", "openssl_check", "signed", "sodium_check"]

SIGNATURE_SIZE = 64
"""Bytes of a signature."""

Check: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Tells whether a signature over a message is by the key with these 32 raw bytes: ``(signature,
message, key)``."""

_KEY_SIZE = 32
_NAMES = ("libsodium.so.26", "libsodium.so.23")
# RFC 8032 section 7.1, test 2: a library that does not know this one is not used.
_TRUE_KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
_TRUE_MESSAGE = b"\x72"
_TRUE_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def openssl_check(signature: bytes, message: bytes, key: bytes) -> bool:
    """Check by OpenSSL; see :data:`Check`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sodium_check() -> Check | None:
    """Look for libsodium.

    :returns: how to check by it; ``None`` where it is not, or does not do what it should.
    """
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
            verify = library.crypto_sign_ed25519_verify_detached
            if library.sodium_init() < 0:
                continue
        except (OSError, AttributeError):
            continue
        verify.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p)
        verify.restype = ctypes.c_int

        def check(
            signature: bytes,
            message: bytes,
            key: bytes,
            _verify: Callable[[bytes, bytes, int, bytes], int] = verify,
        ) -> bool:
            # The library reads so many bytes, whatever there are.
            if len(signature) != SIGNATURE_SIZE or len(key) != _KEY_SIZE:
                return False
            return _verify(signature, message, len(message), key) == 0

        right = check(_TRUE_SIGNATURE, _TRUE_MESSAGE, _TRUE_KEY)
        if right and not check(_TRUE_SIGNATURE, b"\x73", _TRUE_KEY):
            return check
    return None


_sodium = sodium_check()

signed: Check = openssl_check if _sodium is None else _sodium
"""The one that is used."""

CHECKED_BY = "OpenSSL" if _sodium is None else "libsodium"
"""What checks signatures, for people."""
