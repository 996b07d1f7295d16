"""What the agent does when a mediator introduces a client: check the proof again, then punch.

A mediator is not believed.  It can make an agent send a bounded number of small packets, only for a
request that a client of this system has signed, only towards addresses that the client named or
that the mediator says it saw the client at, and only once for each request.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.complaints import Complaints
from wavesync.agent.link import Link
from wavesync.agent.recording import Recorder, unrecorded
from wavesync.agent.statistics import (
    BEGUN,
    CONNECTED,
    MISSED,
    REFUSED,
    TOO_MANY,
    WITHOUT_UDP,
    Statistics,
)
from wavesync.identity.credentials import Credentials
from wavesync.identity.proofs import ProofChecker
from wavesync.identity.verify import Peer, Role, VerificationError
from wavesync.interfaces import Address
from wavesync.signalling.addresses import punchable
from wavesync.signalling.messages import (
    Connect,
    ConnectionRequested,
    ConnectionUpdate,
    SignallingError,
    covered,
)
from wavesync.signalling.numbers import MAX_START_DELAY
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.message import Message, StunError, decode

__all__ = [
    "CHECK_BURST",
    "CHECK_RATE",
    "MAX_CLIENT_RENDEZVOUS",
    "MAX_REMEMBERED",
    "MAX_RENDEZVOUS",
    "PUNCHES",
    "Introductions",
    "Rendezvous",
    "RendezvousPort",
]

MAX_RENDEZVOUS = 64
"""Rendezvous under way at one time; further introductions are dropped."""

MAX_CLIENT_RENDEZVOUS = 16
"""The same for one client."""

MAX_REMEMBERED = 4096
"""Connection ids remembered, so that none is punched for twice."""

CHECK_RATE = 50.0
"""Requests of clients that are checked a second for one mediator, on average: more than a mediator
introduces to one server, and a few hundredths of a processor.  What is beyond is dropped unread."""

CHECK_BURST = 200.0
"""The same at once."""

PUNCHES = 6
"""Handshakes to each address from which nothing comes, over 0.4 s: what the first of them opens in our
router stays open, so the client's own calls are heard afterwards.  With the mediator's answer they are
no more bytes than the client's request, whose source may be forged."""

RENDEZVOUS_TIMEOUT = 5.0
"""Seconds after which punching towards a client is given up."""


class Rendezvous(Protocol):
    """Punching that goes on."""

    connected: Deferred[IProtocol]

    def add_candidate(self, address: Address) -> bool:
        """Punch towards this address too."""

    def cancel(self) -> None:
        """Give up."""


class RendezvousPort(Protocol):
    """The UDP port that punches (:class:`wavesync.udt.port.Port`)."""

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None,
        timeout: float = RENDEZVOUS_TIMEOUT,
        delay: float = 0.0,
        share: int = PUNCHES,
    ) -> Rendezvous:
        """Punch towards all candidates at once, beginning after *delay* seconds."""


@dataclass(slots=True)
class _Running:
    """One introduction that is being punched for."""

    link: Link
    peer: Peer
    listed: tuple[Address, ...]
    rendezvous: Rendezvous | None = None
    observed: tuple[Address, ...] = ()


