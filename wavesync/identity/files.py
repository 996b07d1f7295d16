"""Files that hold secrets: a small TOML head, then PEM blocks.

They are made with mode 0600 before their first byte is written, appear under their name only when
complete, and are refused when anybody but their owner could read them.
"""

import json
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from wavesync.errors import SettingsError

__all__ = [
    "MAX_FILE",
    "MAX_LABEL",
    "MAX_MEDIATORS",
    "MAX_RELAYS",
    "MAX_RELAY_URL",
    "MAX_URL",
    "Contents",
    "check_label",
    "check_mediators",
    "check_relays",
    "default_directory",
    "open_at_once",
    "parse",
    "read_certificate",
    "read_file",
    "render",
    "write_file",
]

MAX_FILE = 65536
"""Longest file of credentials that is read, in bytes."""

MAX_LABEL = 64
"""Longest label of a server, in characters."""

MAX_MEDIATORS = 16
"""Most mediators in one file."""

MAX_URL = 255
"""Longest URL of a mediator, in characters."""

MAX_RELAYS = 4
"""Most relays in one file."""

MAX_RELAY_URL = 128
"""Longest URL of a relay, in characters."""

_BEGIN = "-----BEGIN "
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n?")
_URL = re.compile(
    r"(?:(?:udp|tcp|http|https)://)?"
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)"
    r"(?::([0-9]{1,5}))?/?"
)
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class Contents:
    """What such a file says, before anything is believed.

    :ivar head: the TOML head.
    :ivar blocks: label and text of each PEM block, in order.
    """

    head: Mapping[str, object]
    blocks: Sequence[tuple[str, str]]

    def text(self, key: str) -> str:
        """Give a string from the head.

        :raises SettingsError: when it is missing or no string.
        """
        value = self.head.get(key)
        if not isinstance(value, str):
            raise SettingsError(f"its head has no {key!r}.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of strings from the head; none when it is missing.

        :raises SettingsError: when it is something else.
        """
        value = self.head.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SettingsError(f"{key!r} in its head is not a list of strings.")
        return tuple(value)

    def pem(self, label: str, index: int = 0) -> str:
        """Give the block whose label ends in *label*, the one at *index* if there are several.

        :raises SettingsError: when there is none.
        """
        found = [text for name, text in self.blocks if name.endswith(label)]
        if index >= len(found):
            raise SettingsError(f"it lacks a block {label!r}.")
        return found[index]


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the place for credentials: ``~/.config/wavesync``, or as ``XDG_CONFIG_HOME`` says."""
    base = environment.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification: a path that is not absolute is ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "wavesync"


def check_mediators(urls: Sequence[str]) -> tuple[str, ...]:
    """Refuse what is no list of mediators.

    :param urls: ``udp://HOST:PORT``, ``tcp://HOST:PORT``, ``http(s)://HOST/`` or a bare host.
    :raises SettingsError: with a sentence that names the one that is none.
    """
    if len(urls) > MAX_MEDIATORS:
        raise SettingsError(f"at most {MAX_MEDIATORS} mediators can be named.")
    for url in urls:
        found = _URL.fullmatch(url) or _BARE_IPV6.fullmatch(url)
        port = found[1] if found is not None and found.lastindex else None
        if len(url) > MAX_URL or found is None or not 1 <= int(port or 1) <= 65535:
            raise SettingsError(
                f"{url[:MAX_URL]!r} is not a mediator: write a host name, or udp://HOST:PORT,"
                " tcp://HOST:PORT, http://HOST/ or https://HOST/."
            )
    return tuple(urls)


def check_relays(urls: Sequence[str]) -> tuple[str, ...]:
    """Refuse what is no list of relays.

    :param urls: ``http://HOST:PORT``, ``https://HOST:PORT`` or ``HOST:PORT``.
    :raises SettingsError: with a sentence that names the one that is none.
    """
    if len(urls) > MAX_RELAYS:
        raise SettingsError(f"at most {MAX_RELAYS} relays can be named.")
    for url in urls:
        found = _URL.fullmatch(url) or _BARE_IPV6.fullmatch(url)
        port = found[1] if found is not None and found.lastindex else None
        scheme = url.partition("://")[0] if "://" in url else "http"
        good = found is not None and scheme in ("http", "https") and 1 <= int(port or 1) <= 65535
        if len(url) > MAX_RELAY_URL or not good:
            raise SettingsError(
                f"{url[:MAX_RELAY_URL]!r} is not a relay: write HOST:PORT, http://HOST:PORT or"
                " https://HOST:PORT."
            )
    return tuple(urls)


def check_label(label: str) -> str:
    """Refuse a label that is too long or would disturb a terminal.

    :raises SettingsError: when it has more than :data:`MAX_LABEL` or any unprintable characters.
    """
    if len(label) > MAX_LABEL or not label.isprintable():
        raise SettingsError(f"a label has at most {MAX_LABEL} printable characters.")
    return label


def render(
    comment: str, head: Mapping[str, str | int | Sequence[str]], blocks: Sequence[str]
) -> str:
    """Write the text of a file.

    :param comment: one line for people.
    :param head: what the TOML head says; strings without control characters only.
    :param blocks: the PEM blocks, each ending in a newline.
    """
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    return "\n".join([f"# {comment}", *lines, "", "".join(blocks)])


def write_file(
    path: Path, text: str, *, force: bool, mode: int = 0o600, durable: bool = True
) -> None:
    """Put a file in its place, all of it or nothing; by default readable for its owner only.

    :param force: replace a file that is there.
    :param mode: who may read it, less what the process' umask takes away.
    :param durable: wait until it is on the disk; not needed for what can be found out again.
    :raises SettingsError: when there is one and *force* is false, or it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            if force:
                os.replace(temporary, path)
            else:
                _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from error


def _link(temporary: Path, path: Path) -> None:
    """Give a complete file its name unless something else has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise SettingsError(f"{path} is there already; --force replaces it.") from None


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, should it be a named pipe, for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_file(path: Path) -> Contents:
    """Read such a file.

    :raises SettingsError: when it is missing, unreadable, too open, too long or malformed; the
        sentence names the file.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SettingsError(f"{path} is not a regular file.")
            if status.st_mode & 0o077:
                raise SettingsError(
                    f"{path} could be read or changed by others than its owner"
                    f" (mode {stat.S_IMODE(status.st_mode):04o}): run chmod 600 {path}."
                )
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return parse(data)
    except SettingsError as error:
        raise SettingsError(f"{path} cannot be used: {error}") from error


def parse(data: bytes) -> Contents:
    """Take a file's bytes apart.

    :raises SettingsError: when they are too long, no UTF-8, no TOML, or hold damaged PEM.
    """
    if len(data) > MAX_FILE:
        raise SettingsError(f"it is longer than {MAX_FILE} bytes.")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise SettingsError("it is not text.") from None
    start = text.find(_BEGIN)
    head_text, rest = (text, "") if start < 0 else (text[:start], text[start:])
    try:
        head = tomllib.loads(head_text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"its head is not TOML: {error}.") from None
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(rest)]
    if _BLOCK.sub("", rest).strip():
        raise SettingsError("its PEM blocks are damaged.")
    version = head.get("version")
    if version != 1:
        raise SettingsError("its head does not say version = 1.")
    return Contents(head, blocks)


def read_certificate(pem: str) -> x509.Certificate:
    """Read one PEM certificate.

    :raises SettingsError: when it is damaged.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError as error:
        raise SettingsError("a certificate in it is damaged.") from error
