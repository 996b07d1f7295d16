"""What one process knows of a system's revoked certificates: the newest list, kept in a file.

Lists come from files that people put in place and from peers that nobody has to trust: one is
taken only if the system signed it and its number is higher than that of the list already held.
"""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import Logger

from wavesync.errors import SettingsError
from wavesync.identity.crl import MAX_CRL, RevocationList, read_crl
from wavesync.identity.files import open_at_once, write_file
from wavesync.identity.ids import system_id
from wavesync.identity.verify import Reason, VerificationError

__all__ = ["LOOK_INTERVAL", "Revocations", "list_path", "load_list", "save_list"]

LOOK_INTERVAL = 1.0
"""Seconds between looks at the files; a list put in place takes effect within so many."""

_MAX_FILE = MAX_CRL * 3 // 2
"""Longest file that is read, in bytes: PEM takes four thirds of what it holds."""

_PEM = b"-----BEGIN X509 CRL-----"

_Seen = tuple[int, int, int]


def list_path(directory: Path, system: str) -> Path:
    """Where a system's list is kept in a directory of credentials: ``revoked-SYSTEM.pem``."""
    return directory / f"revoked-{system}.pem"


def load_list(path: Path, system_key: bytes) -> RevocationList:
    """Read a list from a file, PEM or DER.

    :param system_key: the system's public key, 32 raw bytes.
    :raises SettingsError: it cannot be read, or is no list of that system; the sentence names it.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SettingsError(f"{path} is not a regular file.")
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if len(data) > _MAX_FILE:
            raise VerificationError(Reason.OVERSIZE, "the revocation list is too long.")
        return read_crl(_der(data) if _PEM in data else data, system_key)
    except VerificationError as error:
        raise SettingsError(f"{path} cannot be used: {error}") from error


def save_list(path: Path, revoked: RevocationList) -> None:
    """Write a list to a file, in place of an older one; it is no secret.

    :raises SettingsError: it cannot be written.
    """
    write_file(path, revoked.pem, force=True, mode=0o644)


def _der(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)
    except (ValueError, TypeError) as error:
        raise VerificationError(Reason.MALFORMED, "the revocation list is malformed.") from error


class Revocations:
    """The newest list of one system that this process has seen.

    :param system_key: the system's public key, 32 raw bytes.
    :param state: file in which the newest list is kept, so that an older one is refused after a
        restart too; None to keep it in memory only.
    :param handed_in: file in which people hand in new lists.
    :raises SettingsError: one of the two is there and cannot be used.  Nothing is forgotten
        silently.
    :ivar system: id of the system.
    :ivar changed: called, in order, after a newer list was taken; must not raise.
    """

    log = Logger()

    def __init__(
        self, system_key: bytes, *, state: Path | None = None, handed_in: Path | None = None
    ) -> None:
        self.system = system_id(system_key)
        self.changed: list[Callable[[], None]] = []
        self._system_key = system_key
        self._state = state
        self._handed_in = handed_in
        self._list: RevocationList | None = None
        self._seen: dict[Path, _Seen | None] = {}
        self._keeps = state is not None
        for path in self._paths():
            self._seen[path] = _look_at(path)
            if self._seen[path] is not None:
                found = load_list(path, system_key)
                if found.number > self.number:
                    self._list = found
        self._keep()

    @property
    def has_files(self) -> bool:
        """Whether there is something to look at."""
        return bool(self._paths())

    @property
    def number(self) -> int:
        """Number of the newest list; 0 while there is none."""
        return 0 if self._list is None else self._list.number

    @property
    def der(self) -> bytes:
        """The newest list's bytes; empty while there is none."""
        return b"" if self._list is None else self._list.der

    def revoked(self, serial: int) -> bool:
        """Tell whether the certificate with this serial number was revoked."""
        return self._list is not None and serial in self._list.revoked

    def __len__(self) -> int:
        """Count the revoked certificates."""
        return 0 if self._list is None else len(self._list.revoked)

    def offer(self, der: bytes) -> bool:
        """Take a list that a peer has sent, if it is newer.

        :param der: any bytes.
        :returns: whether it was taken; False for the number that is held already.
        :raises VerificationError: it is no list of the system, or an ``older`` one.
        """
        if der == self.der:
            return False
        return self._take(read_crl(der, self._system_key))

    def look(self) -> None:
        """Look whether somebody has changed the files; call this every :data:`LOOK_INTERVAL`."""
        for path in self._paths():
            seen = _look_at(path)
            if seen == self._seen[path]:
                continue
            self._seen[path] = seen
            if seen is None:
                continue
            try:
                self._take(load_list(path, self._system_key))
            except (SettingsError, VerificationError) as error:
                self.log.warn("{path} is not taken: {why}", path=path, why=str(error))
                if path == self._state:
                    self._keep()

    def _paths(self) -> Sequence[Path]:
        return [path for path in (self._state, self._handed_in) if path is not None]

    def _take(self, found: RevocationList) -> bool:
        if found.number < self.number:
            raise VerificationError(
                Reason.OLDER,
                f"the revocation list has the number {found.number}, and number {self.number} is"
                " known: an older one is not taken.",
            )
        if found.number == self.number:
            return False
        self._list = found
        self._keep()
        self.log.info(
            "revocation list {number} of system {system}: {count} certificates are revoked",
            number=found.number,
            system=self.system,
            count=len(found.revoked),
        )
        for changed in list(self.changed):
            changed()
        return True

    def _keep(self) -> None:
        """Write the newest list to the state file, unless it has that one."""
        if self._state is None or self._list is None or not self._keeps:
            return
        try:
            if load_list(self._state, self._system_key).number >= self.number:
                return
        except SettingsError:
            pass  # missing or damaged: replaced
        try:
            save_list(self._state, self._list)
        except SettingsError as error:
            self._keeps = False
            self.log.warn(
                "the revocation list is kept in memory only, so an older one could be believed"
                " after a restart: {why}",
                why=str(error),
            )
        self._seen[self._state] = _look_at(self._state)


def _look_at(path: Path) -> _Seen | None:
    """What changes when a file does; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
