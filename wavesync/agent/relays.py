"""The relays of an agent: which ones, and what clients and mediators are told of them."""

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.agent.parking import Parking, Taken
from wavesync.agent.parking_waits import ParkingWaits
from wavesync.agent.recording import Recorder, unrecorded
from wavesync.agent.relay_ranking import MAX_CANDIDATES, best_relays, by_relay
from wavesync.agent.relay_revoking import upload_list
from wavesync.agent.statistics import REFUSED, TAKEN, Statistics
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations
from wavesync.session.relayed import RelayedAddress
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_lines import Open
from wavesync.signalling.relay_lists import MAX_PARKED, ParkedAt, reachable
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind
from wavesync.stun.buckets import SourceBuckets
from wavesync.tunnel.watch import way_of
from wavesync.tunnel.way import Way

__all__ = [
    "CLIENTS_AT_ONCE",
    "CLIENTS_A_SECOND",
    "LOOK_INTERVAL",
    "MEASURE_INTERVAL",
    "SAME_ROUND_TRIP",
    "TELLS_AT_ONCE",
    "TELL_INTERVAL",
    "UPLOADED_AGAIN",
    "UPLOAD_AGAIN",
    "Relays",
]

LOOK_INTERVAL = 2.0
"""Seconds between looks at what has become of the relays in use."""

MEASURE_INTERVAL = 600.0
"""Seconds between measurements of all relays' round trips, up to half more or less; made only where
there are more than are used."""

MEASUREMENTS = 2
"""Connections that are made to measure one relay: the first may include the resolution of its name."""

CLIENTS_A_SECOND = 100.0
"""Clients a second that one relay may bring, on average: each costs a handshake."""

CLIENTS_AT_ONCE = 400.0
"""The same at once."""

TELL_INTERVAL, TELLS_AT_ONCE = 5.0, 10.0
"""Seconds between changes that mediators are told of, on average, and how many may follow each other at
once: a relay that comes and goes must not use up what a mediator hears of this server."""

UPLOADED_AGAIN = 5.0
"""Seconds until a relay is given a list again when it has taken one, whatever it says that it has."""

UPLOAD_AGAIN = 60.0
"""Seconds until a relay is given the revocation list again that it did not take."""

SAME_ROUND_TRIP = 0.25
"""By what part of itself, and by 5 ms, a round trip has to change for mediators to be told."""


