"""A UDP socket on the reactor: what is alike whatever is sent and received."""

import errno
import socket
from abc import ABC, abstractmethod

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["WOULD_BLOCK", "DatagramSocket"]

WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
"""What reading fails with when nothing is there."""


@implementer(IReadDescriptor)
class DatagramSocket(ABC):
    """The socket; a subclass reads from it in :meth:`take`.

    :param reactor: watches it.
    :param sock: set up; taken over.
    :param prefix: how log lines about it begin.
    :param most: datagrams taken in one turn of the reactor.
    """

    def __init__(self, reactor: IReactorFDSet, sock: socket.socket, prefix: str, most: int) -> None:
        self.socket = sock
        self.closed = False
        self._reactor = reactor
        self._prefix = prefix
        self._most = most
        sock.setblocking(False)
        reactor.addReader(self)

    @abstractmethod
    def take(self) -> bool:
        """Read one datagram; tells whether there may be another."""

    def close(self) -> None:
        """Close it; nothing is received any more.  Idempotent."""
        if not self.closed:
            self.closed = True
            self._reactor.removeReader(self)
            self.socket.close()

    def fileno(self) -> int:
        """For the reactor."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor."""
        return self._prefix

    def doRead(self) -> None:
        """Take what has come, but no more than is fair."""
        for _ in range(self._most):
            if self.closed or not self.take():
                return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave it up: that is how it takes an error on a socket."""
        self.close()
