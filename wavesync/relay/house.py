"""What all of a relay's connections share, and what becomes of each request."""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.deadlines import Deadlines
from wavesync.identity.crl import RevocationList, read_crl
from wavesync.identity.lists import Lists, ListsFull
from wavesync.identity.proofs import CheckedProof
from wavesync.identity.verify import Peer, VerificationError
from wavesync.relay.admission import Admission, Refused
from wavesync.relay.joining import join
from wavesync.relay.pairs import CHECK_INTERVAL, Joined, Pairs
from wavesync.relay.parked import LEAST_READY, Parked
from wavesync.relay.pool import Asked, Pool
from wavesync.relay.presence import IPresence, MemoryPresence, NotKnown
from wavesync.relay.quotas import Place, Quotas
from wavesync.relay.role import Role, Wire
from wavesync.relay.roll import Roll
from wavesync.relay.settings import RelaySettings
from wavesync.relay.statistics import Statistics
from wavesync.relay.upload import MAX_UPLOADS, Upload
from wavesync.relay.visitor import SWITCHED, Visitor
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind
from wavesync.stun.buckets import SourceBuckets

__all__ = ["House"]

_TICK = 1.0
_FULL = 5.0
_GOING = "this relay is going; use another."
_AWAY = 5.0
"""Seconds after which to try again at a relay that drains."""


