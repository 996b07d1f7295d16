"""One connection to a relay: its socket, its first request, and then whatever role that gives it."""

from typing import TYPE_CHECKING, cast

import h11
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.relay.legs import bottom, plain, send_now
from wavesync.relay.pair import ILegTransport
from wavesync.relay.role import Role
from wavesync.relay.vitality import inherits, keep_alive
from wavesync.signalling.addresses import canonical
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_heads import HeadError, HeadReader
from wavesync.signalling.relay_quick import quick_request
from wavesync.signalling.relay_wire import RelayRequest, decode_request
from wavesync.tcp.plain import PlainConnection
from wavesync.tunnel.server import TunnelServer
from wavesync.tunnel.wire import Role as TunnelRole

if TYPE_CHECKING:
    from wavesync.relay.factory import RelayFactory

__all__ = ["READ_SIZE", "RelayProtocol"]

READ_SIZE = 16_384
"""Bytes read from a connection at a time, until it is joined."""

_INHERITS = inherits()
_NOWHERE: Address = ("", 0)


class RelayProtocol(Protocol):
    """A connection (:class:`wavesync.relay.role.Wire`).

    :param factory: what all connections share.
    :param tunnels: what takes requests for tunnels; None within one.
    :ivar source: from where it comes; known with its first bytes, since a proxy may tell.
    """

    log = Logger()

    def __init__(self, factory: "RelayFactory", tunnels: TunnelServer | None = None) -> None:
        self._factory = factory
        self._tunnels = tunnels
        self._asking = True  # its request has not come yet
        self._reader: HeadReader | None = None
        self._role: Role | None = None
        self._carried: TunnelRole | None = None
        self._silent = False  # nothing that comes is of interest any more
        self._open = self._handed_over = False
        self.source = _NOWHERE

    @property
    def _leg(self) -> ILegTransport:
        assert self.transport is not None
        return cast(ILegTransport, self.transport)

    @property
    def stream(self) -> ITransport:
        """The transport, for a join."""
        return self._leg

    # IProtocol.

    def connectionMade(self) -> None:
        """Count the connection in, or close it where there are too many."""
        if not self._factory.arrive(self):
            self.abort()
            return
        self._open = True
        leg = self.transport
        if isinstance(leg, PlainConnection) and _INHERITS:
            leg.bufferSize = READ_SIZE
            return
        beneath = bottom(self._leg)
        if hasattr(beneath, "bufferSize"):
            beneath.bufferSize = READ_SIZE
        if isinstance(beneath, PlainConnection) and _INHERITS:
            return
        delay_less = getattr(beneath, "setTcpNoDelay", None)
        if delay_less is not None:
            delay_less(True)
        keep_alive(beneath)

    def dataReceived(self, data: bytes) -> None:
        """The request; then the role's own."""
        if self._silent:
            return
        if self.source is _NOWHERE and not self._locate():
            return
        if self._role is not None:
            self._role.received(data)
        elif self._carried is not None:
            self._carried.received(data)
        elif self._asking:
            self._read(data)
        self._factory.turn()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count the connection out."""
        role, carried = self._role, self._carried
        self._silence()  # Twisted's TLS does not bear to be aborted once it is lost
        if role is not None:
            role.lost()
        if carried is not None:
            carried.lost(reason)
        self.gone()
        self._factory.turn()

    def _locate(self) -> bool:
        """Find out where it comes from; tell whether one more may come from there."""
        leg = self.transport
        if isinstance(leg, PlainConnection) and len(leg.name) == 2:  # IPv4, as the kernel writes it
            self.source = leg.name
            return self._allowed()
        peer = self._leg.getPeer()
        try:
            self.source = canonical((peer.host, peer.port))  # type: ignore[attr-defined]
        except (AttributeError, ValueError):
            self.log.warn("a connection from nowhere: {peer}", peer=peer)
            self.abort()
            return False
        return self._allowed()

    def _allowed(self) -> bool:
        if self._factory.locate(self, self.source[0]):
            return True
        self.abort()
        return False

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            quick = quick_request(data)
            if quick is not None:
                self._welcome(*quick)
                return
            self._reader = HeadReader(h11.SERVER)
        try:
            event = self._reader.feed(data)
            if not isinstance(event, h11.Request):
                return
            rest = self._reader.rest
            if self._tunnels is not None and self._tunnels.claims(_target(event)):
                self._carry(self._tunnels, event, rest)
                return
            request = decode_request(event)
        except HeadError as error:
            answer = RelayAnswer(error.status, sentence=f"{error}.")
            self._factory.house.refuse(self, answer, f"head-{error.status}")
            return
        self._welcome(request, rest)

    def _welcome(self, request: RelayRequest, rest: bytes) -> None:
        self._asked()
        role = self._factory.house.welcome(request, self, rest)
        if not self._silent:
            self._role = role

    def _asked(self) -> None:
        """Its request has come."""
        if self._asking:
            self._asking = False
            self._reader = None
            self._factory.heads.end(self)

    def _carry(self, tunnels: TunnelServer, event: h11.Request, rest: bytes) -> None:
        """Carry a tunnel, or a part of one: another connection comes out of it."""
        self._asked()
        self._factory.carries(self)
        carried = tunnels.welcome(event, self, rest)
        if not self._silent:
            self._carried = carried

    # Wire.

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._silent:
            leg = self.transport
            if isinstance(leg, PlainConnection):
                leg.write(data)
            else:
                send_now(self._leg, data)

    def finish(self, data: bytes) -> None:
        """Send, and close once it has left, or after a while anyway."""
        if self._silent:
            return
        self._silence()
        self._leg.write(data)
        self._leg.loseConnection()
        self._factory.close(self)

    def abort(self) -> None:
        """Close at once; does nothing to a connection that was handed over."""
        if not self._handed_over:
            self._silence()
            self._leg.abortConnection()

    def pause(self) -> None:
        """Read nothing more for now."""
        if not self._silent:
            self._leg.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if not self._silent:
            self._leg.resumeProducing()

    def hand_over(self) -> None:
        """The transport is joined with another."""
        leg = self.transport
        if not isinstance(leg, PlainConnection) and plain(self._leg) is None:
            self.pause()
        self._silence()
        self._handed_over = True

    def gone(self) -> None:
        """The connection is closed."""
        if self._open:
            self._open = False
            self._factory.depart(self, self.source[0])

    def _silence(self) -> None:
        self._silent = True
        self._role = self._carried = None
        self._asked()


def _target(event: h11.Request) -> str:
    return event.target.decode("ascii", "replace")
