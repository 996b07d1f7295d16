"""Links between namespaces: plain veth pairs, and links with delay and loss.

This kernel family has no netem everywhere, so a link with delay is a pair of TUN devices with a
small program (``forwarder.cpp``, compiled on first use) between them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.lab.commands import LabError, run
from tests.lab.namespaces import Namespace
from tests.lab.processes import Process, poll

__all__ = ["DelayedLink", "connect"]

_SOURCE = Path(__file__).with_name("forwarder.cpp")
_BUILD = Path(__file__).with_name("build")
_COMPILE_TIMEOUT = 120.0
_ANSWER_TIMEOUT = 30.0
#: Packets that a TUN device holds while the forwarder is not looking.
_TUN_QUEUE = 10000
_SEED = 20210


def connect(left: Namespace, left_device: str, right: Namespace, right_device: str) -> None:
    """
    Join two namespaces by a veth pair, up on both sides.

    Packets keep their size on it: without a limit of one segment, veth would carry bundles of
    64 KB that count, and get lost, as one packet.

    :param left_device: name of the interface in ``left``.
    :param right_device: name of the interface in ``right``.
    """
    add = f"link add {left_device} type veth peer name {right_device} netns {right.name}"
    left.ip(add, f"link set {left_device} gso_max_segs 1 up")
    right.ip(f"link set {right_device} gso_max_segs 1 up")


def forwarder() -> Path:
    """Give the compiled forwarder, compiling it when its source has changed."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    program = _BUILD / f"forwarder-{digest}"
    if not program.exists():
        _BUILD.mkdir(exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        run(
            ["g++", "-std=c++17", "-O2", "-Wall", "-o", str(unfinished), str(_SOURCE)],
            timeout=_COMPILE_TIMEOUT,
        )
        unfinished.rename(program)
    return program


class DelayedLink:
    """
    A link between two namespaces that delays and loses packets, the same in both directions.

    Packets keep their order unless there is jitter.  Its devices are called as told and up.
    """

    def __init__(
        self,
        left: Namespace,
        left_device: str,
        right: Namespace,
        right_device: str,
        *,
        delay: float,
        loss: float,
        jitter: float = 0.0,
        log: Path,
    ) -> None:
        """
        Make the link.

        :param left_device: name of the interface in ``left``.
        :param right_device: name of the interface in ``right``.
        :param delay: one way, in seconds.
        :param loss: probability for each packet, 0 .. 1.
        :param jitter: up to this much more, random for each packet, in seconds.
        :param log: file for the forwarder's output.
        """
        self._process = Process(
            right,
            f"link {left.name} - {right.name}",
            [str(forwarder()), left.name, left_device, right.name, right_device, str(_SEED)],
            log,
            pipe=True,
        )
        self._process.wait_for_line("^ready$")
        for namespace, device in ((left, left_device), (right, right_device)):
            namespace.ip(f"link set {device} txqueuelen {_TUN_QUEUE} up")
        self.set(delay=delay, loss=loss, jitter=jitter)

    def set(self, *, delay: float, loss: float, jitter: float = 0.0) -> None:
        """
        Change what happens to packets from now on.

        :param delay: one way, in seconds, 0 or more.
        :param loss: probability for each packet, 0 .. 1.
        :param jitter: up to this much more, random for each packet, in seconds, 0 or more.
        """
        if delay < 0 or jitter < 0 or not 0 <= loss <= 1:
            raise LabError(
                f"no link has a delay of {delay} s, {jitter} s more, and a loss of {loss}"
            )
        self._command(f"{round(delay * 1e6)} {round(loss * 1e6)} {round(jitter * 1e6)}")

    def counts(self) -> tuple[int, int, int]:
        """Give how many packets were carried, lost on purpose, dropped for a full queue."""
        carried, lost, full = self._command("").split()
        return int(carried), int(lost), int(full)

    def _command(self, line: str) -> str:
        pipe = self._process.stdin
        if pipe is None or not self._process.running:
            raise LabError(f"{self._process.name} has ended: {self._process.output()}")
        answers = len(self._process.output().splitlines())
        pipe.write(f"{line}\n".encode())
        pipe.flush()
        poll(
            lambda: len(self._process.output().splitlines()) > answers,
            _ANSWER_TIMEOUT,
            lambda: f"{self._process.name} did not answer",
        )
        return self._process.output().splitlines()[-1]

    def close(self) -> None:
        """End the link; its devices vanish."""
        self._process.kill()
