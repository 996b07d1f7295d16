"""On what a figure was taken: the machine, and the versions of all that took part."""

import functools
import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["ROOT", "all_descriptors", "debian_version", "machine", "versions"]

ROOT = Path(__file__).resolve().parent.parent
"""The directory that holds the packages."""

_CPU_INFO = Path("/proc/cpuinfo")
_PACKAGES = ("twisted", "pyopenssl", "cryptography")


def _processor() -> str:
    """Give the processor's name, as far as the system tells it."""
    if _CPU_INFO.exists():
        for text in _CPU_INFO.read_text(errors="replace").splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.machine()


def machine() -> str:
    """Describe this machine in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = f"{os.cpu_count()} CPUs ({_processor()}), {memory:.0f} GiB"
    return f"{hardware}, {platform.system()} {platform.release()}"


@functools.cache
def _said(*command: str) -> str:
    """Give what a command prints, empty if it cannot."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def all_descriptors() -> int:
    """Let this process, and those that it starts, open as many files as the system allows.

    :return: how many.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def debian_version(package: str) -> str:
    """Give the version of an installed Debian package, empty without one."""
    return _said("dpkg-query", "-W", "-f=${Version}", package)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Give the versions of Python, of what we stand on, of ourselves, and of peers.

    :param packages: the peers' Debian packages.
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        found[name] = importlib.metadata.version(name)
    commit = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    found["wavesync"] = importlib.metadata.version("wavesync") + (f"+{commit}" if commit else "")
    for package in packages:
        found[package] = debian_version(package)
    return found
