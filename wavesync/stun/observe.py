"""Asking a STUN server which address it sees us at, over UDP or TCP.

Thin shells around :class:`wavesync.stun.binding_request.BindingRequest`: they send, receive and
keep one timer.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol, Protocol
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.stun.attributes import TRANSACTION_ID_SIZE
from wavesync.stun.binding_request import BindingFailed, BindingRequest
from wavesync.stun.framing import StreamDecoder, StreamError
from wavesync.stun.message import Message
from wavesync.stun.transactions import DEFAULT_RTO, DEFAULT_TI

__all__ = ["observe_address"]


def observe_address(
    reactor: Any,
    server: Address,
    *,
    over_tcp: bool = False,
    interface: str = "",
    port: int = 0,
    rto: float = DEFAULT_RTO,
    timeout: float = DEFAULT_TI,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Deferred[Address]:
    """Ask *server* which address it sees us at.

    :param reactor: provides ``IReactorTime`` and ``IReactorUDP`` or ``IReactorTCP``.
    :param server: numeric host and port.
    :param over_tcp: ask over TCP rather than UDP.
    :param interface: the local address to ask from; any if empty.
    :param port: the local port to ask from; any if 0.
    :param rto: seconds to the first retransmission over UDP.
    :param timeout: seconds to wait over TCP, for the connection and the answer together.
    :param random: gives so many random bytes.
    :returns: fires with the address, or fails with :exc:`BindingFailed`, when the socket is closed.
        Cancelling it closes the socket.
    """
    try:
        request = BindingRequest(
            server,
            random(TRANSACTION_ID_SIZE),
            reactor.seconds(),
            stream=over_tcp,
            rto=rto,
            timeout=timeout,
        )
    except BindingFailed as error:
        failed: Deferred[Address] = Deferred()
        failed.errback(error)
        return failed
    if over_tcp:
        return _StreamObserver(reactor, request).begin(interface, port, timeout)
    return _DatagramObserver(reactor, request).begin(interface, port)


class _Observer(ABC):
    """Drives a :class:`BindingRequest`: sends, re-arms the timer, tells the outcome."""

    def __init__(self, reactor: Any, request: BindingRequest) -> None:
        self._reactor = reactor
        self._request = request
        self._timer: IDelayedCall | None = None
        self._over = False
        self._done: Deferred[Address] = Deferred(lambda _: self._finish())

    @abstractmethod
    def _send(self, data: bytes) -> None:
        """Send *data* to the server."""

    @abstractmethod
    def _close(self) -> Deferred[None] | None:
        """Close the socket; the result fires when it is closed."""

    def _turn(self) -> None:
        """After each stimulus: send what is due, and finish or wait."""
        if self._over:
            return
        now = self._reactor.seconds()
        self._request.timer(now)
        for data in self._request.datagrams(now):
            self._send(data)
        self._cancel_timer()
        deadline = self._request.deadline()
        if deadline is None:
            self._finish()
        else:
            self._timer = self._reactor.callLater(max(0.0, deadline - now), self._timer_came)

    def _timer_came(self) -> None:
        self._timer = None
        self._turn()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self) -> None:
        """Close the socket, then tell the outcome."""
        if self._over:
            return
        self._over = True
        self._cancel_timer()
        outcome = self._request.outcome  # closing may add one that is not worth telling
        maybeDeferred(self._close).addBoth(lambda _: self._tell(outcome))

    def _tell(self, outcome: Address | BindingFailed | None) -> None:
        if self._done.called:  # cancelled
            return
        if isinstance(outcome, BindingFailed):
            self._done.errback(outcome)
        elif outcome is not None:
            self._done.callback(outcome)


class _DatagramObserver(_Observer, DatagramProtocol):
    """Asks over UDP, from a socket connected to the server, so that refusals are heard."""

    transport: Any
    noisy = False

    def begin(self, interface: str, port: int) -> Deferred[Address]:
        """Open the socket and ask."""
        if not interface and ":" in self._request.server[0]:
            interface = "::"
        try:
            self._reactor.listenUDP(port, self, interface=interface)
        except CannotListenError:
            self._request.fail(f"cannot be asked from port {port}: it is taken.")
        else:
            try:
                self.transport.connect(*self._request.server)
            except OSError as error:
                self._request.fail(f"cannot be reached: {error.strerror}.")
        self._turn()
        return self._done

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Something came, perhaps the answer."""
        self._request.datagram_received(datagram, addr[:2], self._reactor.seconds())
        self._turn()

    def stopProtocol(self) -> None:
        """The socket is closed, by us or because nothing listens there.

        Twisted's epoll reactor closes a connected UDP socket on which an ICMP error has come.
        """
        self.connectionRefused()

    def connectionRefused(self) -> None:
        """The server's host says that nothing listens there."""
        self._request.fail("is not listening.")
        self._turn()

    def _send(self, data: bytes) -> None:
        try:
            self.transport.write(data)
        except OSError as error:
            self._request.fail(f"cannot be reached: {error.strerror}.")

    def _close(self) -> Deferred[None] | None:
        return None if self.transport is None else self.transport.stopListening()


class _StreamObserver(_Observer, Protocol):
    """Asks over TCP."""

    transport: Any

    def __init__(self, reactor: Any, request: BindingRequest) -> None:
        super().__init__(reactor, request)
        self._decoder = StreamDecoder()
        self._connecting: Deferred[Any]
        self._closed: Deferred[None] | None = None

    def begin(self, interface: str, port: int, timeout: float) -> Deferred[Address]:
        """Connect, and ask when connected."""
        host, server_port = self._request.server
        endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        local = (interface, port) if interface or port else None
        self._connecting = connectProtocol(
            endpoint(self._reactor, host, server_port, timeout=timeout, bindAddress=local), self
        )
        self._connecting.addErrback(self._not_connected)
        return self._done

    def _not_connected(self, failure: Failure) -> None:
        self._request.fail(f"cannot be reached: {failure.getErrorMessage()}")
        self._turn()

    def connectionMade(self) -> None:
        """Ask."""
        self._closed = Deferred()
        self._turn()

    def dataReceived(self, data: bytes) -> None:
        """Something came, perhaps the answer."""
        try:
            messages = self._decoder.feed(data)
        except StreamError as error:
            self._receive(error.messages)
            self._request.fail(f"does not speak STUN: {error}")
        else:
            self._receive(messages)
        self._turn()

    def _receive(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._request.message_received(message, self._request.server, self._reactor.seconds())

    def connectionLost(self, reason: object = None) -> None:
        """The connection is closed, by us or before the answer."""
        self._request.fail("closed the connection without an answer.")
        self._turn()
        assert self._closed is not None  # made when connected
        self._closed.callback(None)

    def _send(self, data: bytes) -> None:
        self.transport.write(data)

    def _close(self) -> Deferred[None] | None:
        if self._closed is None:
            self._connecting.cancel()
            return None
        self.transport.abortConnection()
        return self._closed
