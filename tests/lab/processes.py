"""Long-running processes inside a namespace, with logs in files and waits that end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab.commands import LabError, environment
from tests.lab.namespaces import Namespace

__all__ = ["START_TIMEOUT", "Process", "poll", "processor_time"]

#: Seconds that a process may take until it is ready.
START_TIMEOUT = 60.0

_POLL_INTERVAL = 0.01
_TAIL = 2000
_LISTEN, _UDP_UNCONNECTED = "0A", "07"


def poll(question: Callable[[], bool], timeout: float, failure: Callable[[], str]) -> None:
    """
    Ask until the answer is yes.

    :param question: cheap and without side effects.
    :param timeout: seconds to ask for.
    :param failure: gives the error's text.
    :raises LabError: when the answer stayed no.
    """
    deadline = time.monotonic() + timeout
    while not question():
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout} s: {failure()}")
        time.sleep(_POLL_INTERVAL)


def processor_time(pid: int) -> float:
    """Give the seconds of processor that a process has used so far, in the kernel, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """
    A process inside a namespace, in a process group of its own.

    :ivar name: for people and for the names of its files.
    :ivar log: the file that takes its standard output and standard error.
    :ivar stdin: its standard input, or None unless asked for.
    """

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipe: bool = False,
    ) -> None:
        """
        Start it.

        :param namespace: where it lives.
        :param name: for people.
        :param argv: the program and its arguments.
        :param log: file for its output, made anew.
        :param env: variables to add to the environment.
        :param cwd: its working directory; ours by default.
        :param pipe: whether to give it a standard input that we write to.
        """
        self.name = name
        self.log = log
        self._namespace = namespace
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                namespace.command(argv),
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(env),
                cwd=cwd,
                start_new_session=True,
            )
        self.stdin = self._popen.stdin
        self._killed = False

    @property
    def pid(self) -> int:
        """Its process id; that of the program itself, as ``ip netns exec`` replaces itself."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def output(self) -> str:
        """Give all it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_for_line(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """
        Wait until its output matches.

        :param pattern: a regular expression, searched line by line (``^`` and ``$`` are a line's).
        :param timeout: seconds to wait.
        :raises LabError: when nothing matched in time, or it ended without.
        """
        compiled = re.compile(pattern, re.MULTILINE)
        found: list[re.Match[str]] = []

        def matched() -> bool:
            ended = not self.running
            match = compiled.search(self.output())
            if match is not None:
                found.append(match)
            elif ended:
                raise LabError(self._describe(f"ended before it wrote {pattern!r}"))
            return match is not None

        poll(matched, timeout, lambda: self._describe(f"did not write {pattern!r}"))
        return found[0]

    def wait_for_port(
        self, port: int, *, udp: bool = False, timeout: float = START_TIMEOUT
    ) -> None:
        """
        Wait until somebody in its namespace listens on a port.

        :param port: the local port.
        :param udp: whether a UDP port is meant instead of a TCP one.
        :param timeout: seconds to wait.
        :raises LabError: when nobody did in time, or it ended.
        """

        def listening() -> bool:
            if not self.running:
                raise LabError(self._describe(f"ended before it listened on {port}"))
            return self._namespace.contains(self.pid) and port in _local_ports(self.pid, udp)

        poll(listening, timeout, lambda: self._describe(f"does not listen on {port}"))

    def wait(self, timeout: float) -> int:
        """
        Wait for its end.

        :param timeout: seconds to wait.
        :return: the exit status, negative for a signal.
        :raises LabError: when it still runs.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(self._describe(f"still runs after {timeout} s")) from error

    def stop(self, timeout: float = 3.0) -> int:
        """
        End it and whatever is in its process group: first asked, then killed.

        :param timeout: seconds for the polite part.
        :return: the exit status, negative for a signal.
        """
        if self.running:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """
        Kill it and whatever is in its process group, now.

        :return: the exit status, negative for a signal.
        """
        if not self._killed:
            self._killed = True
            self._signal(signal.SIGKILL)
        status = self._popen.wait()
        if self.stdin is not None:
            self.stdin.close()
        return status

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _describe(self, what: str) -> str:
        return f"{self.name} {what}; it wrote:\n{self.output()[-_TAIL:]}"


def _local_ports(pid: int, udp: bool) -> set[int]:
    """List the ports that sockets of a process's namespace listen on."""
    wanted = _UDP_UNCONNECTED if udp else _LISTEN
    ports = set()
    for table in ("udp", "udp6") if udp else ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == wanted:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
