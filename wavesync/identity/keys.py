"""Ed25519 keys as PEM text, the system's optionally encrypted under a passphrase.

Encrypted keys are PKCS #8 with PBES2, scrypt and AES-256-CBC (RFC 8018, RFC 7914): ``openssl pkey``
reads them.  What the library at hand would write uses 2,048 rounds of PBKDF2, which is too cheap
to guess for a key that a whole system hangs on, so the few bytes around it are written here.
"""

import base64
import os
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from wavesync.errors import NotAllowed, SettingsError

__all__ = [
    "MAX_PASSPHRASE",
    "is_encrypted",
    "load_private_key",
    "new_private_key",
    "pem_block",
    "private_key_pem",
    "raw_public_key",
]

MAX_PASSPHRASE = 1024
"""Longest passphrase, in bytes."""

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 16384, 8, 5
"""Cost of one guess: 16 MiB, which is the most that every OpenSSL accepts, five times over."""

_OID_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_OID_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_OID_AES256_CBC = bytes.fromhex("060960864801650304012a")
_ENCRYPTED_LABEL = "ENCRYPTED PRIVATE KEY"


def new_private_key() -> Ed25519PrivateKey:
    """Draw a key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def raw_public_key(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """Give the 32 raw bytes (RFC 8032) of a key's public half."""
    public_key = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def private_key_pem(
    key: Ed25519PrivateKey,
    passphrase: bytes | None = None,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Write a private key as one PEM block (PKCS #8).

    :param passphrase: encrypt under it; 1 .. :data:`MAX_PASSPHRASE` bytes, or None to leave it bare.
    :param random: gives that many random bytes (salt and initialisation vector).
    :raises SettingsError: when the passphrase is empty or too long.
    """
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    _check_passphrase(passphrase)
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, vector = random(16), random(16)
    secret = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase)
    padder = PKCS7(128).padder()
    encryptor = Cipher(AES(secret), CBC(vector)).encryptor()
    padded = padder.update(plain) + padder.finalize()
    sealed = encryptor.update(padded) + encryptor.finalize()
    cost = b"".join(_integer(value) for value in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
    derivation = _der(0x30, _OID_SCRYPT + _der(0x30, _der(0x04, salt) + cost))
    scheme = _der(0x30, _OID_AES256_CBC + _der(0x04, vector))
    algorithm = _der(0x30, _OID_PBES2 + _der(0x30, derivation + scheme))
    return pem_block(_ENCRYPTED_LABEL, _der(0x30, algorithm + _der(0x04, sealed)))


def is_encrypted(pem: str) -> bool:
    """Tell whether :func:`load_private_key` will need a passphrase."""
    return f"-----BEGIN {_ENCRYPTED_LABEL}-----" in pem


def load_private_key(pem: str, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Read one PEM block with an Ed25519 private key.

    :raises NotAllowed: when the key is encrypted and the passphrase is missing or wrong.
    :raises SettingsError: when it is no key, or a key of another type.
    """
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise NotAllowed("the key is encrypted: its passphrase is needed.")
    if encrypted and passphrase is not None:
        _check_passphrase(passphrase)
    try:
        key = load_pem_private_key(pem.encode("ascii"), passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise NotAllowed("the passphrase is wrong, or the key is damaged.") from error
        raise SettingsError("the private key is damaged.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError("the private key is not an Ed25519 key.")
    return key


def pem_block(label: str, der: bytes) -> str:
    """Write bytes as one PEM block (RFC 7468)."""
    text = base64.b64encode(der).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _check_passphrase(passphrase: bytes) -> None:
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE:
        raise SettingsError(f"a passphrase has 1 to {MAX_PASSPHRASE} bytes.")


def _der(tag: int, content: bytes) -> bytes:
    """Write one DER element of at most 255 bytes of content."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _integer(value: int) -> bytes:
    """Write one non-negative DER INTEGER."""
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
