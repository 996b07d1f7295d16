"""What a mediator keeps of revocation lists across restarts: one SQLite file.

Without it a mediator that has just been started would take a revoked server for a good one until an
agent of the system has brought the list again; and a client that asks it about a server could not know
whether there is no list, or whether it was forgotten (docs/connecting, "A mediator that has forgotten").
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from twisted.logger import Logger

from wavesync.errors import SettingsError
from wavesync.identity.crl import RevocationList, read_crl
from wavesync.identity.verify import VerificationError

__all__ = ["FILE_NAME", "MAX_WITHOUT", "KeptLists"]

FILE_NAME = "revocations.sqlite"
"""The file's name in the directory that the settings name."""

MAX_WITHOUT = 50_000
"""Systems of which it is kept that they have no list; the one that was noted first is forgotten."""

_VERSION = 1
_BUSY = 0.2  # seconds that a file is waited for which somebody else has open
_TABLES = """
CREATE TABLE list (system_key BLOB PRIMARY KEY, der BLOB NOT NULL);
CREATE TABLE without (system TEXT PRIMARY KEY);
"""


class KeptLists:
    """The file.  Only one process can have it open.

    Nothing old is ever taken for new: when the file cannot be written any more it is removed.

    :param directory: where it is; made when it is missing.
    :raises SettingsError: it cannot be opened, or is damaged.
    :ivar broken: why nothing is kept any more; empty while all is well.
    """

    log = Logger()

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.broken = ""
        self._keys: dict[str, bytes] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"{self.path} cannot be opened: {error}") from error
        try:
            self._open()
            self._without = dict.fromkeys(
                str(row[0]) for row in self._file.execute("SELECT system FROM without")
            )
        except sqlite3.Error as error:
            self._file.close()
            raise SettingsError(f"{self.path} cannot be used: {error}") from error
        except SettingsError:
            self._file.close()
            raise

    def _open(self) -> None:
        self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        (version,) = self._file.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._file.executescript(f"{_TABLES} PRAGMA user_version = {_VERSION};")
        elif version != _VERSION:
            raise SettingsError(f"{self.path} was written by another version of wavesync.")

    def load(self) -> Sequence[RevocationList]:
        """Read all lists, the one that was kept first first.

        :raises SettingsError: one of them is damaged.
        """
        found = []
        try:
            for key, der in self._file.execute("SELECT system_key, der FROM list ORDER BY rowid"):
                found.append(read_crl(der, key))
                self._keys[found[-1].system] = key
        except (sqlite3.Error, VerificationError, ValueError, TypeError) as error:
            raise SettingsError(f"{self.path} is damaged: {error}") from error
        return found

    def never(self, system: str) -> bool:
        """Tell whether it is known that a system has no list: its servers had none when they
        registered, and none has come since."""
        return not self.broken and system in self._without

    def keep(self, new: RevocationList, system_key: bytes) -> None:
        """Keep a list in place of the system's older one.

        :param system_key: the system's public key, 32 raw bytes.
        """
        self._keys[new.system] = system_key
        # One fsync: a list that was taken is not forgotten with the power.
        self._write("INSERT OR REPLACE INTO list VALUES (?, ?)", system_key, new.der)

    def drop(self, systems: Iterable[str]) -> None:
        """There was no room for the lists of these systems any more."""
        for system in systems:
            key = self._keys.pop(system, None)
            if key is not None:
                self._write("DELETE FROM list WHERE system_key = ?", key)

    def there_is_none(self, system: str) -> None:
        """A server has registered that has no list, and nor has the mediator."""
        if self.broken or system in self._without:
            return
        if len(self._without) >= MAX_WITHOUT:
            self.there_is_one(next(iter(self._without)))
        self._without[system] = None
        self._write("INSERT OR IGNORE INTO without VALUES (?)", system)

    def there_is_one(self, system: str) -> None:
        """A list was heard of, whether it can be kept or not."""
        if system in self._without:
            del self._without[system]
            self._write("DELETE FROM without WHERE system = ?", system)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, statement: str, *values: str | bytes) -> None:
        if self.broken:
            return
        try:
            self._file.execute(statement, values)
        except sqlite3.Error as error:
            self.broken = str(error)
            self._remove()
            self.log.error(
                "revocation lists are not kept any more, and {path} is removed: {why}",
                path=self.path,
                why=self.broken,
            )

    def _remove(self) -> None:
        """What is in the file is out of date from now on."""
        self._file.close()
        for path in (self.path, self.path.with_name(f"{FILE_NAME}-wal")):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self.log.error("{path} cannot be removed: {why}", path=path, why=error)
