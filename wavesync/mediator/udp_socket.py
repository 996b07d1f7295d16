"""The socket of one of the mediator's UDP ports, on the reactor as a descriptor of our own.

Datagrams are taken many at a time where the system can do that, and plain Binding requests answered
so.  Twisted's own port would take each by itself, which costs more than answering it.
"""

import errno
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from wavesync.datagrams import WOULD_BLOCK, DatagramSocket
from wavesync.interfaces import Address
from wavesync.mediator.udp import MediatorDatagrams
from wavesync.stun.many import BATCH, SLOT, Batch, batches_work

__all__ = ["MANY", "MAX_BATCHES", "MAX_TURN", "PortSocket"]

MAX_BATCHES = 4
"""Batches of plain requests answered in one turn of the reactor: one takes half a millisecond."""

MAX_TURN = 64
"""Datagrams taken one by one in one turn, at up to half a millisecond each."""

MANY: Callable[[socket.socket], Batch] | None = Batch if batches_work() else None
"""What takes many datagrams at a time, if this platform has it."""

_AGAIN = (errno.EINTR, errno.ECONNREFUSED)


class PortSocket(DatagramSocket):
    """Reads one socket, and writes to it.

    :param reactor: where it is read.
    :param udp: bound; it is copied.
    :param port: gets what comes.
    :param batch: makes what takes many datagrams at a time; ``None`` to take each by itself.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        udp: socket.socket,
        port: MediatorDatagrams,
        batch: Callable[[socket.socket], Batch] | None = MANY,
    ) -> None:
        super().__init__(reactor, udp.dup(), "mediator", MAX_TURN)
        self._port = port
        self._batch = None if batch is None else batch(self.socket)
        port.wire = self

    @property
    def batched(self) -> bool:
        """Whether many are taken at a time."""
        return self._batch is not None

    def write(self, data: bytes, address: tuple[str | int, ...]) -> None:
        """Send one datagram.

        :raises OSError: the host cannot send it.
        """
        self.socket.sendto(data, address)

    def doRead(self) -> None:
        """Take what has come, then see to the timer (IReadDescriptor)."""
        if self._batch is None:
            super().doRead()
        else:
            self._take_batches(self._batch)
        self._port.turn()

    def _take_batches(self, batch: Batch) -> None:
        for _ in range(MAX_BATCHES):
            try:
                count = batch.receive()
            except OSError as error:
                self._batch = None
                self.log.warn("datagrams are taken one by one: {why}", why=error.strerror)
                super().doRead()
                return
            if count and not self._port.answered(batch, count):
                for index in range(count):
                    source, scope = batch.source(index)
                    self._port.received(batch.datagram(index), source, scope)
                return
            if count < BATCH:
                return

    def take(self) -> bool:
        """Take one datagram."""
        try:
            data, name = self.socket.recvfrom(SLOT)
        except OSError as error:
            if error.errno not in (*WOULD_BLOCK, *_AGAIN):
                self.log.debug("cannot receive: {why}", why=error.strerror)
            return error.errno in _AGAIN
        # The scope of a link-local address means something to this host only.
        source: Address = name[0].partition("%")[0], name[1]
        self._port.received(data, source, name[3] if len(name) > 3 else 0)
        return True

    def close(self) -> None:
        """Give the socket back.  Idempotent."""
        self._port.wire = None
        self._batch = None
        super().close()
