"""``wavesync system revoke``: takes certificates back, by writing the system's next revocation list."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from wavesync.errors import SettingsError
from wavesync.identity.crl import RevocationList, make_crl
from wavesync.identity.ids import parse_id
from wavesync.identity.issued import Issued, issued_path, load_issued
from wavesync.identity.keys import raw_public_key
from wavesync.identity.revocations import list_path, load_list, save_list
from wavesync.identity.system import SystemCredentials, SystemFile
from wavesync.identity.verify import VerificationError, read_leaf

__all__ = ["describe_revoked", "revoke", "revoked_beside"]

_MAX_FILE = 65536
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_NEXT = """\
It counts for nobody yet.  Copy it to any one agent of the system, as the file that crl in its
agent.toml names: that agent takes it within a second, without a restart, and its mediators pass
it on to the system's other agents and to clients.
"""


def revoke(
    file: SystemFile,
    system: SystemCredentials,
    who: Sequence[str],
    serials: Sequence[str],
    output: Path | None,
    now: float,
) -> str:
    """Write the next list.

    :param who: client names, server ids, and files with a certificate.
    :param serials: serial numbers in hex digits.
    :param output: the list to extend, and where to put the new one; the one beside the system's
        key file when None.
    :param now: seconds since the epoch.
    :return: what to tell.
    :raises SettingsError: somebody is not known, or a file cannot be used; then nothing is written.
    """
    path = output or list_path(file.path.parent, file.system)
    key = raw_public_key(system.private_key)
    known = load_list(path, key) if path.exists() else None
    revoked = dict(known.revoked) if known is not None else {}
    issued = load_issued(issued_path(file.path.parent, file.system))
    wanted: dict[int, str] = {}
    for each in who:
        wanted.update(_find(each, issued, key, file))
    for text in serials:
        wanted[_serial(text)] = f"serial {text.lower()}"
    told = []
    for serial, name in wanted.items():
        if serial in revoked:
            told.append(f"{name} was revoked already")
        else:
            told.append(f"Revoked {name}")
            revoked[serial] = float(int(now))
    if known is not None and len(revoked) == len(known.revoked):
        return "\n".join([*told, f"{path} stays as it is (number {known.number})", ""])
    number = 1 if known is None else known.number + 1
    new = make_crl(system.private_key, revoked, number=number, now=now)
    save_list(path, new)
    count = f"{len(revoked)} certificate{'' if len(revoked) == 1 else 's'}"
    return "\n".join([*told, f"Wrote revocation list {number} ({count}) to {path}", _NEXT])


def revoked_beside(directory: Path, system: str, key: bytes) -> RevocationList | None:
    """The system's list in a directory of credentials, if there is one.

    :raises SettingsError: it cannot be used.
    """
    path = list_path(directory, system)
    return load_list(path, key) if path.exists() else None


def describe_revoked(crl: RevocationList | None, issued: Sequence[Issued]) -> list[tuple[str, str]]:
    """Give what a list says, as pairs of a name and a value."""
    if crl is None:
        return [("revoked", "nobody")]
    names: Mapping[int, Issued] = {each.number: each for each in issued}
    lines = [("list", f"number {crl.number} of {_day(crl.issued)}")]
    for serial, at in crl.revoked.items():
        each = names.get(serial)
        name = f"{each.role} {each.name}, " if each is not None else ""
        lines.append(("revoked", f"{name}serial {serial:x}, {_day(at)}"))
    return lines


def _find(who: str, issued: Sequence[Issued], key: bytes, file: SystemFile) -> dict[int, str]:
    """Find the certificates that one word means: serial numbers, and what to call each."""
    found = {
        each.number: f"{each.role} {each.name} (serial {each.serial})"
        for each in issued
        if each.name in _names(who, file.system)
    }
    if found:
        return found
    path = Path(who)
    if path.is_file():
        return _read_certificate(path, key)
    raise SettingsError(
        f"no certificate for {who!r} is recorded in {issued_path(file.path.parent, file.system)}:"
        " name the file of the credentials or of the certificate, or give --serial (nothing was"
        " revoked)."
    )


def _names(who: str, system: str) -> set[str]:
    """The names under which somebody may be recorded: ids are taken with dashes and as targets."""
    bare = who.removesuffix(f"@{system}").removesuffix(f".{system}")
    try:
        return {bare, parse_id(bare)}
    except SettingsError:
        return {bare}


def _read_certificate(path: Path, key: bytes) -> dict[int, str]:
    """Read the first certificate in a file: of credentials, or by itself."""
    try:
        with open(path, "rb") as opened:
            text = opened.read(_MAX_FILE).decode("ascii", "replace")
        start = text.index(_BEGIN)
        pem = text[start : text.index(_END, start) + len(_END)]
        certificate = x509.load_pem_x509_certificate(pem.encode("ascii"))
        leaf = read_leaf(certificate.public_bytes(Encoding.DER), key)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, UnicodeError):
        raise SettingsError(f"{path} holds no certificate (nothing was revoked).") from None
    except VerificationError as error:
        raise SettingsError(f"{path}: {error} (nothing was revoked)") from None
    each = Issued.of(leaf)
    return {leaf.serial: f"{each.role} {each.name} (serial {each.serial})"}


def _serial(text: str) -> int:
    try:
        serial = int(text.replace(":", ""), 16)
    except ValueError:
        serial = 0
    if not 0 < serial < 1 << 159:
        raise SettingsError(f"{text[:64]!r} is not a serial number: write its hex digits.")
    return serial


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
