"""TLS over a path as sessions need it: every write seals a record at once, and tickets wait.

Twisted's own transport gathers small writes until the next turn of the reactor, which here would be a
second gathering: a session's frames come together in its :class:`Outbox`, which knows when a turn ends.
"""

import functools
from collections.abc import Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementedBy
from zope.interface.declarations import Provides

from wavesync.session.openssl import FULL_RECORD
from wavesync.session.records import RecordTLS

__all__ = ["FULL_RECORD", "WORTH_A_RECORD", "ClientTLSFactory", "Outbox", "ServerTLSFactory"]

WORTH_A_RECORD = 512
"""Bytes that are sealed at once: a record adds 22 to them."""


class Outbox:
    """What a session is about to write; small pieces that come in one turn become one record.

    :param clock: for the next turn of the reactor.
    """

    __slots__ = ("_clock", "_held", "_next", "_pieces", "_writing", "transport")

    def __init__(self, clock: IReactorTime) -> None:
        self.transport: TLSMemoryBIOProtocol | None = None
        """Where it goes; nothing goes anywhere without one."""
        self._clock = clock
        self._pieces: list[bytes | memoryview] = []
        self._held = 0
        self._next: IDelayedCall | None = None
        self._writing = False

    def put(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write what fills records, and hold the rest until :meth:`settle` or :meth:`flush`."""
        for piece in pieces:
            self._pieces.append(piece)
            self._held += len(piece)
            if self._held >= FULL_RECORD:
                self._write(self._held % FULL_RECORD)

    def settle(self) -> None:
        """Write what is worth a record; the rest waits for what else comes in this turn."""
        if self._held >= WORTH_A_RECORD:
            self.flush()
        elif self._held and self._next is None:
            self._next = self._clock.callLater(0, self._due)

    def flush(self) -> None:
        """Write all now."""
        following, self._next = self._next, None
        if following is not None:
            following.cancel()
        if self._held:
            self._write(0)

    def _write(self, rest: int) -> None:
        """Write all but so many bytes at the end."""
        if self._writing:  # whom this pauses has more to say: that comes behind
            return
        data: bytes | memoryview = b"".join(self._pieces)
        if rest:
            data = memoryview(data)
            self._pieces = [bytes(data[-rest:])]
            data = data[:-rest]
        else:
            self._pieces = []
        self._held = rest
        if data and self.transport is not None:
            self._writing = True
            try:
                self.transport.write(data)
            finally:
                self._writing = False
            if self._held > rest:
                self.settle()

    def drop(self) -> None:
        """Write nothing any more."""
        self.transport = None
        self.flush()

    def _due(self) -> None:
        self._next = None
        self.flush()


@functools.cache
def _declarations(kind: type, below: type) -> list[object]:
    """All that Twisted declares of a TLS transport over transports of a class.

    zope.interface works each of them out again unless somebody keeps it.
    """
    provided = implementedBy(below)
    return [Provides(kind, each) for each in (*provided, provided)]


class _TLS(RecordTLS):
    """Knows what it provides."""

    def makeConnection(self, transport: ITransport) -> None:
        """Begin (IProtocol)."""
        _declarations(type(self), type(transport))  # type: ignore[arg-type]
        super().makeConnection(transport)


class _ServerTLS(_TLS):
    """Sends nothing after its handshake before the session has something to say.

    What OpenSSL would send are tickets that nobody needs (:mod:`wavesync.session.tls`); by themselves
    they would cost a packet, and its acknowledgement.
    """

    _silent = True

    def write(self, data: bytes) -> None:
        """Send the session's bytes, behind the tickets."""
        self._silent = False
        super().write(data)

    def _flushSendBIO(self) -> None:
        # Alerts have to leave: they come with the end of either the session or TLS.
        if (
            self._silent
            and self._handshakeDone
            and not self._lostTLSConnection
            and not self.disconnecting
        ):
            return
        super()._flushSendBIO()


class ClientTLSFactory(TLSMemoryBIOFactory):
    """Makes a client's TLS transports."""

    protocol = _TLS


class ServerTLSFactory(TLSMemoryBIOFactory):
    """Makes a server's TLS transports."""

    protocol = _ServerTLS
