"""What the agent does when a mediator passes on that a client dials it over TCP: dial back.

The SYN leaves from the local port of the agent's leg to that mediator: the mediator has told the
client where the mapping of that port is.  As with punching, a mediator is not believed: the request
must be signed by a client of this system for this server, it counts once, and what can be caused is
some twenty SYNs to one address.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.complaints import Complaints
from wavesync.agent.link import Link
from wavesync.agent.recording import Recorder, unrecorded
from wavesync.agent.statistics import BEGUN, CONNECTED, MISSED, REFUSED, TOO_MANY, Statistics
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer, VerificationError
from wavesync.interfaces import Address, IReactor
from wavesync.signalling.messages import OpenStream, SignallingError, StreamRequested
from wavesync.signalling.numbers import MAX_START_DELAY
from wavesync.stun.message import Message, StunError, decode
from wavesync.tcp.accepting import Listeners
from wavesync.tcp.adopting import adopt
from wavesync.tcp.opening import Opening

__all__ = [
    "MAX_CLIENT_OPENINGS",
    "MAX_OPENINGS",
    "MAX_REMEMBERED",
    "OPENING_TIMEOUT",
    "OpeningLike",
    "StreamOpenings",
]

MAX_OPENINGS = 64
"""Simultaneous opens under way at one time; further requests are dropped."""

MAX_CLIENT_OPENINGS = 16
"""The same for one client."""

MAX_REMEMBERED = 4096
"""Connection ids remembered, so that none is dialled for twice."""

OPENING_TIMEOUT = 3.0
"""Seconds of dialling; clients wait no longer."""


class OpeningLike(Protocol):
    """Dialling that goes on (:class:`wavesync.tcp.opening.Opening`)."""

    connected: Deferred[IProtocol]


@dataclass(slots=True, eq=False)
class _Running:
    """One client that is being dialled."""

    peer: Peer
    opening: OpeningLike
    connection_id: str


class StreamOpenings:
    """Takes the requests of clients that all mediators pass on.

    :param own: this server.
    :param factory: builds the server side of a session for a connection that came to stand.
    :param check: judges a client's request of a purpose
        (:meth:`wavesync.agent.introductions.Introductions.check_client`).
    :param allow_loopback: dial loopback addresses too (everything on one host).
    :param max_remembered: connection ids remembered.
    :param dial: makes what :class:`wavesync.tcp.opening.Opening` is.
    :param statistics: where to count.
    :param recorder: notes what is done about each client.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        own: Target,
        factory: IProtocolFactory,
        check: Callable[[Link, Message, str], Peer],
        *,
        allow_loopback: bool = False,
        max_remembered: int = MAX_REMEMBERED,
        dial: Callable[..., OpeningLike] = Opening,
        statistics: Statistics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._statistics = Statistics() if statistics is None else statistics
        self._recorder = unrecorded(reactor) if recorder is None else recorder
        self._reactor = reactor
        self._own = own
        self._factory = factory
        self._check = check
        self._allow_loopback = allow_loopback
        self._max_remembered = max_remembered
        self._dial = dial
        self._listeners = Listeners(reactor, self._accept)
        self._complaints = Complaints(self.log, reactor.seconds)
        self._running: dict[_Running, None] = {}
        self._remembered: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are being dialled."""
        return len(self._running)

    def requested(self, link: Link, message: Message) -> None:
        """A ``streamRequested`` indication came from a mediator."""
        outcome = REFUSED
        try:
            told = StreamRequested.decode(message, allow_loopback=self._allow_loopback)
            if told.connection_id in self._remembered:
                return
            request = decode(told.request)
            wanted = OpenStream.decode(request)
            if (wanted.connection_id, wanted.server) != (told.connection_id, self._own):
                raise SignallingError("the request is for another server, or of another connection")
            peer = self._check(link, request, OpenStream.PURPOSE)
            own, remote = self._ends(link, told)
            if not self._room(peer):
                outcome = TOO_MANY
                raise SignallingError(f"too many for {peer.text}")
        except (SignallingError, StunError, VerificationError) as error:
            self._statistics.openings[outcome] += 1
            self._complaints.warn(
                str(link.mediator),
                "does not dial a client that {mediator} tells of: {why}",
                mediator=link.mediator,
                why=error,
            )
            return
        self._remember(told.connection_id)
        self._statistics.openings[BEGUN] += 1
        self._recorder.dialling(told.connection_id, peer, link.mediator, remote)
        delay = min(told.start_delay, MAX_START_DELAY)
        self._open(peer, own, remote, delay, told.connection_id)

    def stop(self) -> None:
        """Give up all dialling."""
        for running in list(self._running):
            running.opening.connected.cancel()

    def _ends(self, link: Link, told: StreamRequested) -> tuple[Address, Address]:
        """Tell from where to where to dial."""
        ends = link.ends
        if ends is None:
            raise SignallingError("the leg is no TCP connection")
        own, mediator = ends
        remotes = [each for each in told.observed if (":" in each[0]) == (":" in own[0])]
        if not remotes or remotes[0] == mediator:
            raise SignallingError("there is no address that could be dialled")
        return own, remotes[0]

    def _room(self, peer: Peer) -> bool:
        same = sum(each.peer.fingerprint == peer.fingerprint for each in self._running)
        return len(self._running) < MAX_OPENINGS and same < MAX_CLIENT_OPENINGS

    def _remember(self, connection_id: str) -> None:
        self._remembered[connection_id] = None
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)

    def _open(
        self, peer: Peer, own: Address, remote: Address, delay: float, connection_id: str
    ) -> None:
        opening = self._dial(
            self._reactor,
            own,
            remote,
            self._factory,
            timeout=OPENING_TIMEOUT,
            delay=delay,
            listeners=self._listeners,
        )
        running = _Running(peer, opening, connection_id)
        self._running[running] = None
        opening.connected.addBoth(self._over, running)

    def _accept(self, made: socket.socket) -> None:
        """Somebody connects who is not waited for, or not yet: the same as at the agent's own port."""
        try:
            adopt(self._reactor, made, self._factory)
        except (ConnectionLost, NoProtocol):
            return

    def _over(self, result: IProtocol | Failure, running: _Running) -> None:
        del self._running[running]
        self._statistics.streams[MISSED if isinstance(result, Failure) else CONNECTED] += 1
        if not isinstance(result, Failure):
            self._recorder.heard(running.connection_id, result)
        elif not result.check(CancelledError):
            self._recorder.note(running.connection_id, "no answer", result.getErrorMessage())
            self.log.debug(
                "no TCP connection with {client}: {why}",
                client=running.peer.text,
                why=result.getErrorMessage(),
            )
