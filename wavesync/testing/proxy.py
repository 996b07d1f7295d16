"""An HTTP proxy of the strictest kind: it holds every body until that is whole, and tunnels nothing.

What Squid and its like may be set up to be.  For tests and for ``wavesync demo``; it keeps no cache.
"""

from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address, IReactor

__all__ = ["MAX_BODY", "BufferingProxy"]

MAX_BODY = 1 << 20
"""Bytes of the longest body, either way: whoever says that there will be more is refused."""

_DIAL_TIMEOUT = 5.0
_BETWEEN_HOPS = {
    b"connection",
    b"keep-alive",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"upgrade",
}
_VIA = (b"Via", b"1.1 wavesync-testing")


class _Refused(Exception):
    """The text is a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Whole:
    """A message, its body whole."""

    def __init__(self, head: h11.Request | h11.Response) -> None:
        self.head = head
        self.body = bytearray()
        length = dict(head.headers).get(b"content-length", b"0")
        if int(length) > MAX_BODY:
            raise _Refused(413, "the body is too long.")

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.body += data
        if len(self.body) > MAX_BODY:
            raise _Refused(413, "the body is too long.")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that go on to the next hop."""
        dropped = _BETWEEN_HOPS | {b"transfer-encoding", b"content-length"}
        kept = [(name, value) for name, value in self.head.headers if name not in dropped]
        return [*kept, (b"Content-Length", str(len(self.body)).encode()), _VIA]


