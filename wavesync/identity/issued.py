"""The record of the certificates that a system has issued: what lets one be revoked by name.

One line of JSON a certificate, in a file beside the system's key.  It holds no secret; who loses it
can still revoke by the certificate itself.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from wavesync.errors import SettingsError
from wavesync.identity.files import open_at_once
from wavesync.identity.verify import Leaf, Role

__all__ = ["MAX_RECORD", "Issued", "issued_path", "load_issued", "record_issued"]

MAX_RECORD = 33_554_432
"""Longest record that is read, in bytes: some 200,000 certificates."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate.

    :ivar role: ``server`` or ``client``.
    :ivar name: the server's id or the client's name.
    :ivar serial: its serial number, in hex digits.
    :ivar not_after: when it expires, seconds since the epoch.
    """

    role: str
    name: str
    serial: str
    not_after: float

    @classmethod
    def of(cls, leaf: Leaf) -> "Issued":
        """Describe a certificate."""
        peer = leaf.peer
        name = peer.server if peer.role is Role.SERVER else peer.name
        return cls(peer.role.value, name or "", f"{leaf.serial:x}", leaf.not_after)

    @property
    def number(self) -> int:
        """The serial number."""
        return int(self.serial, 16)


def issued_path(directory: Path, system: str) -> Path:
    """Where a system's record is: ``issued-SYSTEM.jsonl`` beside its key."""
    return directory / f"issued-{system}.jsonl"


def record_issued(path: Path, leaf: Leaf) -> None:
    """Add a certificate to the record; done before it is handed out.

    :raises SettingsError: the file cannot be written.
    """
    line = json.dumps(asdict(Issued.of(leaf))) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from error


def load_issued(path: Path) -> Sequence[Issued]:
    """Read the record; nothing is in it while there is no such file.

    :raises SettingsError: it cannot be read, is too long, or damaged; the sentence names it.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            data = file.read(MAX_RECORD + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_RECORD:
        raise SettingsError(f"{path} is longer than {MAX_RECORD} bytes.")
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            issued = msgspec.json.decode(line, type=Issued)
            if issued.number <= 0:
                raise ValueError
        except ValueError:  # msgspec's errors are such
            raise SettingsError(f"{path} is damaged in line {number}.") from None
        found.append(issued)
    return found
