"""Runs coturn's programs (Debian package ``coturn``) as real STUN peers on loopback."""

import contextlib
import shutil
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

__all__ = ["Program", "missing", "start_turnserver", "stunclient"]

reactor: Any = _reactor


def missing(program: str) -> str | None:
    """Why a test that needs *program* is skipped, or None."""
    if shutil.which(program) is None:
        return f"{program} is not installed (Debian package coturn)"
    return None


class Program(ProcessProtocol):
    """One running program: what it has written, and when it has ended.

    :ivar output: standard output and error so far.
    :ivar ended: fires with the output when the program has ended.
    """

    def __init__(self) -> None:
        self.output = b""
        self.ended: Deferred[bytes] = Deferred()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep what it writes."""
        self.output += data

    def processEnded(self, reason: Failure) -> None:
        """It has ended."""
        self.ended.callback(self.output)

    def kill(self) -> Deferred[bytes]:
        """End it, by its own process id, and wait until it has ended."""
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        return self.ended


def spawn(case: TestCase, program: str, arguments: list[str], directory: str) -> Program:
    """Start *program* in *directory*; it is killed when *case* ends."""
    running = Program()
    path = shutil.which(program)
    assert path is not None
    reactor.spawnProcess(running, path, [program, *arguments], env=None, path=directory)
    case.addCleanup(running.kill)
    return running


async def free_port(host: str) -> int:
    """A port on *host* that is free for UDP and, very likely, TCP."""
    port = reactor.listenUDP(0, DatagramProtocol(), interface=host)
    number: int = port.getHost().port
    await port.stopListening()
    return number


async def start_turnserver(case: TestCase, directory: str, host: str) -> tuple[Program, int]:
    """Start ``turnserver`` on *host*; it takes a moment until it answers.

    :returns: the program and its port, for UDP and TCP.
    """
    port = await free_port(host)
    arguments = ["-n", "-L", host, "--listening-port", str(port), "--relay-threads", "1"]
    arguments += ["--no-tls", "--no-dtls", "--no-cli", "--no-auth"]
    arguments += ["--log-file", "stdout", "--simple-log", "--pidfile", f"{directory}/pid"]
    arguments += ["--userdb", f"{directory}/userdb"]
    return spawn(case, "turnserver", arguments, directory), port


async def stunclient(case: TestCase, directory: str, host: str, port: int) -> str:
    """Run ``turnutils_stunclient`` against *host* and *port*; give what it has written."""
    program = spawn(case, "turnutils_stunclient", ["-p", str(port), host], directory)
    return (await program.ended).decode("utf-8", "replace")
