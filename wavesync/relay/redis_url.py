"""Where a Redis server is, and what to say to be let in."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wavesync.errors import SettingsError
from wavesync.signalling.relay_urls import host_name

__all__ = ["DEFAULT_PORT", "MAX_DATABASE", "MAX_PASSWORD", "PASSWORD", "RedisURL"]

DEFAULT_PORT = 6379
"""Where Redis listens unless told otherwise."""

MAX_DATABASE = 65_535
"""The highest number of a database."""

MAX_PASSWORD = 1024
"""Bytes of the longest password."""

PASSWORD = "WAVESYNC_REDIS_PASSWORD"
"""The variable of the environment with the password, where no file has it."""

_URL = re.compile(
    r"redis://(?:(?P<user>[A-Za-z0-9._~-]{1,64})@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]/:@?#]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[0-9]{0,5}))?"
)


@dataclass(frozen=True, slots=True)
class RedisURL:
    """One server and what to use of it.

    :ivar host: name or numeric address.
    :ivar user: whom to be there; empty for the one that has no name.
    :ivar password: never shown.
    """

    host: str
    port: int
    database: int
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> "RedisURL":
        """Read ``redis://[USER@]HOST[:PORT][/DATABASE]``.

        :raises SettingsError: with a sentence that does not show the text: a password may be in it.
        """
        matched = _URL.fullmatch(text.strip())
        host = host_name(matched["six"] or matched["host"]) if matched is not None else None
        if matched is None or host is None or (":" in host) != bool(matched["six"]):
            raise SettingsError(
                "presence must be redis://HOST:PORT/DATABASE, or redis://USER@HOST:PORT/DATABASE;"
                " a password goes into the file that presence_password_file names"
            )
        port, database = int(matched["port"] or DEFAULT_PORT), int(matched["database"] or 0)
        if not 1 <= port <= 65_535:
            raise SettingsError("presence: the port must be a number from 1 to 65535")
        if database > MAX_DATABASE:
            raise SettingsError(f"presence: the database must be a number from 0 to {MAX_DATABASE}")
        return cls(host, port, database, matched["user"] or "")

    def with_password(self, file: str, environment: Mapping[str, str] = os.environ) -> "RedisURL":
        """Add the password.

        :param file: whose first line it is; empty to look into the environment.
        :raises SettingsError: the file cannot be read, or holds none.
        """
        password = environment.get(PASSWORD, "")
        if file:
            password = _first_line(file)
            if not password:
                raise SettingsError(f"{file}: holds no password")
        if len(password.encode("utf-8", "surrogateescape")) > MAX_PASSWORD:
            where = file or PASSWORD
            raise SettingsError(f"{where}: a password has {MAX_PASSWORD} bytes at most")
        return RedisURL(self.host, self.port, self.database, self.user, password)

    def __str__(self) -> str:
        """Host, port and database: nothing that is nobody's business."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline(MAX_PASSWORD + 2).rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
