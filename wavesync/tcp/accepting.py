"""A listener on a shared port for the time of one simultaneous open."""

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.tcp.sockets import listening_socket

__all__ = ["MAX_ACCEPTS", "Accepting"]

MAX_ACCEPTS = 16
"""Connections taken from the kernel in one turn of the reactor."""


@implementer(IReadDescriptor)
class Accepting:
    """Takes the connections of those who are expected, closes all others.

    :param own: where to listen.
    :param expected: tells from its address whether a peer may come in.
    :param on_accepted: called with each connected socket, which is the callee's from then on.
    :raises OSError: nobody can listen there.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        own: Address,
        expected: Callable[[Address], bool],
        on_accepted: Callable[[socket.socket], None],
    ) -> None:
        self._reactor = reactor
        self._expected = expected
        self._on_accepted = on_accepted
        self._socket: socket.socket | None = listening_socket(own)
        reactor.addReader(self)

    def close(self) -> None:
        """Listen no more.  Idempotent."""
        made, self._socket = self._socket, None
        if made is not None:
            self._reactor.removeReader(self)
            made.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 when there is none (IFileDescriptor)."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log (ILoggingContext)."""
        return "wavesync accepting"

    def doRead(self) -> None:
        """Somebody connects (IReadDescriptor)."""
        for _ in range(MAX_ACCEPTS):
            if self._socket is None:
                return
            try:
                accepted, address = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue  # gone again
            except OSError:
                # No descriptor is left, for instance: the dialling goes on without a listener.
                self.close()
                return
            if self._expected((address[0].partition("%")[0], address[1])):
                accepted.setblocking(False)
                self._on_accepted(accepted)
            else:
                accepted.close()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor watches it no more (IFileDescriptor)."""
        self.close()
