"""The join of two plain TCP legs: their sockets, watched by us in place of their transports."""

import socket
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.relay.flow import Flow
from wavesync.relay.legs import release
from wavesync.relay.pair import CLIENT_BROKE, DONE, SERVER_BROKE, IPair
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.shaping import Shaper
from wavesync.relay.vitality import socket_seems_dead
from wavesync.tcp.plain import RESET
from wavesync.watch import READS, WRITES, Watch

__all__ = ["Side", "SocketPair"]


class Side:
    """One leg.

    :ivar socket: its socket.
    :ivar fd: the descriptor of that.
    :ivar broke: the word for the pair's end when this side breaks.
    """

    __slots__ = ("_events", "_pair", "broke", "fd", "inward", "outward", "socket")

    inward: Flow
    outward: Flow

    def __init__(self, pair: "SocketPair", broke: str) -> None:
        self.broke = broke
        self._pair = pair

    def take(self, leg: ITransport) -> bytes:
        """Take over a transport's socket.

        :return: what is to be sent first.
        """
        self.socket, unsent, self._events = release(leg, self)
        self.fd = self.socket.fileno()
        return unsent

    @property
    def reads(self) -> bool:
        """Whether its bytes are wanted now."""
        return bool(self._events & READS)

    def want(self, events: int) -> None:
        """Be told of these events, and no others."""
        if events != self._events:
            before, self._events = self._events, events
            self._pair.watch.change(self.fd, self, before, events)

    def read_on(self) -> None:
        """Be told when there is something to read."""
        self.want(self._events | READS)

    def read_off(self) -> None:
        """Read nothing for the time being."""
        self.want(self._events & ~READS)

    def write_on(self) -> None:
        """Be told when the socket takes bytes."""
        self.want(self._events | WRITES)

    def write_off(self) -> None:
        """Write nothing for the time being."""
        self.want(self._events & ~WRITES)

    def ready(self, events: int) -> None:
        """There is something to read, or to be written, or wrong (Watched)."""
        if events & ~WRITES and self._events & READS:
            self.inward.pull()
        # Reading may have ended the pair.
        if events & ~READS and self._events & WRITES:
            self.outward.push()

    def fail(self, failure: Failure) -> None:
        """Moving bytes has failed for a reason of ours (Watched)."""
        self._pair.abort(self.broke)

    def close(self, *, abort: bool) -> None:
        """Close the socket."""
        if self._events:
            self._events = 0
            self._pair.watch.forget(self.fd)
        if abort:
            with suppress(OSError):  # it is gone already
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()
        self.fd = -1
        del self.inward, self.outward  # they know us, too


@implementer(IPair)
class SocketPair:
    """See :class:`~wavesync.relay.pair.IPair`; :func:`wavesync.relay.joining.join` makes it.

    :ivar plumbing: what bytes are moved with.
    :ivar shaper: how fast.
    :ivar watch: tells when there is something to do.
    """

    __slots__ = (
        "_client",
        "_down",
        "_listeners",
        "_moved",
        "_reason",
        "_server",
        "_up",
        "last_moved",
        "plumbing",
        "shaper",
        "watch",
    )

    def __init__(
        self,
        watch: Watch,
        plumbing: Plumbing,
        client: ITransport,
        server: ITransport,
        *,
        to_server: bytes,
        to_client: bytes,
        shaper: Shaper | None,
    ) -> None:
        self.watch = watch
        self.plumbing = plumbing
        self.shaper = shaper
        self.last_moved = watch.reactor.seconds()
        self._listeners: tuple[Callable[[str], object], ...] = ()
        self._reason = ""
        self._moved = (0, 0)  # in all, once it is over
        self._client = Side(self, CLIENT_BROKE)
        self._server = Side(self, SERVER_BROKE)
        to_client = self._client.take(client) + to_client
        to_server = self._server.take(server) + to_server
        up = Flow(self, self._client, self._server, to_server)
        down = Flow(self, self._server, self._client, to_client)
        self._up: Flow | None = up
        self._down: Flow | None = down
        self._client.inward = self._server.outward = up
        self._server.inward = self._client.outward = down
        up.begin()
        if not self._reason:
            down.begin()

    @property
    def reactor(self) -> IReactorTime:
        """Gives the time and timers."""
        return self.watch.reactor

    @property
    def up(self) -> int:
        """Bytes taken from the client."""
        return self._moved[0] if self._up is None else self._up.moved

    @property
    def down(self) -> int:
        """Bytes taken from the server."""
        return self._moved[1] if self._down is None else self._down.moved

    @property
    def held(self) -> int:
        """Bytes taken from one side and not yet given to the other."""
        return sum(flow.held for flow in (self._up, self._down) if flow is not None)

    @property
    def over(self) -> "Deferred[str]":
        """Fires when it is over."""
        waiting: Deferred[str] = Deferred()
        self.notify(waiting.callback)
        return waiting

    def notify(self, listener: Callable[[str], object]) -> None:
        """Tell when it is over: at once, if it is already."""
        if self._reason:
            listener(self._reason)
        else:
            self._listeners = (*self._listeners, listener)

    def dying(self) -> bool:
        """Tell whether a leg seems dead, as far as the kernel can tell."""
        if self._reason:
            return False
        return any(socket_seems_dead(each.socket) for each in (self._client, self._server))

    def touch(self) -> float:
        """Bytes have been moved.

        :return: the time.
        """
        self.last_moved = now = self.watch.reactor.seconds()
        return now

    def burst(self) -> int:
        """:return: how many bytes a flow may move at a time."""
        return self.plumbing.burst(self.last_moved)

    def check(self) -> bool:
        """End, if both directions have.

        :return: whether it is over.
        """
        up, down = self._up, self._down
        if up is not None and down is not None and up.ended and down.ended:
            self._end(DONE, abort=False)
        return bool(self._reason)

    def abort(self, reason: str) -> None:
        """Reset both legs."""
        self._end(reason, abort=True)

    def _end(self, reason: str, *, abort: bool) -> None:
        up, down = self._up, self._down
        if self._reason or up is None or down is None:
            return
        self._reason = reason
        self._moved = up.moved, down.moved
        self._up = self._down = None  # what knows us goes with us, without a search for circles
        up.drop()
        down.drop()
        self._client.close(abort=abort)
        self._server.close(abort=abort)
        listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            listener(reason)
