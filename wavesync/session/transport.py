"""The transport an application's protocol gets: a service opened over a session."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from zope.interface import implementer

from wavesync.identity.verify import Peer
from wavesync.pulled import Pulled
from wavesync.session.errors import Refusal

if TYPE_CHECKING:
    from wavesync.session.shell import SessionShell

__all__ = ["SessionTransport"]


@implementer(ITransport, IConsumer, IPushProducer)
class SessionTransport:
    """A service's byte stream.

    Closing: :meth:`loseWriteConnection` ends our direction only.  A protocol that provides
    :class:`twisted.internet.interfaces.IHalfCloseableProtocol` is told of the peer's end; with any
    other the session is closed then.  ``connectionLost`` comes with ``ConnectionDone`` only after
    both ends were sent, received and acknowledged.

    :ivar disconnecting: :meth:`loseConnection` was called.
    """

    def __init__(self, shell: "SessionShell", clock: IReactorTime) -> None:
        self._shell = shell
        self._clock = clock
        self.disconnecting = False
        self._producer: IPushProducer | None = None

    @property
    def peer(self) -> Peer:
        """Whom we talk to, as its certificate says."""
        peer = self._shell.peer
        assert peer is not None  # there is no transport before authentication
        return peer

    @property
    def path_kind(self) -> str:
        """What carries the session: ``lan``, ``tcp``, ``udp``, ``relay``, or "" if nobody said."""
        return self._shell.path_kind

    def write(self, data: bytes) -> None:
        """Send bytes (ITransport)."""
        if not isinstance(data, bytes):
            raise TypeError("only bytes can be written")
        if not self.disconnecting or self._producer is not None:
            self._shell.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces of bytes (ITransport)."""
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """Tell the peer that no more bytes come; reading goes on."""
        self._shell.end()

    def loseConnection(self) -> None:
        """Close once everything written has been sent; waits for a registered producer to finish."""
        if not self.disconnecting:
            self.disconnecting = True
            if self._producer is None:
                self._shell.close()

    def abortConnection(self) -> None:
        """Close now; the peer is told that this was not an orderly end."""
        self._shell.abort()

    def break_off(self) -> None:
        """Close now; the peer is told that what stands behind this transport broke."""
        self._shell.abort("its own connection broke", Refusal.BROKEN)

    def getPeer(self) -> IAddress:
        """The path's other end (ITransport)."""
        return self._shell.path_peer()

    def getHost(self) -> IAddress:
        """The path's own end (ITransport)."""
        return self._shell.path_host()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Take a producer that is paused while the path takes no bytes (IConsumer)."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if self._shell.app_gone:
            producer.stopProducing()
            return
        if streaming:
            self._producer = cast(IPushProducer, producer)
        else:
            self._producer = Pulled(cast(IPullProducer, producer), self._clock)
        if self._shell.congested:
            self._producer.pauseProducing()
        elif not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer (IConsumer)."""
        producer, self._producer = self._producer, None
        if isinstance(producer, Pulled):
            producer.pauseProducing()
        if producer is not None and self.disconnecting:
            self._shell.close()

    def pauseProducing(self) -> None:
        """Deliver nothing until :meth:`resumeProducing`; the path is not read then."""
        self._shell.pause_app()

    def resumeProducing(self) -> None:
        """Deliver bytes again."""
        self._shell.resume_app()

    def stopProducing(self) -> None:
        """The consumer of our bytes went away (IPushProducer).

        That alone is no orderly end of anything: whoever owns the consumer has to close or abort
        this transport.  Until then nothing is delivered.
        """
        self.pauseProducing()

    # What the shell calls.

    def path_full(self) -> None:
        """The path takes no bytes now."""
        if self._producer is not None:
            self._producer.pauseProducing()

    def path_free(self) -> None:
        """The path takes bytes again."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def drop_producer(self) -> None:
        """Nobody takes what a producer gives any more."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
