"""Presence among relays that share a store.

Clients of servers that are at this relay never wait for the store: it is asked for others only, and
not for long.  While it is away this relay knows of no other one, and says so.
"""

import random as _random
from collections.abc import Callable
from typing import NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.errors import SettingsError
from wavesync.identity.ids import Target
from wavesync.relay.presence import IPresence, NotKnown
from wavesync.relay.presence_ledger import Ledger
from wavesync.relay.presence_store import MAX_FOUND, SharedStore, StoreError
from wavesync.signalling.relay_urls import Relay, parse_relay

__all__ = [
    "ANSWER_TIME",
    "BEAT",
    "CONNECT_TIME",
    "LASTING",
    "LONGEST_PAUSE",
    "LOOKUP_TIME",
    "MAX_LOOKUPS",
    "SHORTEST_PAUSE",
    "SharedPresence",
]

BEAT = 1.5
"""Seconds between signs of life."""

CONNECT_TIME = 2.0
"""Seconds that connecting to the store may take."""

ANSWER_TIME = 2.0
"""Seconds that the store may take for an answer, before the connection is given up."""

LOOKUP_TIME = 0.3
"""Seconds that a client waits for what the store knows."""

MAX_LOOKUPS = 1000
"""Clients that wait for the store; for one more it is not asked."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
"""Seconds between attempts to connect: doubled each time, shortened by up to half at random."""

LASTING = 10.0
"""Seconds after which a connection has worked: the next pause is short again."""

_DOUBLINGS = 10
_T = TypeVar("_T")


@implementer(IPresence)
class SharedPresence:
    """One relay's part of it.

    :param clock: gives the time and timers.
    :param relay: where others find this relay.
    :param where: what to call the store in the log.
    :param connect: opens a connection to the store; fails with
        :class:`~wavesync.relay.presence_store.StoreError`.
    :param random: gives that many unpredictable bytes.
    :param chance: gives a number from 0 to 1.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        relay: Relay,
        where: str,
        connect: Callable[[], Deferred[SharedStore]],
        *,
        random: Callable[[int], bytes],
        chance: Callable[[], float] = _random.random,
    ) -> None:
        self._clock = clock
        self._relay = relay
        self._url = str(relay)
        self._where = where
        self._connect = connect
        self._random = random
        self._chance = chance
        self._ledger = Ledger()
        self._life = ""
        self._store: SharedStore | None = None
        self._usable = False
        self._looking = 0
        self._keeping: Deferred[None] | None = None
        self._sleeping: Deferred[None] | None = None
        self._running = False
        self._works: bool | None = None
        self._warned = False

    # IPresence.

    @property
    def reachable(self) -> bool:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        return self._usable

    @property
    def shown(self) -> int:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        return self._ledger.told if self._usable else 0

    def start(self) -> None:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        if not self._running:
            self._running = True
            self._ledger = Ledger()
            self._keeping = Deferred.fromCoroutine(self._keep())
            self._keeping.addErrback(self._broke)

    def arrived(self, server: Target) -> None:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        self._ledger.arrived(server)
        self._wake()

    def left(self, server: Target) -> None:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        self._ledger.left(server)
        self._wake()

    def find(self, server: Target) -> Deferred[Relay | None]:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        store = self._store
        if store is None or not self._usable or self._looking >= MAX_LOOKUPS:
            return fail(NotKnown())
        self._looking += 1
        asked = store.find(str(server), self._url)
        asked.addTimeout(LOOKUP_TIME, self._clock, _too_late)
        return asked.addCallbacks(self._found, self._not_found)

    def stop(self) -> Deferred[None]:
        """See :class:`~wavesync.relay.presence.IPresence`."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        keeping, self._keeping = self._keeping, None
        store, self._store = self._store, None
        usable, self._usable = self._usable, False
        self._works = None
        if keeping is not None:
            keeping.cancel()
        if store is not None:
            try:
                if usable:
                    await self._answer(store.end(self._url, self._life))
            except StoreError:
                pass  # it is known to be dead soon enough
            finally:
                store.close()

    # Looking for a server.

    def _found(self, urls: list[str]) -> Relay | None:
        self._looking -= 1
        relays: list[Relay] = []
        for url in urls[:MAX_FOUND]:
            try:
                relay = parse_relay(url)
            except SettingsError:
                continue
            if relay != self._relay:
                relays.append(relay)
        return relays[self._random(1)[0] % len(relays)] if relays else None

    def _not_found(self, failure: Failure) -> NoReturn:
        self._looking -= 1
        failure.trap(StoreError)
        raise NotKnown

    # Keeping the store up to date.

    async def _keep(self) -> None:
        """Stay connected, until cancelled."""
        failures = 0
        while True:
            store: SharedStore | None = None
            began = self._clock.seconds()
            try:
                connecting = self._connect()
                connecting.addTimeout(CONNECT_TIME, self._clock, _too_late)
                store = self._store = await connecting
                store.lost.addCallback(lambda _: self._wake())
                await self._begin(store)
                await self._tell(store)
            except CancelledError:
                return
            except StoreError as error:
                if not self._running:
                    return
                self._failed(str(error))
            self._store, self._usable = None, False
            if store is not None:
                store.close()
            if self._clock.seconds() - began > LASTING:
                failures = 0
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(failures, _DOUBLINGS))
            failures += 1
            again_at = self._clock.seconds() + pause * (1 - self._chance() / 2)
            try:
                while (left := again_at - self._clock.seconds()) > 0:
                    await self._sleep(left)
            except CancelledError:
                return

    async def _begin(self, store: SharedStore) -> None:
        """Begin a life: nothing that was told before counts."""
        self._life = self._random(8).hex()
        self._ledger.afresh()
        await self._answer(store.beat(self._url, self._life))
        self._usable = True
        if not self._works:
            self._works = True
            self.log.info("knows of other relays by {where}", where=self._where)

    async def _tell(self, store: SharedStore) -> None:
        """Tell what is to be told, until something fails."""
        beat_at = self._clock.seconds() + BEAT
        while not store.lost.called:
            now = self._clock.seconds()
            if now >= beat_at:
                beat_at = now + BEAT
                await self._beat(store)
            here, gone = self._ledger.take(now)
            if gone:
                servers = [str(each) for each in gone]
                await self._answer(store.gone(self._url, self._life, servers))
            if here:
                servers = [str(each) for each in here]
                await self._answer(store.here(self._url, self._life, servers))
            if not (here or gone):
                due = self._ledger.deadline()
                await self._sleep((beat_at if due is None else min(due, beat_at)) - now)
        raise StoreError("the connection was lost")

    async def _beat(self, store: SharedStore) -> None:
        """Give a sign of life, and see whether the store still knows what it was told."""
        before = await self._answer(store.beat(self._url, self._life))
        if before is None:
            await self._begin(store)
        elif before != self._life and not self._warned:
            self._warned = True
            self.log.warn(
                "another relay calls itself {relay}, too: clients may be sent to the wrong one",
                relay=self._relay,
            )

    def _answer(self, asked: "Deferred[_T]") -> "Deferred[_T]":
        return asked.addTimeout(ANSWER_TIME, self._clock, _too_late)

    def _failed(self, why: str) -> None:
        """Say so, once."""
        if self._works is not False:
            self._works = False
            self.log.warn(
                "{where} does not work, so clients are sent to no other relay: {why}",
                where=self._where,
                why=why.rstrip("."),
            )

    def _broke(self, failure: Failure) -> None:
        self.log.failure("presence has stopped", failure)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until there is something to do, or for so long."""
        if seconds <= 0:
            return
        sleeping = self._sleeping = Deferred()
        alarm = self._clock.callLater(seconds, self._wake)
        try:
            await sleeping
        finally:
            self._sleeping = None
            if alarm.active():
                alarm.cancel()

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None:
            sleeping.callback(None)


def _too_late(_: object, seconds: float) -> NoReturn:
    raise StoreError(f"no answer within {seconds:g} s")
