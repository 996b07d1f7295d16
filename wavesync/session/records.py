"""A TLS transport that seals and opens several records at a time.

Twisted's hands each record up and down by itself, so that everything above and below it runs once for
16 KiB; that takes longer than their encryption.
"""

from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from wavesync.session.openssl import FULL_RECORD, PlainOpener, make_opener, seal

__all__ = ["RecordTLS"]

_idle: list[PlainOpener] = []  # as many as transports that have fed each other, which is one mostly


class RecordTLS(TLSMemoryBIOProtocol):
    """Gives a protocol that has ``view_received(view: memoryview)`` what came that way.

    The view is good during that call only.  Any other protocol gets bytes by ``dataReceived``.
    """

    def _hand_on(self, view: memoryview) -> None:
        taken = getattr(self.wrappedProtocol, "view_received", None)
        if taken is not None:
            taken(view)
        else:
            self.wrappedProtocol.dataReceived(bytes(view))

    def _flushReceiveBIO(self) -> None:
        opener = _idle.pop() if _idle else make_opener(self._tlsConnection)
        try:
            while not self._lostTLSConnection and self._open(opener):
                pass
        finally:
            _idle.append(opener)
        connection = self._tlsConnection
        if connection is not None and opener.has_to_answer(connection):
            self._flushSendBIO()

    def _open(self, opener: PlainOpener) -> bool:
        """Hand on what came; returns whether there may be more."""
        more = closed = False
        fault: Failure | None = None
        try:
            more = opener.fill(self._tlsConnection)
        except SSL.ZeroReturnError:
            closed = True
        except SSL.Error:
            fault = Failure()
        if opener.size and not self._aborted:
            self._hand_on(opener.view[: opener.size])
        if (closed or fault is not None) and not self._lostTLSConnection:
            if closed:
                self._shutdownTLS()
            self._tlsShutdownFinished(fault)
        return more

    def _write(self, data: bytes) -> None:
        if len(data) <= FULL_RECORD:
            super()._write(data)
            return
        view = memoryview(data)
        while view and not self._lostTLSConnection:
            try:
                sealed, records = seal(self._tlsConnection, view)
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
                return
            view = view[sealed:]
            if not sealed:
                self._bufferedWrite(bytes(view))
                return
            self.transport.write(records)  # type: ignore[union-attr]
