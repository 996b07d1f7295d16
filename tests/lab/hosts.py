"""A machine of the laboratory, where processes run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.commands import COMMAND_TIMEOUT, Completed
from tests.lab.namespaces import Namespace
from tests.lab.processes import Process

__all__ = ["Host"]


class Host:
    """
    A machine: a namespace with an address, where processes run.

    :ivar name: ``a``, ``a2``, ``b``, ``mediator``, ...
    :ivar namespace: its namespace.
    :ivar addresses: its own IPv4 addresses, possibly private.
    """

    def __init__(
        self, name: str, namespace: Namespace, addresses: Sequence[str], directory: Path
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.addresses = tuple(addresses)
        self._directory = directory
        self._processes: list[Process] = []
        self._numbers = itertools.count(1)

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = COMMAND_TIMEOUT,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Completed:
        """Run a command here to its end; see `tests.lab.commands.run`."""
        return self.namespace.run(argv, stdin=stdin, timeout=timeout, env=env, check=check)

    def start(
        self,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipe: bool = False,
    ) -> Process:
        """
        Start a process here; it is killed with the laboratory at the latest.

        :param argv: the program and its arguments.
        :param name: for people and its log; the program's by default.
        :param env: variables to add to the environment.
        :param cwd: its working directory; ours by default.
        :param pipe: whether its standard input is a pipe from us.
        """
        name = name or Path(argv[0]).name
        log = self._directory / f"{self.name}-{next(self._numbers)}-{name}.log"
        process = Process(self.namespace, name, argv, log, env=env, cwd=cwd, pipe=pipe)
        self._processes.append(process)
        return process

    def directory(self, name: str) -> Path:
        """Make a directory for files of this host, removed with the laboratory."""
        path = self._directory / f"{self.name}-{next(self._numbers)}-{name}"
        path.mkdir()
        return path

    def close(self) -> None:
        """Kill its processes."""
        while self._processes:
            self._processes.pop().kill()
