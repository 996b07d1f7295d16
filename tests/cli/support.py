"""A mediator and an agent on loopback, and the command as a process of its own."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocolFactory, IReactorSocket
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.agent.service import AgentService
from wavesync.agent.settings import AgentSettings
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import MediatorSettings
from wavesync.signalling.urls import parse_mediators

__all__ = ["BLOB", "Command", "Site", "reactor", "save"]

reactor: Any = global_reactor
HOST = "127.0.0.1"
BLOB = bytes(range(256)) * 4096
"""What the service ``blob`` sends: 1 MiB."""


@implementer(IHalfCloseableProtocol)
class Shout(Protocol):
    """Answers in capitals, but only when the other side has said everything."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Listen."""
        self.heard += data

    def readConnectionLost(self) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(self.heard.upper())
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """It was heard."""


class Blob(Protocol):
    """Sends a file and closes."""

    def connectionMade(self) -> None:
        """Send it."""
        assert self.transport is not None
        self.transport.write(BLOB)
        self.transport.loseConnection()


class Page(Protocol):
    """Sends 100,000 bytes and closes."""

    def connectionMade(self) -> None:
        """Send them."""
        assert self.transport is not None
        self.transport.write(b"x" * 100_000)
        self.transport.loseConnection()


class Endless(Protocol):
    """Sends a line over and over, until it is stopped."""

    def connectionMade(self) -> None:
        """Be asked for more, line by line."""
        self.transport.registerProducer(self, False)  # type: ignore[union-attr]

    def resumeProducing(self) -> None:
        """Send more."""
        assert self.transport is not None
        self.transport.write(b"and so on\n" * 100)

    def stopProducing(self) -> None:
        """Enough."""


def save(credentials: Credentials, directory: Path, name: str) -> str:
    """Write credentials to a file and give its name."""
    path = directory / name
    credentials.save(path)
    return str(path)


class Site:
    """A mediator and an agent in this process, with a system of their own.

    :param directory: where credentials go.
    :ivar client: a file with a client's credentials.
    :ivar server: the server's name.
    """

    def __init__(
        self, directory: Path, services: dict[str, IProtocolFactory] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        settings = MediatorSettings(name=HOST, listen=(f"{HOST}:0",))
        self.mediator = MediatorService(settings, IReactorSocket(reactor))
        self.mediator.startService()
        self.url = f"{HOST}:{self.mediator.addresses[0][1]}"
        self.system = SystemCredentials.create((self.url,))
        self.server_credentials = self.system.add_server(now=time.time())
        self.target = self.server_credentials.target
        self.server = str(self.target)
        self.client_credentials = self.system.add_client("alice", now=time.time())
        self.client = save(self.client_credentials, directory, "client.pem")
        self.services: dict[str, IProtocolFactory] = {
            "echo": Factory.forProtocol(Echo),
            "shout": Factory.forProtocol(Shout),
            "blob": Factory.forProtocol(Blob),
            "page": Factory.forProtocol(Page),
            "endless": Factory.forProtocol(Endless),
            **(services or {}),
        }
        self.agent = AgentService(
            reactor,
            self.server_credentials,
            self.services,
            parse_mediators((self.url,)),
            settings=AgentSettings(allow_loopback=True, lan=False),
        )

    async def start(self) -> None:
        """Start the agent and wait until it can be found."""
        self.agent.startService()
        await self.agent.links[0].when_registered().addTimeout(20, reactor)

    async def stop(self) -> None:
        """Stop everything."""
        await self.agent.stopService()
        await self.mediator.stopService()
        await deferLater(reactor, 0)  # the agent's aborted connections are gone then

    def options(self) -> list[str]:
        """The options that every command against this site takes."""
        return ["--credentials", self.client, "--allow-loopback"]


class Command(ProcessProtocol):
    """The command ``wavesync`` as a process.

    :ivar ended: fires with exit status, output and complaints.
    """

    def __init__(
        self,
        *argv: str,
        stdin: bytes | int | None = b"",
        stdout: int | None = None,
        module: str = "from wavesync.cli.main import main; sys.exit(main())",
        cwd: Path | None = None,
    ) -> None:
        """Start it.

        :param stdin: bytes to write before closing it; a descriptor to hand over; ``None`` to
            leave it open.
        :param stdout: a descriptor to hand over.
        """
        self.output = b""
        self.complaints = b""
        self.ended: Deferred[tuple[int, bytes, str]] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[bytes]]] = []
        self._stdin = stdin
        command = [sys.executable, "-c", f"import sys; {module}", *argv]
        environment = {k: v for k, v in os.environ.items() if k != "WAVESYNC_DEBUG"}
        self.process = reactor.spawnProcess(
            self,
            sys.executable,
            command,
            environment,
            path=str(cwd) if cwd is not None else None,
            childFDs={
                0: stdin if isinstance(stdin, int) else "w",
                1: "r" if stdout is None else stdout,
                2: "r",
            },
        )
        if isinstance(stdin, bytes):
            self.process.write(stdin)
            self.process.closeStdin()

    def output_with(self, words: bytes) -> Deferred[bytes]:
        """Fires with the output so far once *words* are in it or in the complaints."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting.append((words, waiting))
        self._look()
        return waiting

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep what it says (ProcessProtocol)."""
        if childFD == 1:
            self.output += data
        else:
            self.complaints += data
        self._look()

    def _look(self) -> None:
        for words, waiting in list(self._waiting):
            if words in self.output or words in self.complaints:
                self._waiting.remove((words, waiting))
                waiting.callback(self.output)

    def processEnded(self, reason: Failure) -> None:
        """Tell (ProcessProtocol)."""
        waiting, self._waiting = self._waiting, []
        for _, each in waiting:
            each.errback(AssertionError(f"it ended: {self.complaints!r}"))
        status = getattr(reason.value, "exitCode", None)
        if status is None:
            status = -int(getattr(reason.value, "signal", None) or 0)
        self.ended.callback((status, self.output, self.complaints.decode()))

    def signal(self, name: str) -> None:
        """Send it a signal."""
        self.process.signalProcess(name)
