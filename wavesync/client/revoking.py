"""What a client does about revoked servers: learns of them, and ends what it has with them."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import random as random_fraction
from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.introduction import Introduction
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations
from wavesync.interfaces import IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.crl_transfer import fetch_crl
from wavesync.signalling.leg import Leg
from wavesync.signalling.proved import Prover
from wavesync.signalling.urls import Mediator

__all__ = ["CHECK_INTERVAL", "FETCH_TIMEOUT", "SOON", "RevocationWatch"]

CHECK_INTERVAL = 240.0
"""Seconds, half more or less, after which a client that has sessions and was not introduced meanwhile
asks a mediator for a newer list."""

SOON = 20.0
"""Seconds, half more or less, after which a newer list is asked for where a mediator may not have had
the newest: its agents have ten to come back."""

FETCH_TIMEOUT = 15.0
"""Seconds for a revocation list to be fetched from a mediator."""

_REVOKED = "the server's credentials were revoked"


class RevocationWatch:
    """Keeps one client's revocation list new, and its sessions in line with it.

    :param reactor: Twisted's reactor.
    :param revocations: what is known, and in which files.
    :param credentials: the client's.
    :param mediators: whom to ask now and then, in turn.
    :param wall_clock: seconds since the epoch.
    :param endpoint: leads to a mediator; to its TCP port, by its host's name, when None.
    :param random: gives a number from 0 to 1.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        revocations: Revocations,
        credentials: Credentials,
        mediators: Sequence[Mediator],
        wall_clock: Callable[[], float],
        *,
        endpoint: Callable[[Mediator], IStreamClientEndpoint | None] | None = None,
        random: Callable[[], float] = random_fraction,
    ) -> None:
        self.revocations = revocations
        self._reactor = reactor
        self._mediators = deque(each for each in mediators if each.streams)
        self._credentials = credentials
        self._wall_clock = wall_clock
        self._endpoint = endpoint if endpoint is not None else self._by_name
        self._random = random
        self._timer: IDelayedCall | None = None
        self._closed = False
        self._sessions: WeakSet[ClientSession] = WeakSet()
        self._fetching: Deferred[None] | None = None
        self._looking = LoopingCall(revocations.look)
        self._looking.clock = reactor
        if revocations.has_files:
            self._looking.start(LOOK_INTERVAL, now=False)
        revocations.changed.append(self._changed)

    def add(self, session: ClientSession) -> ClientSession:
        """Watch a verified session from now on; gives it back."""
        self._sessions.add(session)
        if self._timer is None:
            self._wait()
        return session

    def introduced(self, introduction: Introduction) -> None:
        """A mediator has answered, and may have told of a newer list: fetch it meanwhile."""
        mediator = introduction.mediator
        if self._timer is not None:
            self._timer.cancel()
            self._wait()
        if (
            introduction.crl_number <= self.revocations.number
            or self._fetching is not None
            or not mediator.streams
        ):
            return
        self.fetch(mediator, introduction.connection_id)

    def fetch(self, mediator: Mediator, connection_id: str = "") -> None:
        """Fetch the list that a mediator holds, if it is newer.

        :param connection_id: of a live introduction by that mediator; empty to sign the request.
        """
        fetching = self._fetching = Deferred.fromCoroutine(self._fetch(mediator, connection_id))
        fetching.addTimeout(FETCH_TIMEOUT, self._reactor)

        def failed(failure: Failure) -> None:
            if not connection_id:
                why = failure.getErrorMessage()
                self.log.debug("no newer list from {mediator}: {why}", mediator=mediator, why=why)
            elif not failure.check(CancelledError):
                self.log.warn(
                    "no revocation list from {mediator}: {why}",
                    mediator=mediator,
                    why=failure.getErrorMessage(),
                )

        def over(_: object) -> None:
            self._fetching = None

        fetching.addErrback(failed).addBoth(over)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._looking.running:
            self._looking.stop()
        if self._changed in self.revocations.changed:
            self.revocations.changed.remove(self._changed)
        if self._fetching is not None:
            self._fetching.cancel()
        self._closed = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _wait(self, seconds: float = CHECK_INTERVAL) -> None:
        """Set the timer for the next check, half more or less."""
        self._timer = None
        if self._mediators and not self._closed:
            self._timer = self._reactor.callLater(seconds * (0.5 + self._random()), self._check)

    def check(self) -> None:
        """Ask for a newer list now: there is a session that may have to end."""
        if not self._closed:
            if self._timer is not None:
                self._timer.cancel()
            self._check()

    def check_soon(self) -> None:
        """Ask for a newer list when the agents have come back to a mediator that was restarted."""
        if self._timer is not None:
            self._timer.cancel()
            self._wait(SOON)

    def _check(self) -> None:
        """Ask the next mediator, for as long as there is a session that a list could end."""
        self._timer = None
        if not self._mediators:
            return
        if all(session.lost for session in self._sessions):
            return
        if self._fetching is None:
            self.fetch(self._mediators[0])
            self._mediators.rotate(-1)
        self._wait()

    def _by_name(self, mediator: Mediator) -> IStreamClientEndpoint | None:
        if mediator.tcp_port is None:
            return None
        return HostnameEndpoint(
            self._reactor, mediator.host, mediator.tcp_port, timeout=FETCH_TIMEOUT
        )

    def _prover(self, mediator: Mediator, nonce: bytes) -> Prover:
        return Prover(self._credentials, mediator.audience, self._wall_clock(), nonce)

    def current(self, mediator: Mediator) -> Deferred[bytes]:
        """Ask a mediator for the list that it holds, be it newer than ours or the same.

        :returns: fires with a list that is not looked at yet; fails with
            :class:`~wavesync.signalling.crl_transfer.NoList` where it has none, or an older one, with
            another :class:`ConnectFailed` where it cannot be asked.
        """
        if not mediator.streams:
            return fail(ConnectFailed("it can be asked over UDP only"))
        return Deferred.fromCoroutine(self._ask(mediator, "", max(self.revocations.number - 1, 0)))

    async def _fetch(self, mediator: Mediator, connection_id: str) -> None:
        number = self.revocations.number
        self.revocations.offer(await self._ask(mediator, connection_id, number))

    async def _ask(self, mediator: Mediator, connection_id: str, number: int) -> bytes:
        legs: list[Leg] = []

        def lost(leg: Leg, why: str) -> None:
            legs.clear()

        def make() -> Leg:
            leg = Leg(self._reactor, lambda leg: None, lambda message: None, lost)
            legs.append(leg)
            return leg

        factory = Factory.forProtocol(make)
        factory.noisy = False
        endpoint = self._endpoint(mediator)
        if endpoint is None:
            raise ConnectFailed("it can be asked over UDP only")
        connecting: Deferred[IProtocol] = endpoint.connect(factory)
        try:
            await connecting
            if not legs:
                raise ConnectFailed("the connection to the mediator ended at once")
            prove = None if connection_id else partial(self._prover, mediator)
            return await fetch_crl(legs[0].ask, connection_id, number=number, prove=prove)
        finally:
            for leg in legs:
                leg.abandon()

    def _changed(self) -> None:
        """A newer list: sessions with whom it names end."""
        for session in list(self._sessions):
            peer = session.peer
            if peer is not None and not session.lost and self.revocations.revoked(peer.serial):
                self.log.warn("ending a session with {server}: it was revoked", server=peer.text)
                session.turn_out(_REVOKED)
