"""A connection that a server has parked: kept alive, until a client takes it."""

from typing import TYPE_CHECKING

from twisted.logger import Logger

from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer
from wavesync.interfaces import Address
from wavesync.relay.role import Wire
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.relay_answers import Parking, RelayAnswer
from wavesync.signalling.relay_lines import Idle, LineReader, Move, Open, Ping, Pong, Ready

if TYPE_CHECKING:
    from wavesync.relay.house import House
    from wavesync.relay.visitor import Visitor

__all__ = ["LEAST_READY", "MOST_READY", "Parked"]

LEAST_READY = 0.5
"""Seconds that a server has at least to answer OPEN."""

MOST_READY = 3.0
"""Seconds that it has at most, and while its round trip is not known."""

_ROUND_TRIPS = 4
_PING = Ping().encode()
_OUT_OF_TURN = "out of turn"


class Parked:
    """One of them.

    :param house: what all connections share.
    :param wire: the socket's side.
    :param server: whose it is.
    :param peer: the same, with the certificate that it has shown.
    :ivar round_trip: seconds, as measured; None before.
    """

    log = Logger()

    __slots__ = (
        "_asked_at",
        "_house",
        "_reader",
        "_visitor",
        "peer",
        "round_trip",
        "server",
        "wire",
    )

    def __init__(self, house: "House", wire: Wire, server: Target, peer: Peer) -> None:
        self._house = house
        self.wire = wire
        self.server = server
        self.peer = peer
        self.round_trip: float | None = None
        self._reader = LineReader()
        self._asked_at: float | None = None
        self._visitor: Visitor | None = None

    @property
    def patience(self) -> float:
        """Seconds that the server has to answer OPEN."""
        if self.round_trip is None:
            return MOST_READY
        return min(MOST_READY, max(LEAST_READY, _ROUND_TRIPS * self.round_trip))

    def begin(self, rest: bytes) -> None:
        """Tell the server that it is parked; from now on a client may take it.

        :param rest: what it has sent behind its request: lines, if anything.
        """
        house = self._house
        parking = Parking(
            wanted=house.pool.wanted(self.server),
            waiting=house.pool.waiting_for(self.server),
            keep_alive=house.settings.keep_alive,
            revocations=house.lists.number(self.server.system),
        )
        self._ask(RelayAnswer(101, parking=parking).encode())
        if rest:
            self.received(rest)

    def received(self, data: bytes) -> None:
        """PONG, or READY (Role)."""
        try:
            lines = self._reader.feed(data)
        except SignallingError as error:
            self._break(str(error))
            return
        for line in lines:
            if isinstance(line, Pong) and self._asked_at is not None:
                self._ponged(self._asked_at)
            elif not isinstance(line, Ready) or self._visitor is None:
                self._break(_OUT_OF_TURN)
                return
            else:
                visitor, self._visitor = self._visitor, None
                visitor.ready(self, self._reader.rest)

    def lost(self) -> None:
        """The connection is gone (Role)."""
        self._house.leave(self)
        visitor, self._visitor = self._visitor, None
        if visitor is not None:
            visitor.leg_broke(self)

    # What the house asks for.

    def ping(self) -> None:
        """Ask whether the server is there, unless it has been asked already."""
        if self._asked_at is None:
            self._ask()

    def _ask(self, first: bytes = b"") -> None:
        self._asked_at = self._house.now()
        self._house.roll.asked(self, self._asked_at)
        self.wire.write(first + _PING)

    def tell(self, wanted: int, waiting: int) -> None:
        """Tell how many connections are wanted (pool)."""
        self.wire.write(Idle(wanted, waiting).encode())

    def open(
        self, visitor: "Visitor", connection: str, name: str, source: Address, early: bytes
    ) -> None:
        """Tell the server that a client takes this connection; the client's bytes follow.

        :param visitor: who takes it; is told what comes of it.
        :param early: the first of those bytes.
        """
        self._visitor = visitor
        self._house.roll.rest(self)
        self.wire.write(Open(connection, name, source).encode() + early)

    def move(self) -> None:
        """The relay is going."""
        self._house.leave(self)
        self.wire.finish(Move().encode())

    def close(self) -> None:
        """Close quietly: there are enough, or the server may not be here."""
        self._house.leave(self)
        self.wire.finish(b"")

    def drop(self) -> None:
        """Close at once; whoever has taken it knows."""
        self._visitor = None
        self._house.leave(self)
        self.wire.abort()

    def dead(self) -> None:
        """The server does not answer."""
        self._house.statistics.dead += 1
        self._break("no answer to a PING")

    def _ponged(self, asked_at: float) -> None:
        now = self._house.now()
        self.round_trip = now - asked_at
        self._asked_at = None
        self._house.roll.answered(self, now)

    def _break(self, why: str) -> None:
        self.log.debug(
            "{server} breaks off a parked connection: {why}", server=self.server, why=why
        )
        self.wire.abort()
        self.lost()
