"""Small files of what was found out and could be found out again: whoever cannot have one goes without."""

from pathlib import Path
from typing import TypeVar

import msgspec
from twisted.logger import Logger

from wavesync.errors import SettingsError
from wavesync.identity.files import write_file

__all__ = ["read_kept", "write_kept"]

T = TypeVar("T")

_log = Logger()


def read_kept(path: Path, kind: type[T], most: int) -> T | None:
    """Read a file of JSON.

    :param kind: what is in it, for :mod:`msgspec`.
    :param most: bytes of the longest that is read.
    :returns: None where there is none, or none that could be used.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise msgspec.DecodeError("it is too long")
        return msgspec.json.decode(data, type=kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.debug("{path} is not used: {why}", path=path, why=error)
        return None


def write_kept(path: Path, value: object) -> None:
    """Write such a file, all of it or nothing, for its owner only; or never mind."""
    try:
        write_file(path, msgspec.json.encode(value).decode(), force=True, durable=False)
    except (OSError, SettingsError) as error:
        _log.debug("{path} cannot be written: {why}", path=path, why=error)
