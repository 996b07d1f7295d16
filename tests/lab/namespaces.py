"""One network namespace: made, configured, entered, and removed with every process in it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.commands import COMMAND_TIMEOUT, Completed, LabError, run

__all__ = ["PREFIX", "Namespace", "clean", "new_prefix"]

#: First part of the name of every namespace of ours; the pid of its owner follows.
PREFIX = "wslab"

_RUN = Path("/run/netns")
_ETC = Path("/etc/netns")
_NAME = re.compile(rf"{PREFIX}-(\d+)-(\d+)-\w+")
_KILL_TIMEOUT = 30.0

_counter = itertools.count(1)


def new_prefix() -> str:
    """Give a prefix for the names of one laboratory: no other one, alive or dead, shares it."""
    return f"{PREFIX}-{os.getpid()}-{next(_counter)}"


class Namespace:
    """
    A network namespace that this process made.

    :ivar name: as ``ip netns`` knows it.
    """

    def __init__(
        self, name: str, *, hosts: Mapping[str, Sequence[str]] | None = None, ipv6: bool = False
    ) -> None:
        """
        Make the namespace, with its loopback up.

        :param name: unique on this machine; see `new_prefix`.
        :param hosts: names that processes in it shall resolve, with their addresses.  No other
            name resolves, and asking fails at once.
        :param ipv6: whether there is IPv6, without any automatism.
        """
        self.name = name
        self._write_names(hosts or {})
        run(["ip", "netns", "add", name])
        self.ip("link set lo up")
        # Reverse-path filters would hide routing mistakes; IPv6 autoconfiguration only adds noise.
        self.sysctl(
            {
                "net.ipv4.conf.all.rp_filter": 0,
                "net.ipv4.conf.default.rp_filter": 0,
                "net.ipv6.conf.all.disable_ipv6": not ipv6,
                "net.ipv6.conf.default.disable_ipv6": not ipv6,
                "net.ipv6.conf.default.accept_ra": 0,
                "net.ipv6.conf.default.accept_dad": 0,
                "net.ipv6.conf.default.router_solicitations": 0,
            }
        )

    def _write_names(self, hosts: Mapping[str, Sequence[str]]) -> None:
        directory = _ETC / self.name
        directory.mkdir(parents=True)
        lines = [f"{address} {name}\n" for name, known in hosts.items() for address in known]
        (directory / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Give the command line that runs ``argv`` inside."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = COMMAND_TIMEOUT,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Completed:
        """Run a command inside to its end; see `tests.lab.commands.run`."""
        return run(self.command(argv), stdin=stdin, timeout=timeout, env=env, check=check)

    def ip(self, *lines: str) -> None:
        """
        Configure by ``ip`` commands, in order.

        :param lines: each without the leading ``ip``.
        """
        run(["ip", "-n", self.name, "-batch", "-"], stdin="\n".join(lines) + "\n")

    def nft(self, rules: str) -> None:
        """Load nftables text in one transaction."""
        self.run(["nft", "-f", "-"], stdin=rules)

    def sysctl(self, values: Mapping[str, int]) -> None:
        """
        Set kernel parameters of this namespace.

        :param values: dotted names with their values.
        """
        lines = [f"{name.replace('.', '/')} {int(value)}\n" for name, value in values.items()]
        script = 'while read -r path value; do echo "$value" > "/proc/sys/$path" || exit 1; done'
        self.run(["sh", "-c", script], stdin="".join(lines))

    def contains(self, pid: int) -> bool:
        """Tell whether a process lives in this namespace (it does so soon after its start)."""
        try:
            return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(_RUN / self.name).st_ino
        except OSError:
            return False

    def pids(self) -> list[int]:
        """List the processes that live in this namespace."""
        everybody = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
        return [pid for pid in everybody if self.contains(pid)]

    def delete(self) -> None:
        """Kill what still lives inside, then remove the namespace and its files."""
        deadline = time.monotonic() + _KILL_TIMEOUT
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                _kill(pid)
            _reap(pids)
            time.sleep(0.005)
        run(["ip", "netns", "delete", self.name], check=False)
        shutil.rmtree(_ETC / self.name, ignore_errors=True)
        if (_RUN / self.name).exists():
            raise LabError(f"namespace {self.name} could not be removed")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(pids: Sequence[int]) -> None:
    """Collect those that are children of ours, so that they do not linger as zombies."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def clean() -> list[str]:
    """
    Remove what laboratories of dead processes left; those of living ones are not touched.

    :return: the names of the namespaces and temporary directories removed.
    """
    removed = []
    for name in _names_of_the_dead(_RUN) | _names_of_the_dead(_ETC):
        leftover = Namespace.__new__(Namespace)
        leftover.name = name
        leftover.delete()
        removed.append(name)
    temporary = Path(tempfile.gettempdir())
    for name in _names_of_the_dead(temporary):
        shutil.rmtree(temporary / name, ignore_errors=True)
        removed.append(name)
    return sorted(removed)


def _names_of_the_dead(directory: Path) -> set[str]:
    """List the entries of a directory that are called after a process that is no more."""
    if not directory.is_dir():
        return set()
    matches = (_NAME.fullmatch(entry.name) for entry in directory.iterdir())
    return {match[0] for match in matches if match is not None and not _alive(int(match[1]))}