class _Upstream(Protocol):
    """A connection to a server: one request at a time."""

    def __init__(self) -> None:
        self.gone = False
        self._h11 = h11.Connection(h11.CLIENT)
        self._whole: _Whole | None = None
        self._answer: Deferred[_Whole] | None = None

    def ask(self, request: _Whole, target: bytes) -> Deferred[_Whole]:
        """Send a request; fires with its answer."""
        answer = self._answer = Deferred(lambda _: self.close())
        assert self.transport is not None and isinstance(request.head, h11.Request)
        head = h11.Request(method=request.head.method, target=target, headers=request.headers())
        pieces = [self._h11.send(head), self._h11.send(h11.Data(data=bytes(request.body)))]
        pieces.append(self._h11.send(h11.EndOfMessage()))
        self.transport.write(b"".join(piece for piece in pieces if piece))
        return answer

    def dataReceived(self, data: bytes) -> None:
        """A part of the answer (IProtocol)."""
        self._h11.receive_data(data)
        try:
            self._read()
        except (h11.RemoteProtocolError, _Refused) as error:
            self.close()
            self._fail(Failure(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over (IProtocol)."""
        self.gone = True
        self._fail(reason)

    def close(self) -> None:
        """End it."""
        self.gone = True
        if self.transport is not None:
            self.transport.loseConnection()

    def _read(self) -> None:
        while True:
            match self._h11.next_event():
                case h11.Response() as head:
                    self._whole = _Whole(head)
                case h11.Data(data=data) if self._whole is not None:
                    self._whole.add(bytes(data))
                case h11.EndOfMessage():
                    self._done()
                    return
                case h11.InformationalResponse():
                    pass
                case _:
                    return

    def _done(self) -> None:
        answer, self._answer = self._answer, None
        whole, self._whole = self._whole, None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self.close()
        if answer is not None and whole is not None:
            answer.callback(whole)

    def _fail(self, reason: Failure) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.called:
            answer.errback(reason)


class _Downstream(Protocol):
    """A connection of a client: its requests, one after the other."""

    def __init__(self, proxy: "BufferingProxy") -> None:
        self._proxy = proxy
        self._h11 = h11.Connection(h11.SERVER)
        self._whole: _Whole | None = None
        self._passing: Deferred[None] | None = None
        self._upstream: tuple[Address, _Upstream] | None = None
        self._gone = False

    def connectionMade(self) -> None:
        """Have answers leave at once (IProtocol)."""
        self._proxy.connections.add(self)
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """A part of a request (IProtocol)."""
        self._h11.receive_data(data)
        self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone (IProtocol)."""
        self._gone = True
        if self._passing is not None:
            self._passing.cancel()
        if self._upstream is not None:
            self._upstream[1].close()
        self._proxy.lost(self)

    def _read(self) -> None:
        while self._passing is None and not self._gone:
            try:
                event = self._h11.next_event()
                match event:
                    case h11.Request():
                        self._whole = self._begin(event)
                    case h11.Data(data=data) if self._whole is not None:
                        self._whole.add(bytes(data))
                    case h11.EndOfMessage() if self._whole is not None:
                        whole, self._whole = self._whole, None
                        self._passing = Deferred.fromCoroutine(self._pass(whole))
                        self._passing.addErrback(self._failed)
                    case _:
                        return
            except _Refused as refused:
                self._refuse(refused.status, str(refused))
                return
            except h11.RemoteProtocolError:
                self._refuse(400, "this is no HTTP.")
                return

    def _begin(self, request: h11.Request) -> _Whole:
        self._proxy.requests[request.method.decode()] += 1
        if request.method not in (b"GET", b"POST"):
            raise _Refused(403, f"{request.method.decode()} is not allowed here.")
        if not request.target.startswith(b"http://"):
            raise _Refused(400, "this is a proxy.")
        return _Whole(request)

    async def _pass(self, request: _Whole) -> None:
        """Pass a request on, and its answer back."""
        assert isinstance(request.head, h11.Request)
        url = urlsplit(request.head.target.decode("ascii"))
        where = self._proxy.routes.get((url.hostname or "", url.port or 80))
        place = (url.hostname or "", url.port or 80) if where is None else where
        target = url._replace(scheme="", netloc="").geturl().encode("ascii") or b"/"
        upstream = await self._connected(place)
        answer = await upstream.ask(request, target)
        self._proxy.passed[url.path] += 1
        self._answer(answer)

    async def _connected(self, place: Address) -> _Upstream:
        if self._upstream is not None and self._upstream[0] == place and not self._upstream[1].gone:
            return self._upstream[1]
        endpoint = HostnameEndpoint(self._proxy.reactor, *place, timeout=_DIAL_TIMEOUT)
        factory = Factory.forProtocol(_Upstream)
        factory.noisy = False
        made: IProtocol = await endpoint.connect(factory)
        assert isinstance(made, _Upstream)
        made.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self._upstream = place, made
        return made

    def _answer(self, answer: _Whole) -> None:
        assert isinstance(answer.head, h11.Response)
        self._passing = None
        self._send(answer.head.status_code, answer.headers(), bytes(answer.body))
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._read()
        else:
            self.transport.loseConnection()  # type: ignore[union-attr]

    def _failed(self, failure: Failure) -> None:
        self._passing = None
        if self._gone or failure.check(CancelledError):
            return
        status = failure.value.status if isinstance(failure.value, _Refused) else 502
        self._refuse(status, "there is no answer.")

    def _refuse(self, status: int, sentence: str) -> None:
        body = f"<html><body><h1>{sentence}</h1></body></html>\n".encode()
        headers = [
            (b"Content-Type", b"text/html"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
            _VIA,
        ]
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(status, headers, body)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _send(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        pieces = [
            self._h11.send(h11.Response(status_code=status, headers=headers)),
            self._h11.send(h11.Data(data=body)),
            self._h11.send(h11.EndOfMessage()),
        ]
        self.transport.write(b"".join(piece for piece in pieces if piece))  # type: ignore[union-attr]


class BufferingProxy(ServerFactory):
    """The proxy; it listens once it was made.

    :param host: where to listen.
    :param routes: what is really behind a host and port that requests name.
    :param port: the port to listen at; any free one when 0.
    :ivar address: where it listens.
    :ivar requests: how many came, by verb.
    :ivar passed: how many were answered by a server, by path.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        host: str,
        routes: Mapping[Address, Address] | None = None,
        *,
        port: int = 0,
    ) -> None:
        self.reactor = reactor
        self.routes = {} if routes is None else dict(routes)
        self.requests: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.connections: set[Protocol] = set()
        self._empty: list[Deferred[None]] = []
        self._port: IListeningPort = reactor.listenTCP(port, self, interface=host)
        where = self._port.getHost()
        self.address: Address = host, int(where.port)  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """How it is named in settings."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Serve one more client (IProtocolFactory)."""
        return _Downstream(self)

    def lost(self, connection: Protocol) -> None:
        """A client is gone."""
        self.connections.discard(connection)
        if not self.connections:
            empty, self._empty = self._empty, []
            for each in empty:
                each.callback(None)

    async def close(self) -> None:
        """Listen no more, and close all connections."""
        stopped = self._port.stopListening()
        if isinstance(stopped, Deferred):
            await stopped
        for connection in list(self.connections):
            connection.transport.abortConnection()  # type: ignore[union-attr]
        if self.connections:
            empty: Deferred[None] = Deferred()
            self._empty.append(empty)
            await empty
