"""What a client does about revoked servers: learns of them, and ends what it has with them."""

from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.introduction import Introduction
from wavesync.errors import ConnectFailed
from wavesync.identity.revocations import LOOK_INTERVAL, Revocations
from wavesync.interfaces import IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.crl_transfer import fetch_crl
from wavesync.signalling.leg import Leg
from wavesync.signalling.urls import Mediator

__all__ = ["FETCH_TIMEOUT", "RevocationWatch"]

FETCH_TIMEOUT = 15.0
"""Seconds for a revocation list to be fetched from a mediator."""

_REVOKED = "the server's credentials were revoked"


class RevocationWatch:
    """Keeps one client's revocation list new, and its sessions in line with it.

    :param reactor: Twisted's reactor.
    :param revocations: what is known, and in which files.
    """

    log = Logger()

    def __init__(self, reactor: IReactor, revocations: Revocations) -> None:
        self.revocations = revocations
        self._reactor = reactor
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
        return session

    def introduced(self, introduction: Introduction) -> None:
        """A mediator has answered, and may have told of a newer list: fetch it meanwhile."""
        mediator = introduction.mediator
        if (
            introduction.crl_number <= self.revocations.number
            or self._fetching is not None
            or mediator.tcp_port is None
        ):
            return
        endpoint = HostnameEndpoint(
            self._reactor, mediator.host, mediator.tcp_port, timeout=FETCH_TIMEOUT
        )
        self.fetch(endpoint, mediator, introduction.connection_id)

    def fetch(
        self, endpoint: IStreamClientEndpoint, mediator: Mediator, connection_id: str
    ) -> None:
        """Fetch the list that a mediator holds.

        :param endpoint: leads to the mediator's TCP port.
        :param mediator: which one, for the log.
        :param connection_id: of a live introduction by that mediator.
        """
        fetching = self._fetching = Deferred.fromCoroutine(self._fetch(endpoint, connection_id))
        fetching.addTimeout(FETCH_TIMEOUT, self._reactor)

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
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

    async def _fetch(self, endpoint: IStreamClientEndpoint, connection_id: str) -> None:
        legs: list[Leg] = []

        def lost(leg: Leg, why: str) -> None:
            legs.clear()

        def make() -> Leg:
            leg = Leg(self._reactor, lambda leg: None, lambda message: None, lost)
            legs.append(leg)
            return leg

        factory = Factory.forProtocol(make)
        factory.noisy = False
        connecting: Deferred[IProtocol] = endpoint.connect(factory)
        try:
            await connecting
            if not legs:
                raise ConnectFailed("the connection to the mediator ended at once")
            self.revocations.offer(await fetch_crl(legs[0].ask, connection_id))
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