class Introductions:
    """Takes the introductions of all mediators.

    :param factory: builds the server side of a session for a path that was punched.
    :param allow_loopback: punch towards loopback addresses too (everything on one host).
    :param max_remembered: connection ids remembered.
    :param revoked: tells whether the certificate with a serial number was revoked.
    :param statistics: where to count.
    :param recorder: notes what is done about each client.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        port: RendezvousPort,
        factory: IProtocolFactory,
        *,
        wall_clock: Callable[[], float],
        allow_loopback: bool = False,
        max_remembered: int = MAX_REMEMBERED,
        revoked: Callable[[int], bool] = lambda serial: False,
        statistics: Statistics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._statistics = Statistics() if statistics is None else statistics
        self._recorder = unrecorded(clock) if recorder is None else recorder
        self._clock = clock
        self._credentials = credentials
        self._port = port
        self._factory = factory
        self._wall_clock = wall_clock
        self._allow_loopback = allow_loopback
        self._max_remembered = max_remembered
        self._checker = ProofChecker(MAX_RENDEZVOUS, revoked=lambda system, serial: revoked(serial))
        self._checks = SourceBuckets(CHECK_RATE, CHECK_BURST)
        self._complaints = Complaints(self.log, clock.seconds)
        self._running: dict[str, _Running] = {}
        self._remembered: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """How many rendezvous are under way."""
        return len(self._running)

    def requested(self, link: Link, message: Message) -> None:
        """A ``connectionRequested`` indication came from a mediator."""
        mediator = str(link.mediator)
        try:
            requested = ConnectionRequested.decode(message, allow_loopback=self._allow_loopback)
            if requested.connection_id in self._remembered:
                return
            peer, connect = self._check(link, requested)
        except (SignallingError, StunError, VerificationError) as error:
            self._statistics.introductions[REFUSED] += 1
            self._complaints.warn(
                mediator,
                "dropped an introduction by {mediator}: {why}",
                mediator=link.mediator,
                why=error,
            )
            return
        if not self._room(peer):
            self._statistics.introductions[TOO_MANY] += 1
            self._complaints.warn(
                mediator, "dropped an introduction of {client}: too many", client=peer.text
            )
            return
        self._remember(requested.connection_id)
        self._recorder.introduced(requested.connection_id, peer, link.mediator)
        if not connect.udp and not requested.observed:
            self._recorder.note(requested.connection_id, "not punching", "it has no UDP address")
            self._statistics.introductions[WITHOUT_UDP] += 1
            return
        running = _Running(link, peer, connect.udp, observed=requested.observed)
        self._running[requested.connection_id] = running
        link.warm.acknowledge(requested.connection_id)
        delay = min(requested.start_delay, MAX_START_DELAY)
        self._punch(requested.connection_id, requested.token, delay)

    def updated(self, link: Link, message: Message) -> None:
        """A ``connectionUpdate`` indication came: the client is seen elsewhere too."""
        try:
            update = ConnectionUpdate.decode(message, allow_loopback=self._allow_loopback)
        except SignallingError:
            return
        link.echo(message.raw)
        running = self._running.get(update.connection_id)
        if running is None or running.link is not link:
            return
        running.observed = update.observed
        if running.rendezvous is not None:
            candidates = self._candidates(running)
            self._recorder.punching(update.connection_id, candidates)
            for address in candidates:
                running.rendezvous.add_candidate(address)

    def stop(self) -> None:
        """Give up all punching."""
        running, self._running = self._running, {}
        for each in running.values():
            if each.rendezvous is not None:
                each.rendezvous.cancel()

    def _check(self, link: Link, requested: ConnectionRequested) -> tuple[Peer, Connect]:
        """Judge the client's own request, which the mediator has only passed on."""
        request = decode(requested.request)
        connect = Connect.decode(request, allow_loopback=self._allow_loopback)
        if connect.connection_id != requested.connection_id:
            raise SignallingError("the request is of another connection")
        own = self._credentials.target
        if connect.target.system != own.system or connect.target.server not in (None, own.server):
            raise SignallingError("the request is for another server")
        return self.check_client(link, request, Connect.PURPOSE), connect

    def check_client(self, link: Link, request: Message, purpose: str) -> Peer:
        """Judge the proof in a client's request, which a mediator has only passed on.

        :param purpose: what it must have been made for.
        :raises SignallingError: there is none, it is of no client of this system, or there are too
            many to check.
        :raises VerificationError: it does not hold.
        """
        proof = covered(request)
        if proof is None:
            raise SignallingError("the request has no proof")
        if not self._checks.allow(str(link.mediator), self._clock.seconds()):
            raise SignallingError("too many to check")
        blob, signed = proof
        checked = self._checker.check(
            blob,
            purpose=purpose,
            audience=link.mediator.audience,
            message=signed,
            role=Role.CLIENT,
            now=self._wall_clock() + link.time_offset,
            # Only the mediator can tell its nonces.  What is left of a replay: one round of
            # punches towards addresses that this client has signed.
            nonce_ok=lambda nonce: True,
        )
        if checked.peer.system != self._credentials.system:
            raise SignallingError("the client is of another system")
        return checked.peer

    def _room(self, peer: Peer) -> bool:
        if len(self._running) >= MAX_RENDEZVOUS:
            return False
        same = sum(each.peer.fingerprint == peer.fingerprint for each in self._running.values())
        return same < MAX_CLIENT_RENDEZVOUS

    def _remember(self, connection_id: str) -> None:
        self._remembered[connection_id] = None
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)

    def _candidates(self, running: _Running) -> tuple[Address, ...]:
        return punchable(running.listed, running.observed, allow_loopback=self._allow_loopback)

    def _punch(self, connection_id: str, token: int, delay: float) -> None:
        running = self._running[connection_id]
        try:
            running.rendezvous = self._port.rendezvous(
                self._candidates(running),
                self._factory,
                token=token,
                timeout=RENDEZVOUS_TIMEOUT,
                delay=delay,
                share=PUNCHES,
            )
        except ValueError as error:
            # A token that is in use or impossible: the mediator is confused, or worse.
            del self._running[connection_id]
            self._statistics.introductions[REFUSED] += 1
            self._complaints.warn(
                str(running.link.mediator),
                "dropped an introduction by {mediator}: {why}",
                mediator=running.link.mediator,
                why=error,
            )
            return
        self._statistics.introductions[BEGUN] += 1
        self._recorder.punching(connection_id, self._candidates(running))
        running.rendezvous.connected.addCallbacks(
            self._punched,
            self._gave_up,
            callbackArgs=(connection_id,),
            errbackArgs=(connection_id,),
        )

    def _punched(self, protocol: IProtocol, connection_id: str) -> None:
        self._running.pop(connection_id, None)
        self._statistics.rendezvous[CONNECTED] += 1
        self._recorder.heard(connection_id, protocol)

    def _gave_up(self, failure: Failure, connection_id: str) -> None:
        self._statistics.rendezvous[MISSED] += 1
        running = self._running.pop(connection_id, None)
        if running is not None:
            self._recorder.note(connection_id, "no hole", failure.getErrorMessage())
            self.log.debug(
                "no hole towards {client}: {why}",
                client=running.peer.text,
                why=failure.getErrorMessage(),
            )
