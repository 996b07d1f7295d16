"""Short commands with bounded time, and whether this machine can hold a laboratory at all."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["COMMAND_TIMEOUT", "TOOLS", "Completed", "LabError", "environment", "run", "unavailable"]

#: Seconds that a command may take unless its caller knows better.
COMMAND_TIMEOUT = 60.0

#: Every program that the laboratory starts, with the Debian package that brings it.
TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "conntrack": "conntrack",
    "g++": "g++",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "turnserver": "coturn",
    "turnutils_natdiscovery": "coturn",
    "nginx": "nginx-light",
    "curl": "curl",
    "faketime": "faketime",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ffmpeg": "ffmpeg",
    "chromium-headless-shell": "chromium-headless-shell",
    "rsync": "rsync",
    "miniupnpd": "miniupnpd-nftables",
    "squid": "squid",
    "tinyproxy": "tinyproxy",
    "haproxy": "haproxy",
}


class LabError(Exception):
    """The laboratory could not do what it was asked; the text says what and shows the output."""


@dataclass(frozen=True, slots=True)
class Completed:
    """
    What a finished command left.

    :ivar status: its exit status, negative for a signal.
    :ivar stdout: its standard output.
    :ivar stderr: its standard error.
    """

    status: int
    stdout: str
    stderr: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Give the environment of a command: ours, the system directories on the path, and ``extra``.

    :param extra: variables to add or replace.
    """
    path = os.environ.get("PATH", "")
    return {
        **os.environ,
        "PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin",
        "LC_ALL": "C",
        **(extra or {}),
    }


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = COMMAND_TIMEOUT,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """
    Run a command to its end.

    :param argv: the program and its arguments.
    :param stdin: text for its standard input.
    :param timeout: seconds after which it is killed.
    :param env: variables to add to the environment.
    :param check: whether a status other than 0 is an error.
    :raises LabError: when it failed (with ``check``), took too long, or does not exist.
    """
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment(env),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout} s: {shown}") from error
    except OSError as error:
        raise LabError(f"cannot start {shown}: {error}") from error
    if check and done.returncode:
        raise LabError(f"status {done.returncode}: {shown}\n{stdin}\n{done.stdout}{done.stderr}")
    return Completed(done.returncode, done.stdout, done.stderr)


@functools.cache
def unavailable() -> str | None:
    """
    Tell why there can be no laboratory here.

    :return: one sentence, or None when there can be one.
    """
    if os.geteuid() != 0:
        return "The NAT laboratory makes network namespaces, which needs root."
    path = environment()["PATH"]
    missing = sorted(
        {package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)}
    )
    if missing:
        return f"The NAT laboratory needs these Debian packages: {' '.join(missing)}."
    probe = f"wslab-{os.getpid()}-0-probe"
    try:
        run(["ip", "netns", "add", probe])
        try:
            run(["ip", "netns", "exec", probe, "nft", "add", "table", "ip", "probe"])
        finally:
            run(["ip", "netns", "delete", probe])
    except LabError as error:
        return f"The NAT laboratory may not make network namespaces here: {error}"
    return None
