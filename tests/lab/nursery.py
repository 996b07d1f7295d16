"""Python programs in namespaces without a start of Python each: forks of one process.

Importing takes a program half a second of a processor; a laboratory with sixty of them would spend
most of its time so.  A nursery has imported everything once, and forks.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.lab.commands import LabError, environment
from tests.lab.namespaces import Namespace
from tests.lab.processes import Process, poll

__all__ = ["Hatched", "Nursery"]

_NEW_NET, _NEW_MOUNTS = 0x40000000, 0x00020000
_BIND, _RECURSIVE, _SLAVE = 0x1000, 0x4000, 0x80000
_END_TIMEOUT = 30.0


class Hatched(Process):
    """A process that a nursery has forked."""

    def __init__(self, namespace: Namespace, name: str, log: Path, pid: int, stdin: Any) -> None:
        """
        Take it over.

        :param namespace: where it lives.
        :param name: for people.
        :param log: the file that takes its output.
        :param pid: its process id, which is that of its process group.
        :param stdin: what we write to its standard input through.
        """
        self.name = name
        self.log = log
        self.stdin = stdin
        self._namespace = namespace
        self._pid = pid

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet; its nursery lets no zombies be."""
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def status(self) -> int:
        """
        Its exit status.

        :raises LabError: it has not ended, or was killed.
        """
        try:
            return int(_status_file(self.log).read_text())
        except (OSError, ValueError):
            raise LabError(f"{self.name} has no exit status") from None

    def kill(self) -> int:
        """Kill it and whatever is in its process group, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        poll(lambda: not self.running, _END_TIMEOUT, lambda: f"{self.name} cannot be killed")
        if self.stdin is not None:
            self.stdin.close()
        return -signal.SIGKILL


def _status_file(log: Path) -> Path:
    """Where the exit status of a program is noted, beside its output."""
    return log.with_suffix(".status")


class Nursery:
    """
    The process that forks; also a context manager.

    What it has forked outlives it, and ends with its namespace.
    """

    def __init__(self) -> None:
        """Start it; what it imports takes a moment."""
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def hatch(self, namespace: Namespace, name: str, argv: Sequence[str], log: Path) -> Hatched:
        """
        Start a program.

        :param namespace: where.
        :param name: for people.
        :param argv: one of the names in `_PROGRAMS`, and its arguments.
        :param log: file for its output, made anew.
        :raises LabError: the nursery has ended.
        """
        pipe = log.with_suffix(".input")
        os.mkfifo(pipe)
        log.write_bytes(b"")
        # For both, so that neither side waits for the other; the other side only reads.
        stdin = os.fdopen(os.open(pipe, os.O_RDWR | os.O_CLOEXEC), "wb", buffering=0)
        order = {"namespace": namespace.name, "argv": [*argv], "log": str(log), "input": str(pipe)}
        assert self._popen.stdin is not None and self._popen.stdout is not None
        try:
            self._popen.stdin.write(json.dumps(order) + "\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise LabError("the nursery has ended") from None
        answer = self._popen.stdout.readline()
        if not answer:
            raise LabError("the nursery has ended")
        return Hatched(namespace, name, log, int(answer), stdin)

    def close(self) -> None:
        """End it."""
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.kill()
        self._popen.wait()
        self._popen.stdin.close()
        self._popen.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# What follows runs in the nursery and in what it forks.


def _knock(arguments: list[str]) -> int:
    from tests.lab.knock import main

    return main(arguments)


def _twist(arguments: list[str]) -> int:
    from twisted.application.twist._twist import Twist

    Twist.main(["twist", *arguments])
    return 0


def _wavesync(arguments: list[str]) -> int:
    from wavesync.cli.main import main

    return main(arguments)


_PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "knock": _knock,
    "twist": _twist,
    "wavesync": _wavesync,
}


def _import_all() -> None:
    """Import what the programs need, but no reactor: each has to make its own."""
    import twisted.application.twist._twist
    import twisted.web.static  # noqa: F401

    import wavesync.agent.service
    import wavesync.cli.doctor
    import wavesync.mediator.service
    import wavesync.relay.service  # noqa: F401

    assert "twisted.internet.reactor" not in sys.modules


def _enter(name: str) -> None:
    """Go into a namespace, with its own names of hosts, as ``ip netns exec`` does."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: object) -> None:
        if getattr(libc, function)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"{function} {arguments}")

    entry = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    call("setns", entry, _NEW_NET)
    call("unshare", _NEW_MOUNTS)
    call("mount", b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _SLAVE), None)
    for file in Path("/etc/netns", name).iterdir():
        at = bytes(Path("/etc", file.name))
        call("mount", bytes(file), at, b"none", ctypes.c_ulong(_BIND), None)


def _be(order: dict[str, Any]) -> NoReturn:
    """Become the program, in its namespace."""
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, (path, flags) in enumerate(
            (
                (order["input"], os.O_RDONLY),
                (order["log"], os.O_WRONLY | os.O_APPEND),
            )
        ):
            os.dup2(os.open(path, flags), number)
        os.dup2(1, 2)
        _enter(order["namespace"])
        random.seed()
        name, *arguments = order["argv"]
        status = _PROGRAMS[name](arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            _status_file(Path(order["log"])).write_text(str(status))
        os._exit(status)


def _main() -> int:
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _be(order)
        print(pid, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
