"""TLS of which each side ends its own direction, as TLS 1.3 means it: Twisted's ends both at once.

RFC 8446, section 6.1: ``close_notify`` says that its sender says no more; it may go on listening.
Before, with TLS 1.2, it had to be answered at once, and what was still to be said was lost.
"""

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.tls import BufferingTLSTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["HalfClosingTLS"]

_LEAST_VERSION = 0x0304
"""TLS 1.3 as its ``supported_versions`` has it (RFC 8446, section 4.2.1)."""


@implementer(IHalfCloseableProtocol)
class HalfClosingTLS(BufferingTLSTransport):
    """A TLS transport whose protocol, if it is half-closeable, is told of the peer's ``close_notify``.

    It may write on.  Its ``loseConnection`` sends our ``close_notify``, and reads on until the
    peer's has come.  An end without one is an error, as ever.
    """

    _peer_ended = False

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the wire; those behind a ``close_notify`` mean nothing (IProtocol)."""
        if not self._peer_ended:
            super().dataReceived(data)

    def readConnectionLost(self) -> None:
        """The peer has ended TCP's direction, too, or only that (IHalfCloseableProtocol)."""
        if not self._peer_ended:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def writeConnectionLost(self) -> None:
        """Nothing: we never end TCP's direction alone (IHalfCloseableProtocol)."""

    # Twisted has no public place where a close_notify shows.

    def _flushReceiveBIO(self) -> None:
        if self._peer_ended:
            return
        super()._flushReceiveBIO()
        if self._peer_ended:
            self._lostTLSConnection = False  # only our reading is over
            protocol = IHalfCloseableProtocol(self.wrappedProtocol)
            protocol.readConnectionLost()

    def _shutdownTLS(self) -> None:
        if not self._goes_on():
            super()._shutdownTLS()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is None and self._goes_on():
            self._peer_ended = self._lostTLSConnection = True  # the loop of _flushReceiveBIO ends
        else:
            super()._tlsShutdownFinished(reason)

    def _goes_on(self) -> bool:
        """Whether there is more to say when the peer has said all.

        What we close ourselves is ``disconnecting`` before anything is done about it.
        """
        connection = self._tlsConnection
        return (
            connection is not None
            and not self.disconnecting
            and connection.get_protocol_version() >= _LEAST_VERSION
            and IHalfCloseableProtocol.providedBy(self.wrappedProtocol)
        )
