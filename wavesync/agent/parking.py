"""One relay as the agent sees it: enough connections parked there, each replaced when it is taken."""

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wavesync.agent.parked import ParkedLeg
from wavesync.agent.parking_waits import ParkingWaits
from wavesync.agent.relay_ranking import smoothed
from wavesync.agent.troubles import Troubles
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_lines import Idle, Move, Open
from wavesync.signalling.relay_urls import Relay
from wavesync.stun.buckets import SourceBuckets
from wavesync.tunnel.endpoint import AnyWayEndpoint

__all__ = [
    "DIALS_AT_ONCE",
    "DIALS_A_SECOND",
    "GIVE_UP",
    "MAX_IDLE",
    "MAX_REPEATS",
    "MIN_IDLE",
    "NONCE_LIFE",
    "STEADY",
    "Parking",
    "Taken",
]

MIN_IDLE = 7
"""Connections that are parked at least, however few a relay wants."""

MAX_IDLE = 64
"""The same at most, however many it wants and however many clients wait."""

MAX_REPEATS = 2
"""Times in a row that a request is signed again because the relay wants its newest nonce in it."""

NONCE_LIFE = 45.0
"""Seconds for which a nonce is used again: a wrong clock would cost a round trip each time."""

STEADY = 5.0
"""Seconds that a connection has to stay parked to count as a success."""

GIVE_UP = 5.0
"""Seconds without any connection parked after which clients are not sent to the relay any more."""

DIALS_A_SECOND, DIALS_AT_ONCE = 120.0, 500.0
"""Connections to one relay that are begun, on average and at once: each costs a signature, and a lying
relay may use them up as fast as they come."""

_DIAL_AGAIN = 0.1

Taken: TypeAlias = tuple[IProtocol, IAddress] | None
"""What speaks with a client, and the client's address; ``None`` for one that is turned away."""


