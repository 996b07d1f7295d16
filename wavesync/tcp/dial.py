"""One connect of one socket of ours, watched by the reactor."""

import errno
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.interfaces import Address
from wavesync.tcp.sockets import dying, ended_well, limit_syns, shared_socket

__all__ = ["Dial"]

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EAGAIN)


@implementer(IWriteDescriptor)
class Dial:
    """Connects *own* to *remote* once.

    :param own: see :func:`~wavesync.tcp.sockets.shared_socket`.
    :param on_connected: called with the connected socket, which is the callee's from then on.
    :param hops: how far the first SYN gets; all the way when None.
    :param on_failed: called with the error's number instead, maybe before :meth:`start` returns.
    :ivar remote: as given.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        own: Address,
        remote: Address,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[int], None],
        *,
        hops: int | None = None,
    ) -> None:
        self._reactor = reactor
        self._own = own
        self.remote = remote
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._hops = hops
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Send the SYN."""
        try:
            made = self._socket = shared_socket(self._own)
            limit_syns(made)
            if self._hops is None:
                error = made.connect_ex(self.remote)
            else:
                # What follows, an answer to the peer's SYN for instance, goes all the way.
                with dying(made, self._hops):
                    error = made.connect_ex(self.remote)
        except OSError as failed:
            self._fail(failed.errno or errno.EINVAL)
            return
        if error in _UNDER_WAY:
            self._reactor.addWriter(self)
        else:
            self._fail(error)

    def cancel(self) -> None:
        """Give up; nothing is called any more.  Idempotent."""
        made = self._take()
        if made is not None:
            made.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 when there is none (IFileDescriptor)."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log (ILoggingContext)."""
        return "wavesync dial"

    def doWrite(self) -> None:
        """The connect has ended, well or not (IWriteDescriptor)."""
        if self._socket is not None:
            error = ended_well(self._socket)
            if error:
                self._fail(error)
            else:
                self._succeed()

    def connectionLost(self, reason: Failure) -> None:
        """The connect has failed (IFileDescriptor); reactors differ in how they tell."""
        if self._socket is not None:
            self._fail(ended_well(self._socket) or errno.ECONNRESET)

    def _succeed(self) -> None:
        made = self._take()
        assert made is not None
        self._on_connected(made)

    def _fail(self, error: int) -> None:
        self.cancel()
        self._on_failed(error)

    def _take(self) -> socket.socket | None:
        """Watch it no more."""
        made = self._socket
        if made is not None:
            self._reactor.removeWriter(self)
            self._socket = None
        return made
