"""``wavesync system show``: ids, names, validity, what is revoked; no secrets."""

import argparse
import time
from pathlib import Path

from wavesync.cli.system_revoke import describe_revoked, revoked_beside
from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.files import read_file
from wavesync.identity.issued import issued_path, load_issued
from wavesync.identity.keys import raw_public_key
from wavesync.identity.system import SystemFile

__all__ = ["show"]


def show(arguments: argparse.Namespace, now: float) -> str:
    """Describe one file, or all that is in the directory.

    :param now: seconds since the epoch.
    :raises SettingsError: there is nothing, or a file cannot be used.
    """
    if arguments.file is not None:
        paths = [arguments.file]
    else:
        names = ("system.pem", "server.pem", "client.pem")
        paths = [arguments.directory / name for name in names]
        paths = [path for path in paths if path.exists()]
        if not paths:
            raise SettingsError(
                f"{arguments.directory} has no credentials: wavesync system create makes a system."
            )
    tables = [_describe(path, now) for path in paths]
    width = max(len(key) for table in tables for key, _ in table) + 2
    texts = ("".join(f"{key + ':':{width}}{value}\n" for key, value in table) for table in tables)
    return "\n".join(texts)


def _describe(path: Path, now: float) -> list[tuple[str, str]]:
    """Give what a file says, as pairs of a name and a value, with no secret among them."""
    if read_file(path).head.get("role") == "system":
        system = SystemFile.load(path)
        key = raw_public_key(system.public_key)
        issued = load_issued(issued_path(path.parent, system.system))
        return [
            ("file", str(path)),
            ("role", "system"),
            ("system", system.system),
            ("target", system.system),
            ("key", "encrypted" if system.encrypted else "not encrypted"),
            *_list_mediators(system.mediators),
            *(("relay", url) for url in system.relays),
            ("issued", f"{len(issued)} certificates"),
            *describe_revoked(revoked_beside(path.parent, system.system, key), issued),
        ]
    credentials = Credentials.load(path, now=None)
    leaf = credentials.leaf
    names = [
        ("server", credentials.server),
        ("name", credentials.name),
        ("label", credentials.label),
    ]
    return [
        ("file", str(path)),
        ("role", credentials.role.value),
        ("system", credentials.system),
        *((key, value) for key, value in names if value),
        ("target", str(credentials.target)),
        ("valid", _validity(leaf.not_before, leaf.not_after, now) + _revoked(credentials, path)),
        ("serial", f"{leaf.serial:x}"),
        ("fingerprint", leaf.peer.fingerprint.hex()),
        *_list_mediators(credentials.mediators),
        *(("relay", url) for url in credentials.relays),
    ]


def _revoked(credentials: Credentials, path: Path) -> str:
    crl = revoked_beside(path.parent, credentials.system, credentials.system_key_bytes)
    return " (REVOKED)" if crl is not None and credentials.leaf.serial in crl.revoked else ""


def _list_mediators(mediators: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("mediator", url) for url in mediators] or [("mediator", "none")]


def _validity(not_before: float, not_after: float, now: float) -> str:
    start, end = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(t)) for t in (not_before, not_after))
    state = " (EXPIRED)" if now > not_after else " (NOT YET VALID)" if now < not_before else ""
    return f"{start} to {end} UTC{state}"
