"""One small HTTP request to a router on the own network, on a connection of its own; no redirects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

import h11
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure

from wavesync.interfaces import IReactor
from wavesync.portmap.markup import MAX_SIZE
from wavesync.portmap.words import PortMapError, Reason

__all__ = ["MAX_HEAD", "TIMEOUT", "Fetch", "Page", "RouterHTTP"]

TIMEOUT = 5.0
"""Seconds for a whole exchange."""

MAX_HEAD = 8192
"""Bytes of an answer's head."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer.

    :ivar status: HTTP's.
    :ivar body: at most :data:`.markup.MAX_SIZE` bytes.
    """

    status: int
    body: bytes


class Fetch(Protocol):
    """What does such requests."""

    def __call__(
        self, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> Deferred[Page]:
        """Get a page, or with *body* post something.

        :param url: plain HTTP, with a numeric IPv4 address.
        :returns: fails with :class:`PortMapError`.
        """


class RouterHTTP:
    """Does them.

    :param own: this host's address on the router's network.
    """

    def __init__(self, reactor: IReactor, own: str) -> None:
        self._reactor = reactor
        self._own = own
        self._running: set[_Exchange] = set()

    def __call__(
        self, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> Deferred[Page]:
        """Do one."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        every = {"Host": f"{host}:{port}", "Connection": "close", **headers}
        if body is not None:
            every["Content-Length"] = str(len(body))
        request = h11.Request(
            method="GET" if body is None else "POST", target=target, headers=list(every.items())
        )
        exchange = _Exchange(self._reactor, request, body or b"")
        self._running.add(exchange)
        exchange.done.addBoth(self._over, exchange)
        endpoint = TCP4ClientEndpoint(
            self._reactor, host, port, timeout=TIMEOUT, bindAddress=(self._own, 0)
        )
        exchange.begin(endpoint.connect(Factory.forProtocol(lambda: exchange)))
        return exchange.done

    def close(self) -> None:
        """End all that are under way."""
        for exchange in list(self._running):
            exchange.fail(PortMapError(Reason.NO_ANSWER, "nobody waits for the answer any more"))

    def _over(self, result: Page | Failure, exchange: "_Exchange") -> Page | Failure:
        self._running.discard(exchange)
        return result


class _Exchange(StreamProtocol):
    """One request and its answer."""

    def __init__(self, clock: IReactorTime, request: h11.Request, body: bytes) -> None:
        self.done: Deferred[Page] = Deferred(lambda _: self._end())
        self._clock = clock
        self._request = request
        self._body = body
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._status = 0
        self._got = bytearray()
        self._timer: IDelayedCall | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._ended = False

    def begin(self, connecting: Deferred[IProtocol]) -> None:
        self._connecting = connecting
        self._timer = self._clock.callLater(TIMEOUT, self._timed_out)
        connecting.addCallbacks(self._connected, self._unreachable)

    def fail(self, error: PortMapError) -> None:
        if not self._ended:
            self._end()
            self.done.errback(error)

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self._ended:
            self._abort()
            return
        for event in (self._request, h11.Data(data=self._body), h11.EndOfMessage()):
            data = self._http.send(event)
            if data:
                self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if not self._ended:
            self._http.receive_data(data)
            self._read()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if not self._ended:
            try:
                self._http.receive_data(b"")
            except h11.RemoteProtocolError:
                self._nonsense()
                return
            self._read()
        if not self._ended:
            self._nonsense()

    def _read(self) -> None:
        while not self._ended:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._nonsense()
                return
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._got += event.data
                if len(self._got) > MAX_SIZE:
                    self._nonsense()
            elif isinstance(event, h11.EndOfMessage):
                self._end()
                self.done.callback(Page(self._status, bytes(self._got)))
            elif not isinstance(event, h11.InformationalResponse):
                return

    def _connected(self, result: object) -> None:
        self._connecting = None

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        why = failure.value
        word = why.__doc__ if isinstance(why, ConnectError) and why.__doc__ else "no connection"
        self.fail(PortMapError(Reason.NO_ANSWER, f"its web server cannot be reached: {word}"))

    def _timed_out(self) -> None:
        self._timer = None
        self.fail(PortMapError(Reason.NO_ANSWER, "its web server does not answer in time"))

    def _nonsense(self) -> None:
        self.fail(PortMapError(Reason.MALFORMED, "its web server does not speak proper HTTP"))

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()