class Relays:
    """Parks at the nearest two of all relays that are known, by one port each.

    :param clock: gives the time and timers.
    :param credentials: the server's.
    :param endpoint: makes the endpoint of a relay.
    :param sessions: makes the server side of a session.
    :param changed: called when :attr:`parked` has changed.
    :param own: relays of the agent's own settings or credentials, before all others.
    :param no_others: park at no others, whatever mediators name.
    :param wall_clock: seconds since the epoch.
    :param revocations: what this agent knows of revoked certificates; nothing when None.
    :param allow_loopback: park at loopback addresses on a mediator's word, too.
    :param chance: gives a number from 0 to 1.
    :param statistics: where to count.
    :param recorder: notes what is done about each client.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        endpoint: Callable[[Relay], IStreamClientEndpoint],
        sessions: IProtocolFactory,
        changed: Callable[[], None],
        *,
        own: Sequence[Relay] = (),
        no_others: bool = False,
        wall_clock: Callable[[], float],
        revocations: Revocations | None = None,
        allow_loopback: bool = False,
        chance: Callable[[], float] = random.random,
        statistics: Statistics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._statistics = Statistics() if statistics is None else statistics
        self._recorder = unrecorded(clock) if recorder is None else recorder
        self.parkings: dict[Relay, Parking] = {}
        self.parked: tuple[ParkedAt, ...] = ()
        """Where this server has parked, the nearest first: what mediators are told."""
        self._clock = clock
        self._credentials = credentials
        self._endpoint = endpoint
        self._sessions = sessions
        self._changed = changed
        self._own = tuple(own)
        self._no_others = no_others
        self._wall_clock = wall_clock
        if revocations is None:
            revocations = Revocations(credentials.system_key_bytes)
        self._revocations = revocations
        self._allow_loopback = allow_loopback
        self._chance = chance
        self._uploads: dict[Relay, Deferred[None]] = {}
        self._upload_again: dict[Relay, float] = {}
        self._told: dict[object, tuple[Relay, ...]] = {}
        self._round_trips: dict[Relay, float] = {}
        self._costs: dict[Relay, float] = {}
        self._measuring: set[Deferred[None]] = set()
        self._clients = SourceBuckets(CLIENTS_A_SECOND, CLIENTS_AT_ONCE, MAX_CANDIDATES)
        self._tells = SourceBuckets(1 / TELL_INTERVAL, TELLS_AT_ONCE, 1)
        self._running = False
        self._looking: IDelayedCall | None = None
        self._measure_at = 0.0

    def start(self) -> None:
        """Park."""
        self._running = True
        self._look()

    def stop(self) -> None:
        """Close all connections that no client has."""
        self._running = False
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        for running in [*self._measuring, *self._uploads.values()]:
            running.cancel()
        parkings, self.parkings = self.parkings, {}
        for parking in parkings.values():
            parking.stop()
        self.parked = ()

    def told(self, mediator: object, relays: Sequence[Relay]) -> None:
        """A mediator knows these relays; it was forgotten what it said before."""
        if self._no_others:
            return
        before = self.candidates
        self._told[mediator] = tuple(
            relay for relay in relays if reachable(relay, allow_loopback=self._allow_loopback)
        )
        if self._running and self.candidates != before:
            self._measure_at = self._clock.seconds()
            self._look()

    def doubt(self) -> None:
        """The network has changed: park anew, what is parked may be dead."""
        for parking in self.parkings.values():
            parking.doubt()

    def better(self, way: Way) -> None:
        """A better way to one of them works: park anew there, by it."""
        for relay, parking in self.parkings.items():
            if relay.url == way.url:
                parking.doubt()

    @property
    def candidates(self) -> tuple[Relay, ...]:
        """All relays that may be used: its own first."""
        known = dict.fromkeys(self._own)
        for relays in self._told.values():
            known.update(dict.fromkeys(relays))
        return tuple(known)[:MAX_CANDIDATES]

    # Which ones.

    def _look(self) -> None:
        """Look at what has become of all of them."""
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._looking = self._clock.callLater(LOOK_INTERVAL, self._look)
        candidates = self.candidates
        if len(candidates) <= MAX_PARKED and len(by_relay(candidates)) == len(candidates):
            self._use(candidates)
        elif self._clock.seconds() >= self._measure_at:
            self._measure(candidates)
        else:
            self._choose()
        self._note()
        self.revocations_changed()

    def _choose(self) -> None:
        for relay, parking in self.parkings.items():
            if parking.round_trip:
                # A request takes the relay some time, which a mere connection does not.
                measured = self._round_trips.get(relay, parking.round_trip)
                self._round_trips[relay] = min(measured, parking.round_trip)
        hopeless = [relay for relay, parking in self.parkings.items() if parking.hopeless]
        self._use(
            best_relays(self.candidates, self._round_trips, self.parkings, hopeless, self._costs)
        )

    def _use(self, relays: Sequence[Relay]) -> None:
        """Park at these and no others."""
        for relay in list(self.parkings):
            if relay not in relays:
                self.log.info("parks at the relay {relay} no more", relay=relay)
                self.parkings.pop(relay).stop()
        for relay in relays:
            if relay not in self.parkings:
                parking = self.parkings[relay] = Parking(
                    self._clock,
                    relay,
                    self._endpoint(relay),
                    partial(self._request, relay),
                    partial(self._take, relay),
                    self._happened,
                    waits=ParkingWaits(self._chance),
                )
                parking.start()

    def _happened(self) -> None:
        """Something is different at one of them."""
        if not self._running:
            return
        if len(self.candidates) > len(self.parkings) and any(
            parking.hopeless for parking in self.parkings.values()
        ):
            self._choose()
        self._note()
        self.revocations_changed()

    def _note(self) -> None:
        """Have the mediators told where clients find this server, if that has changed."""
        before = dict(self.parked)
        usable = [
            ParkedAt(relay, _told(parking.round_trip, before.get(relay, 0.0)))
            for relay, parking in self.parkings.items()
            if parking.usable
        ]
        parked = tuple(sorted(usable, key=lambda each: each.round_trip)[:MAX_PARKED])
        if parked != self.parked and self._tells.allow("", self._clock.seconds()):
            self.parked = parked
            self._changed()

    # How far they are.

    def _measure(self, relays: Sequence[Relay]) -> None:
        """Find out all round trips."""
        if self._measuring:
            return
        self._measure_at = self._clock.seconds() + MEASURE_INTERVAL * (0.5 + self._chance())
        for relay in relays:
            measuring = Deferred.fromCoroutine(self._measured(relay))
            self._measuring.add(measuring)
            measuring.addErrback(self._not_measured, relay)
            measuring.addCallback(self._one_less, measuring)

    async def _measured(self, relay: Relay) -> None:
        """Measure one: by the time that a connection takes."""
        factory = Factory.forProtocol(_Knock)
        factory.noisy = False
        found: list[float] = []
        for _ in range(MEASUREMENTS):
            began = self._clock.seconds()
            protocol: IProtocol = await self._endpoint(relay).connect(factory)
            found.append(max(self._clock.seconds() - began, 1e-6))
            way = way_of(cast(_Knock, protocol).transport)
            self._costs[relay] = 0.0 if way is None else way.cost
            cast(_Knock, protocol).transport.loseConnection()  # type: ignore[union-attr]
        self._round_trips[relay] = min(found)

    def _not_measured(self, failure: Failure, relay: Relay) -> None:
        if failure.check(CancelledError) is None:
            self._round_trips.pop(relay, None)
            self.log.debug(
                "the relay {relay} cannot be reached: {why}",
                relay=relay,
                why=failure.getErrorMessage(),
            )

    def _one_less(self, _: None, measuring: Deferred[None]) -> None:
        self._measuring.discard(measuring)
        if self._running and (len(self._round_trips) >= MAX_PARKED or not self._measuring):
            self._choose()

    # What is revoked.

    def revocations_changed(self) -> None:
        """Hand the revocation list to relays in use that have an older one."""
        number, now = self._revocations.number, self._clock.seconds()
        for relay, parking in self.parkings.items():
            older = parking.revocations is not None and parking.revocations < number
            if older and relay not in self._uploads and now >= self._upload_again.get(relay, now):
                self._upload_again[relay] = now + UPLOAD_AGAIN
                upload = self._uploads[relay] = Deferred.fromCoroutine(
                    upload_list(
                        self._clock,
                        relay,
                        self._endpoint(relay),
                        self._credentials,
                        self._revocations.der,
                        wall_clock=self._wall_clock,
                    )
                )
                upload.addCallbacks(
                    self._uploaded,
                    self._not_uploaded,
                    callbackArgs=(parking, number),
                    errbackArgs=(relay,),
                )
                upload.addCallback(self._upload_over, relay)

    def _uploaded(self, _: None, parking: Parking, number: int) -> None:
        parking.revocations = number  # until it says otherwise: after a restart
        self._upload_again[parking.relay] = self._clock.seconds() + UPLOADED_AGAIN

    def _not_uploaded(self, failure: Failure, relay: Relay) -> None:
        if failure.check(CancelledError) is None:
            self.log.warn(
                "no revocation list to the relay {relay}: {why}",
                relay=relay,
                why=failure.getErrorMessage(),
            )

    def _upload_over(self, _: None, relay: Relay) -> None:
        del self._uploads[relay]
        if self._running:
            self.revocations_changed()  # it may have changed meanwhile

    # What each parking needs.

    def _request(self, relay: Relay, nonce: bytes) -> bytes:
        request = RelayRequest(
            RequestKind.PARK,
            self._credentials.target,
            os.urandom(16).hex(),
            revocations=self._revocations.number,
        )
        prover = Prover(self._credentials, relay.audience, self._wall_clock(), nonce)
        return request.encode(relay, prover)

    def _take(self, relay: Relay, client: Open) -> Taken:
        """A client comes over *relay*."""
        host, port = client.source
        address = RelayedAddress(host, port, str(relay))
        session = None
        if self._clients.allow(str(relay), self._clock.seconds()):
            self._recorder.relayed(
                client.connection, client.client, self._credentials.system, address
            )
            session = self._sessions.buildProtocol(address)
        self._statistics.relayed[REFUSED if session is None else TAKEN] += 1
        return None if session is None else (session, address)


class _Knock(Protocol):
    """A connection that is made to see how long that takes."""


def _told(round_trip: float, before: float) -> float:
    """Return what is to be told: the same as before where that is still about right."""
    close = abs(round_trip - before) <= max(SAME_ROUND_TRIP * before, 0.005)
    return before if before and close else max(round(round_trip, 3), 0.001)
