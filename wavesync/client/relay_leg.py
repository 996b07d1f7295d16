"""A connection to a relay, on which a client asks once, and which then is the path to the server."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed
from wavesync.signalling.relay_answers import AnswerReader, RelayAnswer
from wavesync.signalling.relay_heads import HeadError
from wavesync.tunnel.watch import blame

__all__ = ["RelayLeg"]


class RelayLeg(Protocol):
    """Connected, then asked, then a path.

    :ivar answered: an answer has come, whatever it says.
    :ivar waited_for: nobody has cancelled the wait for it.
    :ivar lost: nothing can be asked any more; whoever has not asked yet may learn of it so.
    :ivar on_lost: is told that the connection is gone before the path is.
    """

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()
        self.on_lost: Callable[[], None] = lambda: None
        self.answered, self.waited_for = False, True
        self._reader: AnswerReader | None = None
        self._answer: Deferred[RelayAnswer] | None = None
        self._path: IProtocol | None = None
        self._gone = False

    def connectionMade(self) -> None:
        """Small messages go at once (IProtocol)."""
        delay_less = getattr(self.transport, "setTcpNoDelay", None)
        if delay_less is not None:
            delay_less(True)

    def ask(self, request: bytes, factory: IProtocolFactory) -> Deferred[RelayAnswer]:
        """Send a request, and behind it whatever the path's protocol has to say at its beginning.

        :param factory: makes the path's protocol, which is connected at once.  When the answer is not
            101, its connection is closed.
        :returns: fires with the answer, whatever it is; fails with
            :class:`~wavesync.errors.ConnectFailed` when there is none.  Cancelling it ends the
            connection.
        """
        answer: Deferred[RelayAnswer] = Deferred(self._not_waited_for)
        if self._gone or self.transport is None:
            answer.errback(ConnectFailed("the relay closed the connection"))
            return answer
        self._reader, self._answer = AnswerReader(), answer
        self.transport.write(request)
        path = self._path = factory.buildProtocol(self.transport.getPeer())
        if path is None:
            self.abort()
        else:
            path.makeConnection(self.transport)
        return answer

    def _not_waited_for(self, _: object) -> None:
        self.waited_for = False
        self.abort()

    def abort(self) -> None:
        """End the connection now."""
        self._answer = None
        if self.transport is not None and not self._gone:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        """The answer, then what the server says (IProtocol)."""
        reader = self._reader
        if reader is None:
            if self._path is not None:
                self._path.dataReceived(data)
            else:
                self.abort()  # nobody was asked for anything
            return
        try:
            answer = reader.feed(data)
        except HeadError as error:
            blame(self.transport, f"something answered that is no relay: {error}")
            self._fail(f"no relay answers there: {error}")
            return
        if answer is None:
            return
        self._reader = None
        self.answered = True
        told, self._answer = self._answer, None
        if answer.status != 101:
            self.abort()
        elif self._path is not None and reader.rest:
            self._path.dataReceived(reader.rest)
        if told is not None:
            told.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The relay, or whoever is behind it, is gone (IProtocol)."""
        self._gone = True
        path, self._path = self._path, None
        self._fail("the relay closed the connection")
        self.on_lost()
        if path is not None:
            path.connectionLost(reason)
        self.lost.callback(None)

    def _fail(self, why: str) -> None:
        told, self._answer = self._answer, None
        self.abort()
        if told is not None:
            told.errback(ConnectFailed(why))
