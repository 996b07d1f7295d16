"""What a session tells its application's protocol: in order, held while that is paused, once lost."""

from collections import deque
from collections.abc import Callable

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.python.failure import Failure

from wavesync.session.events import DataReceived, EndReceived, Finished, Lost
from wavesync.session.transport import SessionTransport

__all__ = ["Delivery"]


class Delivery:
    """The application's side of a session shell.

    :param error_for: makes what the application is told when the session did not end in order.
    :ivar app: its protocol, once there is one.
    :ivar transport: that protocol's transport.
    :ivar stream: what is to be told and was not yet.
    :ivar paused: the application takes nothing for a while.
    :ivar aborted: it has given up, and is to be told the end.
    :ivar gone: it has had its ``connectionLost``.
    """

    __slots__ = ("_error_for", "aborted", "app", "gone", "paused", "stream", "transport")

    def __init__(self, error_for: Callable[[Lost], BaseException]) -> None:
        self._error_for = error_for
        self.app: IProtocol | None = None
        self.transport: SessionTransport | None = None
        self.stream: deque[DataReceived | EndReceived | Finished | Lost] = deque()
        self.paused = False
        self.aborted = False
        self.gone = False

    def attach(self, app: IProtocol, transport: SessionTransport) -> None:
        """Connect the application's protocol."""
        assert self.app is None
        self.app = app
        self.transport = transport
        app.makeConnection(transport)

    def put(self, event: DataReceived | EndReceived | Finished | Lost) -> None:
        """Something is to be told; before a loss nothing else is."""
        if isinstance(event, Lost):
            self.stream.clear()
        self.stream.append(event)

    @property
    def ready(self) -> bool:
        """Whether there is something that can be told now."""
        if self.gone or self.app is None:
            return False
        if self.aborted:
            return True
        if not self.stream:
            return False
        return not self.paused or isinstance(self.stream[0], Lost)

    def tell(self) -> None:
        """Tell the application the next thing."""
        app, transport = self.app, self.transport
        assert app is not None and transport is not None
        if self.aborted:
            self.lose(Failure(ConnectionAborted()))
            return
        match self.stream.popleft():
            case DataReceived(data):
                app.dataReceived(data)
            case EndReceived():
                halves = IHalfCloseableProtocol(app, None)
                if halves is not None:
                    halves.readConnectionLost()
                else:
                    transport.drop_producer()
                    transport.loseConnection()
            case Finished():
                self.lose(Failure(ConnectionDone()))
            case Lost() as lost:
                self.lose(Failure(self._error_for(lost)))

    def end_acknowledged(self) -> None:
        """The peer has everything that the application wrote."""
        if self.transport is not None and not self.transport.disconnecting:
            halves = IHalfCloseableProtocol(self.app, None)
            if halves is not None:
                halves.writeConnectionLost()

    def lose(self, reason: Failure) -> None:
        """Tell the application the end, unless it knows."""
        if self.gone:
            return
        self.gone = True
        self.aborted = False
        self.stream.clear()
        if self.app is not None:
            self.app.connectionLost(reason)
        if self.transport is not None:
            self.transport.drop_producer()

    def abort(self) -> None:
        """The application has given up."""
        self.stream.clear()
        if not self.gone:
            self.aborted = True

    def drop_held(self) -> None:
        """The application has closed: it gets no more bytes."""
        kept = [event for event in self.stream if isinstance(event, Finished | Lost)]
        self.stream.clear()
        self.stream.extend(kept)
        self.paused = False
