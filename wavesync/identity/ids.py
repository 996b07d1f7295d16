"""The names of systems and servers, and the target text a client is given.

A system's id is a UUIDv8 (RFC 9562, section 5.8) made from its public key, so whoever holds the id
holds the trust anchor.  A server's id is a random UUID (version 4).  Both are written as 32
lower-case hex digits.
"""

import hashlib
import re
import uuid
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wavesync.errors import SettingsError

__all__ = ["MAX_TARGET_TEXT", "Target", "new_id", "parse_id", "system_id"]

MAX_TARGET_TEXT = 128
"""Longest target text that is looked at, in characters."""

_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""The DER in front of a raw Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4)."""

_PLAIN = re.compile(r"[0-9a-f]{32}")
_CANONICAL = re.compile(r"(?:[0-9a-f]{32}\.)?[0-9a-f]{32}")
_DASHED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def system_id(public_key: Ed25519PublicKey | bytes) -> str:
    """Give the id of the system that a key belongs to.

    :param public_key: the system's key, or its 32 raw bytes.
    :return: 32 hex digits: the first 16 bytes of SHA-256 over the DER SubjectPublicKeyInfo, with
        the version (8) and variant (binary 10) of RFC 9562 written over 6 of its bits.
    """
    if isinstance(public_key, Ed25519PublicKey):
        public_key = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    if len(public_key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    digest = bytearray(hashlib.sha256(_SPKI_PREFIX + public_key).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def new_id() -> str:
    """Draw a server's id: a random UUID (version 4) as 32 hex digits."""
    return uuid.uuid4().hex


def parse_id(text: str) -> str:
    """Read one id as a person may have typed it.

    :param text: 32 hex digits in either case, or a UUID with its dashes.
    :return: 32 lower-case hex digits.
    :raises SettingsError: when *text* is anything else.
    """
    lower = text.lower()
    if _PLAIN.fullmatch(lower) is not None:
        return lower
    if _DASHED.fullmatch(lower) is not None:
        return lower.replace("-", "")
    raise SettingsError(f"{text[:MAX_TARGET_TEXT]!r} is not an id: an id is 32 hex digits.")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a client wants to reach: one server of a system, or any of them.

    :ivar system: the system's id.
    :ivar server: the server's id, or None for any online server of the system.
    """

    system: str
    server: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read ``SYSTEM`` or ``SERVER.SYSTEM``; UUIDs may have dashes, case does not matter.

        :raises SettingsError: when *text* is neither.
        """
        if _CANONICAL.fullmatch(text) is not None:
            server, _, system = text.rpartition(".")
            return cls(system, server or None)
        parts = text.strip().split(".") if len(text) <= MAX_TARGET_TEXT else []
        try:
            match [parse_id(part) for part in parts]:
                case [system]:
                    return cls(system)
                case [server, system]:
                    return cls(system, server)
        except SettingsError:
            pass
        raise SettingsError(
            f"{text[:MAX_TARGET_TEXT]!r} is not a target: write the system's id, or the server's id,"
            " a dot and the system's id (32 hex digits each)."
        )

    def __str__(self) -> str:
        """Write it as :meth:`parse` reads it, and as HOST-NAME carries it."""
        return self.system if self.server is None else f"{self.server}.{self.system}"
