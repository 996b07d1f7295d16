"""A client's tunnel being opened: connections, the answers to its requests, the hello that comes back."""

from collections.abc import Callable

import h11
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from wavesync.tunnel.after_head import AfterHead
from wavesync.tunnel.channel import Channel
from wavesync.tunnel.connection import Connection, address_of
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.heads import HeadError
from wavesync.tunnel.hello import HelloError, HelloReader, make_hello
from wavesync.tunnel.judging import explain, judge, silence
from wavesync.tunnel.place import Place
from wavesync.tunnel.transport import TunnelTransport
from wavesync.tunnel.wire import Role, Wire

__all__ = ["Answer", "Asking", "Begin", "ConnectionFactory", "Opening"]

Answer = h11.Response | h11.InformationalResponse
"""The head of an answer."""

Begin = Callable[[Wire], Role]
"""Gives the role of a connection that stands."""


class ClientConnection(Connection):
    """A connection that has a role from the beginning.

    :param begin: gives it, once the connection stands.
    """

    def __init__(self, clock: IReactorTime, begin: Begin) -> None:
        super().__init__(clock)
        self._begin = begin

    def connectionMade(self) -> None:
        """Begin (IProtocol)."""
        super().connectionMade()
        self.source = address_of(self._tcp)
        role = self._begin(self)
        if not self._silent:
            self.role = role


class ConnectionFactory(ClientFactory):
    """Makes connections that have a role from the beginning.

    :param begin: gives it, once the connection stands.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, begin: Begin) -> None:
        self._clock = clock
        self._begin = begin

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        """A protocol for one more connection."""
        return ClientConnection(self._clock, self._begin)


class Opening:
    """One tunnel being opened, and its end once it is open (:class:`~.channel.End`).

    :param timeout: seconds for all of it.
    :param random: gives that many unpredictable bytes.
    :ivar place: where to.
    :ivar tunnel: the tunnel's id.
    :ivar hello: what goes first up the tunnel, and has to come back.
    :ivar result: fires with the protocol, or fails with :class:`TunnelError`.
    :ivar stage: what is waited for, for people.
    """

    def __init__(
        self,
        clock: IReactorTime,
        place: Place,
        dial: IStreamClientEndpoint,
        factory: IProtocolFactory,
        timeout: float,
        random: Callable[[int], bytes],
    ) -> None:
        self.clock = clock
        self.place = place
        self.random = random
        self.tunnel = random(16).hex()
        self.hello = make_hello(random)
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._stop())
        self.stage = "connection"
        self._dial = dial
        self._factory = factory
        self._timeout = timeout
        self._reader: HelloReader | None = HelloReader(self.hello)
        self._channel: Channel | None = None
        self._wires: list[Wire] = []
        self._dialling: list[Deferred[IProtocol]] = []
        self._transport: TunnelTransport | None = None
        self._full = self._over = False
        self._limit = clock.callLater(timeout, self._timed_out)

    def connect(self, begin: Begin) -> None:
        """Make a connection.

        :param begin: gives its role once it stands.
        """

        def begun(wire: Wire) -> Role:
            self._wires.append(wire)
            if self._over:
                wire.abort()
            self.stage = "answer"
            return begin(wire)

        if self._over:
            return
        dialling = self._dial.connect(ConnectionFactory(self.clock, begun))
        self._dialling.append(dialling)
        dialling.addErrback(self._not_connected)

    def carry(self, channel: Channel) -> None:
        """The request was agreed to: be carried by this from now on."""
        self.stage = "byte through the tunnel"
        self._channel = channel

    def fail(self, error: TunnelError) -> None:
        """It has come to nothing."""
        if not self._over:
            self._stop()
            self.result.errback(error)

    def broke(self, reason: Failure) -> None:
        """A connection ended too early."""
        self.fail(explain(reason, self.place))

    # End.

    def received(self, data: bytes) -> None:
        """The hello, then what the protocol gets."""
        if self._transport is not None:
            self._transport.received(data)
        elif self._reader is not None and not self._over:
            try:
                hello = self._reader.feed(data)
            except HelloError:
                sentence = "something on the way changed the tunnel's first bytes"
                self.fail(TunnelError(sentence, Why.CHANGED))
                return
            if hello is not None:
                self._open(self._reader.rest)

    def full(self) -> None:
        """No more bytes are taken for now."""
        self._full = True
        if self._transport is not None:
            self._transport.full()

    def free(self) -> None:
        """Bytes are taken again."""
        self._full = False
        if self._transport is not None:
            self._transport.free()

    def lost(self, reason: Failure) -> None:
        """It is over."""
        if self._transport is not None:
            self._transport.lost(reason)
        else:
            self.broke(reason)

    # Inside.

    def _open(self, rest: bytes) -> None:
        assert self._channel is not None
        stream = self._wires[0].stream
        host, peer = stream.getHost(), stream.getPeer()
        try:
            protocol = self._factory.buildProtocol(peer)
        except Exception:
            self._stop()
            self.result.errback(Failure())
            return
        if protocol is None:
            self.fail(TunnelError("nobody wants the tunnel any more", Why.CLOSED))
            return
        self._over = True
        self._limit.cancel()
        self._reader = None
        transport = TunnelTransport(self._channel, self.clock, host, peer)
        self._transport = transport
        if self._full:
            transport.full()
        transport.attach(protocol)
        self.result.callback(protocol)
        transport.received(rest)

    def _not_connected(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None or not self._over:
            self.broke(failure)

    def _timed_out(self) -> None:
        self.fail(silence(self.stage, self._timeout, self.place))

    def _stop(self) -> None:
        """Close everything; the result is somebody else's."""
        self._over = True
        if self._limit.active():
            self._limit.cancel()
        for dialling in self._dialling:
            dialling.cancel()
        if self._channel is not None:
            self._channel.abort()
        for wire in self._wires:
            wire.abort()


class Asking(AfterHead):
    """A connection on which a request was sent: its answer, then what the answer makes of it.

    :param opening: what it is for.
    :param agreed: tells whether an answer agrees to the request.
    :param then: makes the role that the connection has from then on.
    """

    def __init__(
        self,
        opening: Opening,
        agreed: Callable[[Answer], bool],
        then: Callable[[], Role],
    ) -> None:
        super().__init__(h11.CLIENT)
        self._opening = opening
        self._agreed = agreed
        self._then = then

    def decide(self, head: Answer) -> Role | None:
        """The answer."""
        if self._agreed(head):
            return self._then()
        self._opening.fail(judge(head, self._opening.place))
        return None

    def malformed(self, error: HeadError) -> None:
        """It is no answer."""
        self._opening.broke(Failure(error))

    def ended(self, reason: Failure) -> None:
        """No answer has come."""
        self._opening.broke(reason)