class Parking:
    """Keeps connections parked at one relay.

    :param clock: gives the time and timers.
    :param endpoint: leads to the relay.
    :param request: signs a request to park over a nonce, which may be empty.
    :param take: takes a client.
    :param changed: called when :attr:`usable` or the list number may have changed.
    :ivar round_trip: seconds to the relay and back; 0.0 before the first answer.
    :ivar revocations: number of the revocation list that the relay said it has; ``None`` before.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        relay: Relay,
        endpoint: IStreamClientEndpoint,
        request: Callable[[bytes], bytes],
        take: Callable[[Open], Taken],
        changed: Callable[[], None],
        *,
        waits: ParkingWaits | None = None,
    ) -> None:
        self.relay = relay
        self.round_trip = 0.0
        self.revocations: int | None = None
        self._clock = clock
        self._endpoint = endpoint
        self._request = request
        self._take = take
        self._changed = changed
        self._waits = waits if waits is not None else ParkingWaits()
        self._running = False
        self._idle: dict[ParkedLeg, None] = {}
        self._doubted: dict[ParkedLeg, None] = {}
        self._asking: dict[ParkedLeg, bytes] = {}  # with the nonce that each signed over
        self._dialling: set[Deferred[IProtocol]] = set()
        self._dials = SourceBuckets(DIALS_A_SECOND, DIALS_AT_ONCE, 1)
        self._wanted, self._waiting = MIN_IDLE, 0
        self._full, self._full_until = MAX_IDLE, 0.0
        self._trusted = False  # nothing has failed since it worked
        self._trusted_since = 0.0
        self._restarted = False  # all connections were lost
        self._told = False  # it was said that this server has parked
        self._moving = self._refused = False
        self._down_since: float | None = 0.0
        self._pause: IDelayedCall | None = None
        self._later: IDelayedCall | None = None
        self._nonce, self._nonce_until = b"", 0.0
        self._repeats = 0
        self._troubles = Troubles(self.log, relay=relay)
        self._complain = self._troubles.complain

    def start(self) -> None:
        """Park."""
        self._running = True
        self._down_since = self._clock.seconds()
        self._turn()

    def stop(self) -> None:
        """Close all connections that no client has."""
        self._running = False
        self._stop_pause()
        if self._later is not None and self._later.active():
            self._later.cancel()
        dialling, self._dialling = self._dialling, set()
        for each in dialling:
            each.cancel()
        legs = [*self._asking, *self._idle, *self._doubted]
        for known in (self._asking, self._idle, self._doubted):
            known.clear()
        for leg in legs:
            leg.abandon()

    def doubt(self) -> None:
        """The network has changed, connections may be dead without anybody knowing; or better ones can be had.

        Others are parked in their place; a client who comes over an old one all the same is served.
        """
        self._doubted.update(self._idle)
        self._idle.clear()
        self._note_down()
        self._turn()

    @property
    def idle(self) -> int:
        """How many connections are parked."""
        return len(self._idle)

    @property
    def usable(self) -> bool:
        """Whether a client that comes now finds this server here, or will in a moment."""
        if self._moving or self._refused:
            return False
        since = self._down_since
        return since is None or (self.round_trip > 0 and self._clock.seconds() < since + GIVE_UP)

    @property
    def hopeless(self) -> bool:
        """Whether another relay had better be found for as long as this one is so."""
        if self._moving or self._refused:
            return True
        return self._down_since is not None and self._clock.seconds() >= self._down_since + GIVE_UP

    # What the legs tell.

    def leg_request(self, leg: ParkedLeg) -> bytes:
        """A connection stands: give the request to park."""
        nonce = self._nonce if self._clock.seconds() < self._nonce_until else b""
        self._asking[leg] = nonce
        return self._request(nonce)

    def leg_parked(self, leg: ParkedLeg, answer: RelayAnswer, round_trip: float) -> None:
        """The relay took the connection."""
        assert answer.parking is not None
        if self._doubted:
            self._doubted.popitem()[0].abandon()
        self._asking.pop(leg, None)
        self._idle[leg] = None
        self._repeats = 0
        self._wanted, self._waiting = answer.parking.wanted, answer.parking.waiting
        self.revocations = answer.parking.revocations
        self._down_since, self._moving, self._refused = None, False, False
        self.round_trip = smoothed(self.round_trip, round_trip)
        recovered = not self._trusted
        if recovered:
            self._trusted, self._trusted_since = True, self._clock.seconds()
        if not self._told:
            self._told = True
            self._troubles.clear()
            self.log.info(
                "parked at the relay {relay}, {ms} ms away",
                relay=self.relay,
                ms=round(self.round_trip * 1000),
            )
        if recovered and self._restarted and not self._waiting:
            self._pause_for(self._waits.fill())
        self._restarted = False
        self._changed()
        self._turn()

    def leg_refused(self, leg: ParkedLeg, answer: RelayAnswer) -> None:
        """The relay did not take the connection."""
        nonce = self._asking.pop(leg, b"")
        match answer.status:
            case 401 if answer.challenge is not None:
                self._challenged(answer, nonce)
            case 403:
                self._refuse(answer.reason or "it does not say why")
            case 409:
                self._full = len(self._idle)
                self._full_until = self._clock.seconds() + self._waits.FULL
                self._turn_in(self._waits.FULL)
            case 429 | 503:
                self._trusted = False
                why = answer.reason or f"status {answer.status}"
                self._complain("the relay {relay} takes no connection now: {why}", why)
                self._pause_for(self._waits.busy(answer.retry_after))
            case status:
                self._failed(f"it answers with status {status}")

    def leg_told(self, leg: ParkedLeg, line: Idle | Move) -> None:
        """The relay says how many connections it wants, or that it goes away."""
        if isinstance(line, Idle):
            self._wanted, self._waiting = line.wanted, line.waiting
            self._full_until = 0.0
            if self._waiting and self._trusted:
                self._stop_pause()
            self._turn()
        elif not self._moving:
            self._moving, self._restarted = True, True
            self._trusted = self._told = False
            self.log.info("the relay {relay} is going away", relay=self.relay)
            self._pause_for(self._waits.moved())
            self._changed()

    def leg_taken(self, leg: ParkedLeg, client: Open) -> Taken:
        """A client comes: another connection takes the place of this one."""
        self._idle.pop(leg, None)
        self._doubted.pop(leg, None)
        self._waiting = max(0, self._waiting - 1)
        self._waits.reset()
        self._turn()
        self._note_down()
        return self._take(client)

    def leg_over(self, leg: ParkedLeg, why: str) -> None:
        """A connection ended that no client had."""
        now = self._clock.seconds()
        if leg in self._doubted:
            del self._doubted[leg]
            return
        if leg not in self._idle:
            self._asking.pop(leg, None)
            if isinstance(self._endpoint, AnyWayEndpoint):
                why = "; ".join(dict.fromkeys(filter(None, (why, self._endpoint.ailments()))))
            self._failed(why)
            return
        del self._idle[leg]
        self._note_down()
        if self._moving:
            return
        young = leg.parked_at is not None and now < leg.parked_at + STEADY
        if young and (self._idle or now < self._trusted_since + STEADY):
            self._failed(why)
        elif self._pause is None or (self._told and not self._idle):
            # One of several is replaced; when all are lost, the relay has lost all servers'.
            self._pause_for(self._waits.LOST_TOGETHER, lambda: self._lost(why))

    # Decisions.

    def _turn(self) -> None:
        """Dial as many as are missing; where something failed, one is enough to find out."""
        if not self._running or self._pause is not None:
            return
        goal = min(max(self._wanted, MIN_IDLE) + self._waiting, MAX_IDLE)
        now = self._clock.seconds()
        if now < self._full_until:
            goal = min(goal, self._full)
            self._turn_in(self._full_until - now)
        missing = goal - len(self._idle) - self._under_way
        if not self._trusted:
            missing = min(missing, 1 - self._under_way)
        for _ in range(missing):
            if not self._dials.allow("", now):
                self._turn_in(_DIAL_AGAIN)
                return
            self._dial()

    def _turn_in(self, seconds: float) -> None:
        """Look again whether some are missing, in a while."""
        later = self._later
        if later is not None and later.active():
            if later.getTime() <= self._clock.seconds() + seconds:
                return
            later.cancel()
        self._later = self._clock.callLater(seconds, self._turn)

    @property
    def _under_way(self) -> int:
        return len(self._dialling) + len(self._asking)

    def _dial(self) -> None:
        factory = Factory.forProtocol(lambda: ParkedLeg(self._clock, self))
        factory.noisy = False
        dialling = self._endpoint.connect(factory)
        self._dialling.add(dialling)
        dialling.addCallbacks(
            lambda _: self._dialling.discard(dialling), self._unreachable, errbackArgs=(dialling,)
        )

    def _unreachable(self, failure: Failure, dialling: Deferred[IProtocol]) -> None:
        if dialling not in self._dialling:
            return
        self._dialling.discard(dialling)
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._failed(failure.getErrorMessage())

    def _challenged(self, answer: RelayAnswer, nonce: bytes) -> None:
        assert answer.challenge is not None
        if answer.challenge.name != self.relay.audience:
            name, known = answer.challenge.name, self.relay.audience
            self._refuse(f"it calls itself {name!r}, but is known here as {known!r}")
            return
        if nonce and nonce == self._nonce:
            self._repeats += 1
        self._nonce = answer.challenge.nonce
        self._nonce_until = self._clock.seconds() + NONCE_LIFE
        if self._repeats > MAX_REPEATS:
            self._repeats = 0
            self._failed("it wants every request to be signed again")
        else:
            self._turn()

    def _refuse(self, why: str) -> None:
        self._trusted = self._told = False
        self._refused = True
        self._complain(
            "the relay {relay} refuses this server: {why}",
            "its certificate was revoked" if why == "revoked" else why,
            LogLevel.error,
        )
        self._pause_for(self._waits.refused())
        self._changed()

    def _failed(self, why: str) -> None:
        """A connection could not be made, or did not last."""
        if self._trusted and self._clock.seconds() >= self._trusted_since + STEADY:
            self._waits.reset()
        self._trusted = False
        self._complain("cannot park at the relay {relay}: {why}", why)
        if self._pause is None:
            self._pause_for(self._waits.failed())

    def _lost(self, why: str) -> None:
        """A moment has passed since a connection was lost."""
        if self._idle:
            self._turn()
            return
        self._waits.reset()
        self._trusted = self._told = False
        self._restarted = True
        self._complain("lost the relay {relay}: {why}", why)
        self._pause_for(self._waits.spread())
        self._changed()

    def _note_down(self) -> None:
        if not self._idle and self._down_since is None:
            self._down_since = self._clock.seconds()

    # The one pause.

    def _pause_for(self, seconds: float, then: Callable[[], None] | None = None) -> None:
        """Dial nothing for so long; a pause that runs already is replaced."""
        self._stop_pause()
        if self._running:
            self._pause = self._clock.callLater(seconds, self._pause_over, then or self._turn)

    def _pause_over(self, then: Callable[[], None]) -> None:
        self._pause = None
        then()

    def _stop_pause(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None and pause.active():
            pause.cancel()
