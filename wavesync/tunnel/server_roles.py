"""What a server's connections are for in the methods whose tunnel takes more than one request."""

from collections.abc import Callable

import h11
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.tunnel.after_head import AfterHead
from wavesync.tunnel.answers import Refused, body_head
from wavesync.tunnel.channel import Channel
from wavesync.tunnel.heads import HeadError
from wavesync.tunnel.requests import check_body, fields_of, id_of, method_of
from wavesync.tunnel.wire import Role, Wire

__all__ = ["EARLY", "GetPostRole", "Two"]

EARLY = 65_536
"""Bytes of a stream up that may come before the connection for the stream down; then it is not read."""


class GetPostRole(AfterHead):
    """A connection after its GET: its POST has to follow, then the stream up.

    :param tunnel: the id that the POST has to name.
    :param begin: makes the role that gets the stream.
    :param broken: called with a reason where something else follows.
    :param lost: called where the connection is gone before the POST came.
    """

    def __init__(
        self,
        tunnel: str,
        begin: Callable[[], Role],
        broken: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        super().__init__(h11.SERVER)
        self._tunnel = tunnel
        self._begin = begin
        self._broken = broken
        self._lost = lost

    def decide(self, head: h11.Request) -> Role | None:
        """The POST."""
        try:
            self._check(head)
        except Refused as error:
            self._broken(error.reason)
            return None
        return self._begin()

    def malformed(self, error: HeadError) -> None:
        """It is no request."""
        self._broken("head")

    def ended(self, reason: Failure) -> None:
        """No POST has come."""
        self._lost()

    def _check(self, request: h11.Request) -> None:
        if method_of(request) != ("get-post", "POST"):
            raise Refused(400, "no-post", "a POST has to follow.")
        headers = fields_of(request)
        if id_of(headers) != self._tunnel:
            raise Refused(400, "id", "the POST is for another tunnel.")
        check_body(headers, carries=True)


class _Down:
    """The role of the connection that a GET opened: it brings nothing."""

    def __init__(self, two: "Two") -> None:
        self._two = two

    def received(self, data: bytes) -> None:
        """Ignore it."""

    def lost(self, reason: Failure = connectionDone) -> None:
        self._two.down_lost()


class _Up:
    """The role of the connection that a POST opened."""

    def __init__(self, two: "Two") -> None:
        self._two = two

    def received(self, data: bytes) -> None:
        self._two.up_received(data)

    def lost(self, reason: Failure = connectionDone) -> None:
        self._two.up_lost(reason)


class Two:
    """A tunnel of two connections, of which one or both are there.

    :param begin: called with the wires up and down once both are there; makes the channel.
    :param lost: called when it is over before that.
    """

    def __init__(self, begin: Callable[[Wire, Wire], Channel], lost: Callable[[], None]) -> None:
        self._begin = begin
        self._lost = lost
        self._down: Wire | None = None
        self._up: Wire | None = None
        self._early = bytearray()
        self._paused = False
        self._channel: Channel | None = None

    def has(self, verb: str) -> bool:
        """Tell whether the connection of such a request is there."""
        return (self._down if verb == "GET" else self._up) is not None

    def come_down(self, wire: Wire) -> Role:
        """The GET's connection: answer it."""
        wire.write(body_head(close=True))
        self._down = wire
        self._join()
        return _Down(self)

    def come_up(self, wire: Wire, rest: bytes) -> Role:
        """The POST's connection, and what came behind its head."""
        self._up = wire
        self._early += rest
        self._join()
        return _Up(self)

    def give_up(self) -> None:
        """Close what there is."""
        for wire in (self._down, self._up):
            if wire is not None:
                wire.abort()

    def up_received(self, data: bytes) -> None:
        """Bytes of the stream up have come."""
        if self._channel is not None:
            self._channel.received(data)
            return
        self._early += data
        if len(self._early) > EARLY and not self._paused and self._up is not None:
            self._paused = True
            self._up.pause()

    def up_lost(self, reason: Failure) -> None:
        """The POST's connection is gone."""
        if self._channel is not None:
            self._channel.lost(reason)
        else:
            self._up = None
            self._end()

    def down_lost(self) -> None:
        """The GET's connection is gone."""
        if self._channel is not None:
            self._channel.outward_lost()
        else:
            self._down = None
            self._end()

    def _end(self) -> None:
        self.give_up()
        self._lost()

    def _join(self) -> None:
        if self._up is None or self._down is None:
            return
        self._channel = self._begin(self._up, self._down)
        early, self._early = bytes(self._early), bytearray()
        if early:
            self._channel.received(early)
        if self._paused:
            self._up.resume()
