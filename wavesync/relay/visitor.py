"""A client's connection: it waits for one of the server's, and is joined with it."""

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.relay.parked import LEAST_READY, Parked
from wavesync.relay.pool import Asked
from wavesync.relay.quotas import Place
from wavesync.relay.role import Wire
from wavesync.signalling.relay_answers import RelayAnswer

if TYPE_CHECKING:
    from wavesync.relay.house import House

__all__ = ["MAX_EARLY", "SWITCHED", "Visitor"]

MAX_EARLY = 65_536
"""Bytes of a client that are kept until the server is ready; nothing more is read before."""

SWITCHED = RelayAnswer(101).encode()
"""What a client is told when the server has taken it."""


class Visitor:
    """One of them.

    :param house: what all connections share.
    :param wire: the socket's side.
    :param server: the server that is asked for.
    :param connection: the connection id.
    :param peer: who asks.
    :param place: what it takes of the quotas: given back when it is over.
    :param early: what it has sent behind its request.
    """

    __slots__ = (
        "_early",
        "_house",
        "_leg",
        "_over",
        "_sent",
        "_timer",
        "connection",
        "peer",
        "place",
        "server",
        "wire",
    )

    def __init__(
        self,
        house: "House",
        wire: Wire,
        server: Target,
        connection: str,
        peer: Peer,
        place: Place,
        early: bytes,
    ) -> None:
        self._house = house
        self.wire = wire
        self.server = server
        self.connection = connection
        self.peer = peer
        self.place = place
        self._early = early
        self._leg: Parked | None = None
        self._sent = 0
        self._timer: IDelayedCall | None = None
        self._over = False
        if len(early) >= MAX_EARLY:
            wire.pause()

    @property
    def early(self) -> int:
        """Bytes that are kept."""
        return len(self._early)

    @property
    def unsent(self) -> bytes:
        """What the server has not been sent yet."""
        return self._early[self._sent :]

    def received(self, data: bytes) -> None:
        """Keep what comes before the server is ready (Role)."""
        self._early += data
        if len(self._early) >= MAX_EARLY:
            self.wire.pause()

    def lost(self) -> None:
        """The client is gone (Role)."""
        self._end()

    def ask(self, *, again: bool = False) -> Asked | None:
        """Take one of the server's connections, or wait for one.

        :returns: what becomes of it; None where there is a connection.
        """
        asked = self._house.pool.ask(self.server, self, self._house.now(), again=again)
        if isinstance(asked, Asked):
            return asked
        self.take(asked)
        return None

    def take(self, leg: Parked) -> None:
        """Try a connection of the server's."""
        self._leg = leg
        self._sent = len(self._early)
        leg.open(self, self.connection, str(self.peer.name), self.wire.source, self._early)
        self._house.opening.begin(self, self._house.now())

    def ready(self, leg: Parked, first: bytes) -> None:
        """The server has taken it.

        :param first: what it has said already.
        """
        self._cancel()
        self._leg = None
        self._over = True
        self._house.join(self, leg, first)

    def leg_broke(self, leg: Parked) -> None:
        """The server's connection is gone: another one."""
        self._cancel()
        self._leg = None
        self._house.statistics.retried += 1
        asked = self.ask(again=True)
        if asked not in (None, Asked.WAITS):
            self.refuse()

    def expired(self) -> None:
        """It has waited too long."""
        self._house.statistics.refused["no-connection"] += 1
        self.refuse()

    def refuse(self, answer: RelayAnswer | None = None) -> None:
        """Say that it cannot be, by default: not now."""
        if answer is None:
            sentence = "the server has no connection free; try again."
            answer = RelayAnswer(503, retry_after=1, sentence=sentence)
        self._end()
        self.wire.finish(answer.encode())

    def close(self) -> None:
        """Close: the client may not be here any more."""
        self.refuse(RelayAnswer(403, reason="revoked", sentence="the certificate was revoked."))

    def slow(self) -> None:
        """The server has had :data:`LEAST_READY` seconds to answer; it may have more."""
        leg = self._leg
        assert leg is not None
        more = leg.patience - LEAST_READY
        if more > 0.0:
            self._timer = self._house.clock.callLater(more, self._late)
        else:
            self._late()

    def _late(self) -> None:
        self._timer = None
        leg = self._leg
        assert leg is not None
        leg.drop()
        self.leg_broke(leg)

    def _end(self) -> None:
        """Nothing more is waited for."""
        if self._over:
            return
        self._over = True
        self._cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.drop()
        self._house.part(self)

    def _cancel(self) -> None:
        self._house.opening.end(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
