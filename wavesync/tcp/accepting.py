"""Listeners on shared ports for the time of simultaneous opens."""

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.tcp.sockets import listening_socket

__all__ = ["MAX_ACCEPTS", "Accepting", "Listeners"]

MAX_ACCEPTS = 16
"""Connections taken from the kernel in one turn of the reactor."""


@implementer(IReadDescriptor)
class Accepting:
    """Takes connections.

    :param own: where to listen.
    :param on_accepted: called with each connected socket, which is the callee's from then on, and
        the peer's address.
    :raises OSError: nobody can listen there.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        own: Address,
        on_accepted: Callable[[socket.socket, Address], None],
    ) -> None:
        self._reactor = reactor
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
            accepted.setblocking(False)
            self._on_accepted(accepted, (address[0].partition("%")[0], address[1]))

    def doWrite(self) -> None:
        """What was to be told to an older socket of this number: it is no news here (IWriteDescriptor)."""

    def connectionLost(self, reason: Failure) -> None:
        """The reactor watches it no more (IFileDescriptor)."""
        self.close()


class Listeners:
    """One listener for each port, however many simultaneous opens go on there at a time.

    Several would not do: the kernel gives a connection to any of them, and one that is closed takes
    half-made connections of the others with it.

    :param on_other: called with a connected socket that no opening waits for (yet).
    """

    def __init__(self, reactor: IReactorFDSet, on_other: Callable[[socket.socket], None]) -> None:
        self._reactor = reactor
        self._on_other = on_other
        self._ports: dict[Address, _Port] = {}

    def __len__(self) -> int:
        """How many ports are listened on."""
        return len(self._ports)

    def add(
        self, own: Address, remote: Address, on_accepted: Callable[[socket.socket], None]
    ) -> Callable[[], None]:
        """Wait for *remote* at *own*.

        :param on_accepted: called with the connected socket, which is the callee's from then on.
        :returns: ends the waiting; to be called once.
        :raises OSError: nobody can listen there.
        """
        port = self._ports.get(own)
        if port is None:
            port = _Port(self._on_other)
            port.accepting = Accepting(self._reactor, own, port.accepted)
            self._ports[own] = port
        waiting = (remote, on_accepted)
        port.waiting.append(waiting)

        def remove() -> None:
            port.waiting.remove(waiting)
            if not port.waiting:
                del self._ports[own]
                assert port.accepting is not None
                port.accepting.close()

        return remove


class _Port:
    """One port that is listened on, and who waits there for whom."""

    def __init__(self, on_other: Callable[[socket.socket], None]) -> None:
        self.accepting: Accepting | None = None
        self.waiting: list[tuple[Address, Callable[[socket.socket], None]]] = []
        self._on_other = on_other

    def accepted(self, made: socket.socket, address: Address) -> None:
        """Give a connection to whom it is for."""
        for remote, on_accepted in self.waiting:
            if remote == address:
                on_accepted(made)
                return
        self._on_other(made)
