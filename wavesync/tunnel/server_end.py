"""The server's end of one tunnel: the client's hello, then a protocol like that of a connection."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.tunnel.hello import HelloError, HelloReader
from wavesync.tunnel.transport import Carrier, TunnelTransport

if TYPE_CHECKING:
    from wavesync.tunnel.server import TunnelServer

__all__ = ["ServerEnd", "address"]


def address(source: Address) -> IPv4Address | IPv6Address:
    """Return a source as Twisted has the addresses of TCP connections."""
    host, port = source
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


class ServerEnd:
    """One tunnel (:class:`~.channel.End`).

    :param server: counts it.
    :param method: how it is carried.
    :param tunnel: its id.
    :param source: from where the client comes.
    :ivar source: from where it comes, as far as its protocol is told.
    :ivar charged: from where its first request came: that address's tunnels are counted.
    :ivar active: bytes have come since somebody last looked, and set this to False.
    """

    log = Logger()

    def __init__(self, server: "TunnelServer", method: str, tunnel: str, source: Address) -> None:
        self.method = method
        self.tunnel = tunnel
        self.source = source
        self.charged = source
        self.active = True
        self._server = server
        self._hello: HelloReader | None = HelloReader()
        self._carrier: Carrier | None = None
        self._give_up: Callable[[], None] | None = None
        self._host: IAddress | None = None
        self._transport: TunnelTransport | None = None
        self._full = False

    @property
    def open(self) -> bool:
        """Whether the hello has come."""
        return self._transport is not None

    def wait(self, give_up: Callable[[], None]) -> None:
        """Be carried by something that is not complete yet.

        :param give_up: closes what there is of it.
        """
        self._give_up = give_up

    def carry(self, carrier: Carrier, host: IAddress) -> None:
        """Be carried by this from now on.

        :param host: our own address.
        """
        self._carrier = carrier
        self._host = host

    def abort(self) -> None:
        """End at once."""
        self._hello = None
        if self._carrier is not None:
            self._carrier.abort()
        elif self._give_up is not None:
            self._give_up()
        self._server.over(self)

    # End.

    def received(self, data: bytes) -> None:
        """The hello, then what the protocol gets."""
        self.active = True
        if self._transport is not None:
            self._transport.received(data)
        elif self._hello is not None:
            try:
                hello = self._hello.feed(data)
            except HelloError:
                self._refuse("hello")
                return
            if hello is not None:
                rest, self._hello = self._hello.rest, None
                self._open(hello, rest)

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
        self._hello = None
        self._server.over(self)
        if self._transport is not None:
            self._transport.lost(reason)

    def _open(self, hello: bytes, rest: bytes) -> None:
        assert self._carrier is not None and self._host is not None
        peer = address(self.source)
        try:
            protocol = self._server.factory.buildProtocol(peer)
        except Exception:
            self.log.failure("no protocol for a tunnel")
            protocol = None
        if protocol is None:
            self._refuse("protocol")
            return
        transport = TunnelTransport(self._carrier, self._server.clock, self._host, peer)
        self._transport = transport
        if self._full:
            transport.full()
        self._server.opened(self)
        self._carrier.write(hello)
        transport.attach(protocol)
        transport.received(rest)

    def _refuse(self, reason: str) -> None:
        self._server.statistics.refused[reason] += 1
        self.abort()
