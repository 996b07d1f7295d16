"""Strangers with UDP sockets of their own, good clients' protocols, and what an operator reads."""

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address

__all__ = ["PAYLOAD", "EchoCheck", "LogLines", "Once", "Stranger", "host_of"]

PAYLOAD = bytes(range(256)) * 64
"""What a good client has echoed."""


def host_of(number: int) -> str:
    """An address of a stranger on this host: each of a thousand and more has its own."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


@implementer(ILogObserver)
class LogLines:
    """Keeps the lines that an operator would see, but for those of good connects and of the tests."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Take an event (ILogObserver)."""
        tests = str(event.get("log_namespace")).startswith("tests.")
        if event["log_level"] >= LogLevel.info and not tests:
            line = formatEvent(event)
            if ": ok, path " not in line:
                self.lines.append(line)

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)


class Stranger:
    """A UDP socket of somebody unknown, at a loopback address of its own.

    :ivar sent: bytes sent.
    :ivar answered: bytes that came back.
    :ivar longest: bytes of the longest datagram that came back.
    """

    def __init__(self, host: str = "127.0.0.2") -> None:
        self.sent = self.answered = self.longest = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))

    @property
    def address(self) -> Address:
        """Where it is."""
        address: Address = self._socket.getsockname()
        return address

    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        try:
            self._socket.sendto(data, to)
        except BlockingIOError:
            return
        self.sent += len(data)

    def take(self) -> list[bytes]:
        """Take what has come."""
        new = []
        while True:
            try:
                new.append(self._socket.recv(65536))
            except (BlockingIOError, ConnectionRefusedError):
                break
        self.answered += sum(map(len, new))
        self.longest = max([self.longest, *map(len, new)])
        return new

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class EchoCheck(Protocol):
    """Has a payload echoed."""

    transport: Any

    def __init__(self) -> None:
        self.over: Deferred[bytes] = Deferred()
        self._got = b""

    def connectionMade(self) -> None:
        """Send it."""
        self.transport.write(PAYLOAD)

    def dataReceived(self, data: bytes) -> None:
        """Take it back."""
        self._got += data
        if len(self._got) >= len(PAYLOAD):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.over.callback(self._got)


class Once(ClientFactory):
    """Makes one connection for a protocol, which is told of its end even if it never stood."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Give the protocol."""
        return self._protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """It was closed before it stood."""
        self._protocol.connectionLost(reason)
