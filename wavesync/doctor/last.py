"""What the doctor has found last, kept beside the credentials for ``wavesync report``."""

from pathlib import Path
from typing import Any

from wavesync.identity.kept import read_kept, write_kept

__all__ = ["MAX_FILE", "keep_findings", "last_findings"]

MAX_FILE = 1 << 19
"""Bytes of the file."""


def _path(directory: Path, system: str) -> Path:
    return directory / f"doctor-{system}.json"


def keep_findings(directory: Path, system: str, found: dict[str, Any]) -> None:
    """Keep what ``wavesync doctor --json`` writes, in place of what was found before."""
    write_kept(_path(directory, system), found)


def last_findings(directory: Path, system: str) -> dict[str, Any] | None:
    """Return what was found last; None where nothing is kept."""
    return read_kept(_path(directory, system), dict[str, Any], MAX_FILE)
