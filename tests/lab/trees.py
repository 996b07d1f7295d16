"""Trees of files that are moved, and compared afterwards."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["digest_tree", "make_tree"]


def make_tree(root: Path, *, small: int, large: int) -> None:
    """Fill a directory with random files, directories, links and modes.

    :param root: made here.
    :param small: how many files of up to 20 KB there are.
    :param large: the size of one further file, in bytes.
    """
    root.mkdir()
    for number in range(small):
        directory = root / f"camera {number % 7}" / str(number % 3)
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"{number}.bin"
        file.write_bytes(os.urandom(number * 97 % 20000))
        file.chmod(0o600 + number % 64)
    (root / "large.bin").write_bytes(os.urandom(large))
    (root / "latest").symlink_to("large.bin")
    (root / "empty").mkdir()


def digest_tree(root: Path) -> dict[str, str]:
    """Describe everything in a directory: relative path to mode and SHA-256 or target."""
    seen = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            seen[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            seen[name] = f"{path.stat().st_mode:o}"
        else:
            data = path.read_bytes()
            seen[name] = f"{path.stat().st_mode:o} {hashlib.sha256(data).hexdigest()}"
    return seen
