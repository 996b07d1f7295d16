"""The processes that a benchmark measures: started, listened to, and their CPU seconds counted."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.machine import ROOT

__all__ = ["Broken", "Program", "cpu_seconds", "free_port", "proportional_memory"]

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_WITHIN = 30.0


class Broken(SystemExit):
    """A program did not do what it was started for; the text says what."""


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """:return: a port on loopback that nobody uses, UDP by default."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """:return: CPU seconds of a process so far, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def proportional_memory(pid: int) -> int:
    """:return: bytes of memory that a process has for itself, its part of shared pages included."""
    for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if text.startswith("Pss:"):
            return int(text.split()[1]) * 1024
    raise Broken("this kernel does not tell a process' memory")


class Program:
    """A child process that says by lines how far it is; killed at the latest with its ``with``.

    Its CPU seconds count from :meth:`ready`, so that starting an interpreter costs nothing.

    :param command: program and arguments; it runs in the directory of our packages.
    :param environment: variables to add.
    :param processor: the only CPU that it may use.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        processor: int | None = None,
    ) -> None:
        if processor is not None:
            command = ["taskset", "-c", str(processor), *command]
        self._command = list(command)
        self._started_cpu = 0.0
        self._rest = b""
        self._status: int | None = None
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self, within: float) -> str:
        """Give its next line.

        :param within: seconds that it may take.
        :raises Broken: it ended before, or took longer.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        end = time.monotonic() + within
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise Broken(f"said nothing for {within:g} s: {self}")
            data = os.read(descriptor, 65536)
            if not data:
                raise Broken(f"ended too early: {self}")
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\n")
        return text.decode()

    def ready(self, word: str = "ready", within: float = _READY_WITHIN) -> None:
        """Wait until it says that it is ready; from now on its CPU seconds count.

        :raises Broken: it said something else.
        """
        said = self.line(within)
        if said != word:
            raise Broken(f"said {said!r} in place of {word!r}: {self}")
        self._started_cpu = cpu_seconds(self.pid)

    def wait(self, within: float) -> float:
        """Wait for its end.

        :param within: seconds that it may take.
        :return: CPU seconds since it was ready, user and system.
        :raises Broken: it failed, or took longer.
        """
        end = time.monotonic() + within
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                raise Broken(f"no end within {within:g} s: {self}")
            time.sleep(0.005)
        self._ended(os.waitstatus_to_exitcode(status))
        if self._status:
            raise Broken(f"exit status {self._status}: {self}")
        return usage.ru_utime + usage.ru_stime - self._started_cpu

    def finish(self) -> None:
        """End its standard input, which ends those that wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _ended(self, status: int) -> None:
        self._status = self._process.returncode = status

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._status is None:
            self._process.kill()
            self._ended(self._process.wait())
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __str__(self) -> str:
        return " ".join(self._command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
