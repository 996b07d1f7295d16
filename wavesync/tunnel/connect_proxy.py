"""A TCP connection through an HTTP proxy that is asked to CONNECT (RFC 9110 section 9.3.6)."""

import re
from collections.abc import Iterable

import h11
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.heads import MAX_HEAD, MAX_INTERIM
from wavesync.tunnel.proxies import Proxy

__all__ = ["ConnectEndpoint"]

_SCHEME = re.compile(rb"\s*([A-Za-z][A-Za-z0-9-]{0,19})(?:\s|$|,)")
_PASSWORD = (401, 407)  # some confuse the two
_UNREACHABLE = (500, 502, 503, 504)  # proxies differ in what they say of unknown hosts
_BUSY = 429
_PORTAL = 511
_MAX_SCHEMES = 8


class _Reader:
    """Reads the answer to a CONNECT.

    :ivar rest: what was fed behind its head.
    """

    def __init__(self, authority: str) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        headers = [("Host", authority)]
        self._h11.send(h11.Request(method="CONNECT", target=authority, headers=headers))
        self._h11.send(h11.EndOfMessage())
        self._interim = 0
        self.rest = b""

    def feed(self, data: bytes) -> h11.Response | None:
        """Take more bytes; give the answer once its head is whole.

        :raises h11.RemoteProtocolError: it is none.
        """
        self._h11.receive_data(data)
        event = self._h11.next_event()
        while isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise h11.RemoteProtocolError("too many interim answers")
            event = self._h11.next_event()
        if not isinstance(event, h11.Response):
            return None
        self.rest, _ = self._h11.trailing_data
        return event


class _Asking(Protocol):
    """Asks the proxy, then hands everything on to the protocol that was wanted."""

    def __init__(self, proxy: Proxy, authority: str, factory: IProtocolFactory) -> None:
        self.done: Deferred[IProtocol] = Deferred(lambda _: self.give_up())
        self._proxy = proxy
        self._authority = authority
        self._factory = factory
        self._reader: _Reader | None = _Reader(authority)
        self._inner: IProtocol | None = None
        self._lost = False

    def connectionMade(self) -> None:
        """Ask (IProtocol)."""
        assert self.transport is not None
        lines = [f"CONNECT {self._authority} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in self._proxy.headers]
        self.transport.write("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        """The answer, then what comes from the other end (IProtocol)."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        reader = self._reader
        if reader is None:
            return
        try:
            answer = reader.feed(data)
        except h11.RemoteProtocolError:
            self._fail(
                TunnelError(
                    f"what answers at {self._proxy.authority} is no HTTP proxy", Why.NOT_HTTP
                )
            )
            return
        if answer is None:
            return
        if 200 <= answer.status_code < 300:
            self._stands(reader.rest)
        else:
            self._fail(_refused(self._proxy, self._authority, answer))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over (IProtocol)."""
        self._lost = True
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason)
        elif self._reader is not None:
            how = "closed" if reason.check(ConnectionDone) else "broke off"
            self._fail(
                TunnelError(
                    f"the proxy {self._proxy.authority} {how} the connection without an answer",
                    Why.CLOSED,
                )
            )

    def too_long(self) -> None:
        """No answer has come in time."""
        self._fail(
            TunnelError(
                f"the proxy {self._proxy.authority} does not answer whether it connects to"
                f" {self._authority}",
                Why.SILENT,
            )
        )

    def give_up(self) -> None:
        """End it before it stands."""
        self._reader = None
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def _stands(self, rest: bytes) -> None:
        assert self.transport is not None
        self._reader = None
        try:
            inner = self._factory.buildProtocol(self.transport.getPeer())
        except Exception:
            self.give_up()
            self.done.errback()
            return
        if inner is None:
            self.give_up()
            self.done.errback(TunnelError("the connection is not wanted any more", Why.CLOSED))
            return
        self._inner = inner
        inner.makeConnection(self.transport)
        self.done.callback(inner)
        if rest and self._inner is not None:
            self._inner.dataReceived(rest)

    def _fail(self, error: TunnelError) -> None:
        if self._reader is not None:
            self.give_up()
            self.done.errback(error)


@implementer(IStreamClientEndpoint)
class ConnectEndpoint:
    """Connects to a host through a proxy.

    :param dial: leads to the proxy.
    :param authority: the host and port that are asked for, IPv6 in brackets.
    :param timeout: seconds for the proxy's answer, from when the connection to it stands.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        proxy: Proxy,
        dial: IStreamClientEndpoint,
        authority: str,
        *,
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._dial = dial
        self._authority = authority
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint).

        :returns: fails with :class:`~wavesync.tunnel.errors.TunnelError` when the proxy does not do it,
            and as the endpoint to the proxy when that cannot be reached.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        asking = _Asking(self._proxy, self._authority, factory)
        askings = Factory.forProtocol(lambda: asking)
        askings.noisy = False
        await self._dial.connect(askings)
        timer = self._reactor.callLater(self._timeout, asking.too_long)
        try:
            return await asking.done
        finally:
            _stop(timer)


def _stop(timer: IDelayedCall) -> None:
    if timer.active():
        timer.cancel()


def _refused_password(
    proxy: Proxy, status: int, headers: Iterable[tuple[bytes, bytes]]
) -> TunnelError:
    """Say what a proxy wants to know (RFC 9110 section 11.7)."""
    offered = [value for name, value in headers if name.lower() == b"proxy-authenticate"]
    found = [match for value in offered[:_MAX_SCHEMES] if (match := _SCHEME.match(value))]
    schemes = list(dict.fromkeys(match[1].decode("ascii") for match in found))
    who = f"the proxy {proxy.authority}"
    if schemes and "basic" not in (scheme.lower() for scheme in schemes):
        sentence = (
            f"{who} wants a login by {' or '.join(schemes)}, which wavesync does not know ({status}); it"
            " knows Basic"
        )
    elif proxy.username:
        sentence = f"{who} does not accept the user name and the password ({status})"
    else:
        sentence = f"{who} wants a user name and a password ({status})"
    return TunnelError(sentence, Why.PROXY_PASSWORD, status=status)


def _refused(proxy: Proxy, authority: str, answer: h11.Response) -> TunnelError:
    """Say what a proxy's answer means."""
    status = answer.status_code
    who = f"the proxy {proxy.authority}"
    if status in _PASSWORD:
        return _refused_password(proxy, status, answer.headers)
    if status == _PORTAL or 300 <= status < 400:
        return TunnelError(
            f"{who} shows a page instead of connecting to {authority} ({status}): maybe one has to log in"
            " to this network with a browser",
            Why.PAGE,
            status=status,
        )
    if status in _UNREACHABLE:
        return TunnelError(
            f"{who} cannot connect to {authority} ({status}): it finds no such host, cannot reach it, or"
            " has no room",
            Why.UNREACHABLE,
            status=status,
        )
    if status == _BUSY:
        return TunnelError(f"{who} has no room now ({status})", Why.BUSY, status=status)
    return TunnelError(
        f"{who} refuses to connect to {authority} ({status})", Why.REFUSED, status=status
    )
