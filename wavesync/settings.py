"""Settings files: TOML in, one typed object out, and for every mistake one sentence.

Every role declares its settings as :class:`Section` subclasses; a key that none of them knows is a
mistake, never ignored.
"""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from wavesync.errors import SettingsError

__all__ = ["MAX_SETTINGS_SIZE", "Section", "load_settings", "parse_settings"]

MAX_SETTINGS_SIZE = 1 << 20
"""Bytes of the largest settings file that is read."""

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*)`$", re.DOTALL)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings; subclasses repeat ``frozen=True`` for the type checker.

    Every field has a default; a ``__post_init__`` that raises ``ValueError`` with half a sentence
    ("it must be 1 or more") refuses a value.
    """


S = TypeVar("S", bound=Section)


def load_settings(path: str | Path, section: type[S]) -> S:
    """Read the settings in a file.

    :param path: a TOML file.
    :param section: what it must hold.
    :raises SettingsError: it cannot be read, is no TOML, or holds an unknown key or wrong value;
        the sentence names the file and the key.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SETTINGS_SIZE + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_SETTINGS_SIZE:
        raise SettingsError(f"{path}: is larger than {MAX_SETTINGS_SIZE} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    return parse_settings(text, section, name=str(path))


def parse_settings(text: str, section: type[S], *, name: str) -> S:
    """Read settings from TOML *text*.

    :param name: what to call the text in errors: its file.
    :raises SettingsError: see :func:`load_settings`.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name}: is not TOML: {error}") from None
    try:
        return msgspec.convert(table, section)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {_sentence(str(error))}") from None


def _sentence(complaint: str) -> str:
    """Turn msgspec's complaint into one that names the key as the file writes it."""
    matched = _AT.match(complaint)
    assert matched is not None, "the pattern takes any text"
    what, where = matched["what"], matched["where"] or ""
    unknown = _UNKNOWN.match(what)
    if unknown is not None:
        key = f"{where}.{unknown['key']}" if where else unknown["key"]
        return f"there is no setting {key!r}"
    what = what[:1].lower() + what[1:]
    return f"setting {where!r}: {what}" if where else what