class House:
    """All of it.

    :param settings: checked settings.
    :param clock: the reactor.
    :param random: gives that many unpredictable bytes.
    :param wall: gives the date, seconds since the epoch, of one of the clock's times.
    :param presence: where else servers may be.
    :ivar roll: the connections of servers, until they are joined.
    :ivar visitors: the clients, until they are joined.
    :ivar opening: those of them whose server has just been told, and has not answered yet.
    """

    log = Logger()

    def __init__(
        self,
        settings: RelaySettings,
        clock: IReactorTime,
        random: Callable[[int], bytes],
        *,
        wall: Callable[[float], float],
        presence: IPresence | None = None,
    ) -> None:
        limits = settings.limits
        self.settings = settings
        self.clock = clock
        self.presence = MemoryPresence() if presence is None else presence
        self.statistics = Statistics()
        self.pool: Pool[Parked, Visitor] = Pool(
            idle=settings.idle,
            max_idle=settings.max_idle,
            parked_per_server=limits.parked_per_server,
            waiting=limits.waiting,
            waiting_per_server=limits.waiting_per_server,
        )
        self.roll = Roll(settings.keep_alive)
        self.pairs = Pairs(settings.idle_timeout, self.statistics)
        self.quotas = Quotas(limits)
        self.lists = Lists(limits.crl_bytes, self.roll.has_system)
        self.admission = Admission(
            settings.name,
            settings.allowed_systems,
            random,
            checks=SourceBuckets(limits.check_rate, limits.check_burst),
            replays=limits.replays,
            revoked=self.lists.revoked,
            wall=wall,
            started=wall(clock.seconds()),
        )
        self.visitors: Deadlines[Visitor] = Deadlines(limits.waiting_time)
        self.opening: Deadlines[Visitor] = Deadlines(LEAST_READY)
        self.uploads: Deadlines[Upload] = Deadlines(limits.head_time)
        self._ticked = self._checked = clock.seconds()
        self.draining = False

    def now(self) -> float:
        """The clock's time."""
        return self.clock.seconds()

    # Requests.

    def welcome(self, request: RelayRequest, wire: Wire, rest: bytes) -> Role | None:
        """Answer a request.

        :param rest: what was sent behind it.
        :returns: what the connection is for from now on; None when it has been refused.
        """
        try:
            if self.draining:
                raise _unavailable("draining", _GOING, _AWAY)
            proof = self.admission.check(request, wire.source[0], self.now())
            match request.kind:
                case RequestKind.PARK:
                    return self._park(request, proof, wire, rest)
                case RequestKind.CONNECT:
                    return self._visit(request, proof, wire, rest)
                case RequestKind.REVOKE:
                    return self._upload(request, proof, wire, rest)
        except Refused as refused:
            self.refuse(wire, refused.answer, refused.reason)
        return None

    def refuse(self, wire: Wire, answer: RelayAnswer, reason: str) -> None:
        """Send a refusal, count it, and close."""
        self.statistics.refused[reason] += 1
        wire.finish(answer.encode())

    def _park(self, request: RelayRequest, proof: CheckedProof, wire: Wire, rest: bytes) -> Role:
        server = request.target
        assert server is not None
        leg = Parked(self, wire, server, proof.peer)
        if not self.pool.park(server, leg, self.now()):
            sentence = "enough connections are parked; come back when one is taken."
            raise Refused(RelayAnswer(409, sentence=sentence), "enough-parked")
        self.statistics.parked += 1
        self.roll.add(leg)
        self._tell_presence()
        leg.begin(rest)
        self._probe_surplus(leg)
        self._serve(leg)
        return leg

    def _probe_surplus(self, new: Parked) -> None:
        """More than are wanted: the server may have lost some without our knowing."""
        idle = self.pool.idle_of(new.server)
        if len(idle) > self.pool.wanted(new.server):
            for leg in idle:
                leg.ping()

    def _serve(self, leg: Parked) -> None:
        """Give a fresh connection to whoever waits for its server."""
        found = self.pool.next_waiting(leg.server, self.now())
        if found is not None:
            taken, visitor = found
            visitor.take(taken)

    def _visit(
        self, request: RelayRequest, proof: CheckedProof, wire: Wire, rest: bytes
    ) -> Role | None:
        server, peer, now = request.target, proof.peer, self.now()
        assert server is not None
        self.statistics.asked += 1
        place = self.quotas.enter(peer.system, peer.fingerprint, wire.source[0])
        if not isinstance(place, Place):
            raise _quota(place)
        visitor = Visitor(self, wire, server, request.connection, peer, place, rest)
        self.visitors.begin(visitor, now)
        asked = visitor.ask()
        if asked is Asked.WAITS:
            self.statistics.waited += 1
        elif asked is Asked.FULL:
            self.statistics.refused["too-many-waiting"] += 1
            visitor.refuse()
        elif asked is Asked.ABSENT:
            self._look_elsewhere(visitor)
        return visitor

    def _look_elsewhere(self, visitor: Visitor) -> None:
        """The server is not here: is it at another relay?"""

        def absent(reason: str) -> None:
            self.statistics.refused[reason] += 1
            visitor.refuse(RelayAnswer(404, sentence="no such server is here."))

        def found(relay: Relay | None) -> None:
            if visitor not in self.visitors:
                return
            if relay is None:
                absent("no-server")
            else:
                self.statistics.redirected += 1
                sentence = f"the server is at {relay}."
                visitor.refuse(RelayAnswer(307, location=relay, sentence=sentence))

        def failed(failure: Failure) -> None:
            if not failure.check(NotKnown):
                self.log.failure("presence has failed", failure)
            if visitor in self.visitors:
                absent("presence")

        looked: Deferred[Relay | None] = self.presence.find(visitor.server)
        looked.addCallbacks(found, failed)

    def _upload(self, request: RelayRequest, proof: CheckedProof, wire: Wire, rest: bytes) -> Role:
        if len(self.uploads) >= MAX_UPLOADS:
            raise _unavailable("uploads", "too many revocation lists at one time; try again.", 1.0)
        upload = Upload(self, wire, request, proof.system_key)
        self.uploads.begin(upload, self.now())
        upload.received(rest)
        return upload

    # What roles tell.

    def leave(self, leg: Parked) -> None:
        """A server's connection is gone, or not to be used any more."""
        if self.roll.remove(leg):
            self.pool.leave(leg.server, leg, self.now())

    def part(self, visitor: Visitor) -> None:
        """A client is gone before it was joined."""
        self.visitors.end(visitor)
        self.pool.give_up(visitor.server, visitor, self.now())
        self.quotas.leave(visitor.place)

    def join(self, visitor: Visitor, leg: Parked, to_client: bytes) -> None:
        """Tell the client that it has what it asked for, and join the two; they hear nothing more.

        :param to_client: what the server has said already.
        """
        self.roll.remove(leg)
        self.visitors.end(visitor)
        client, server, place = visitor.wire, leg.wire, visitor.place
        client.hand_over()
        server.hand_over()
        pair = join(
            self.clock,
            client.stream,
            server.stream,
            to_server=visitor.unsent,
            to_client=SWITCHED + to_client,
            shaper=self.quotas.shape(place, self.now()),
            kernel=self.settings.splice == "auto",
        )
        joined = Joined(pair, visitor.peer, leg.peer, visitor.early, len(to_client))
        self.pairs.add(joined, partial(self._parted, place, client, server))

    def _parted(self, place: Place, client: Wire, server: Wire) -> None:
        """A pair is over."""
        self.quotas.release(place)
        self.quotas.leave(place)
        client.gone()
        server.gone()

    def take_list(self, der: bytes, system_key: bytes) -> RelayAnswer:
        """Take a revocation list in, and end what it revokes."""
        try:
            new = read_crl(der, system_key)
            if new.number > self.lists.number(new.system):
                self.lists.add(new)
                self._revoke(new)
        except VerificationError as error:
            self.statistics.refused["list"] += 1
            return RelayAnswer(400, reason=str(error.reason), sentence=str(error))
        except ListsFull:
            self.statistics.refused["lists-full"] += 1
            sentence = "there is no room for this revocation list."
            return RelayAnswer(503, retry_after=600, sentence=sentence)
        return RelayAnswer(204)

    def _revoke(self, new: RevocationList) -> None:
        self.statistics.lists += 1
        self.log.info(
            "revocation list {number} of system {system}: {count} certificates are revoked",
            number=new.number,
            system=new.system,
            count=len(new.revoked),
        )

        def revoked(peer: Peer) -> bool:
            return peer.system == new.system and peer.serial in new.revoked

        for leg in self.roll:
            if revoked(leg.peer):
                leg.close()
        for visitor in self.visitors:
            if revoked(visitor.peer):
                visitor.close()
        self.pairs.end("revoked", lambda each: revoked(each.client) or revoked(each.server))

    # Time, and the end.

    def deadline(self) -> float | None:
        """Tell when :meth:`timer` is to be called next; None for not before something happens."""
        wanted = [self.roll.deadline(), self.visitors.deadline(), self.uploads.deadline()]
        wanted.append(self.opening.deadline())
        if self.pool.restless:
            wanted.append(self._ticked + _TICK)
        if self.pairs:
            wanted.append(self._checked + CHECK_INTERVAL)
        return min((at for at in wanted if at is not None), default=None)

    def timer(self, now: float) -> None:
        """Do what is due."""
        self.roll.timer(now)
        for visitor in self.visitors.take_due(now):
            visitor.expired()
        for visitor in self.opening.take_due(now):
            visitor.slow()
        for upload in self.uploads.take_due(now):
            upload.expired()
        if now >= self._ticked + _TICK:
            self._ticked = now
            for leg in self.pool.tick(now):
                leg.close()
            self._tell_presence()
            self.admission.forget_old(now)
        if now >= self._checked + CHECK_INTERVAL:
            self._checked = now
            self.pairs.check(now)

    def drain(self) -> None:
        """Take nobody in any more; send away whoever is not joined."""
        self.draining = True
        for visitor in self.visitors:
            self.statistics.refused["draining"] += 1
            visitor.refuse(_unavailable("draining", _GOING, _AWAY).answer)
        for leg in self.roll:
            leg.move()

    def _tell_presence(self) -> None:
        """Tell others which servers have come, and which are gone."""
        arrivals, self.pool.arrivals = self.pool.arrivals, []
        departures, self.pool.departures = self.pool.departures, []
        for server in departures:
            self.presence.left(server)
        for server in arrivals:
            self.presence.arrived(server)


def _unavailable(reason: str, sentence: str, after: float) -> Refused:
    return Refused(RelayAnswer(503, reason=reason, retry_after=after, sentence=sentence), reason)


def _quota(whose: str) -> Refused:
    if whose == "relay":
        return _unavailable("full", "this relay has no room for more.", _FULL)
    sentence = f"your {whose} has as many connections here as it may have."
    answer = RelayAnswer(429, reason=f"{whose}-quota", retry_after=_FULL, sentence=sentence)
    return Refused(answer, f"{whose}-quota")
