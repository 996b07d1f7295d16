"""The sessions that a client makes to servers: all to one server share one TLS context."""

from collections.abc import Callable
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from wavesync.client.paths import Sessions
from wavesync.client.revoking import RevocationWatch
from wavesync.client.ways import MAX_KNOWN
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.liveness import Timing
from wavesync.session.tls import ClientTLS, client_context

__all__ = ["PART_WITHIN", "ServerSessions"]

PART_WITHIN = 1.0
"""Seconds that the paths of sessions that are over have to close before a client goes."""


class ServerSessions:
    """Makes what paths make their sessions with.

    :param credentials: the client's.
    :param watch: ends sessions with revoked servers.
    :param wall_clock: seconds since the epoch.
    """

    def __init__(
        self,
        clock: IReactorTime,
        credentials: Credentials,
        watch: RevocationWatch,
        timing: Timing,
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._watch = watch
        self._timing = timing
        self._wall_clock = wall_clock
        self._contexts: dict[str, ClientTLS] = {}
        self._verified: WeakSet[ClientSession] = WeakSet()

    def __call__(self, server: Target) -> Sessions:
        """Make what makes the sessions of one server's paths; they share a context, made with the first."""

        def make() -> tuple[IProtocolFactory, Deferred[ClientSession]]:
            factory, ready = connect_session(
                self._credentials,
                server,
                self._clock,
                timing=self._timing,
                context=self._context(server),
            )
            return factory, ready.addCallback(self._watch.add).addCallback(self._keep)

        return make

    def _context(self, server: Target) -> ClientTLS:
        context = self._contexts.get(str(server))
        if context is None:
            if len(self._contexts) >= MAX_KNOWN:
                self._contexts.clear()
            context = client_context(
                self._credentials,
                server,
                wall_clock=self._wall_clock,
                revoked=self._watch.revocations.revoked,
            )
            self._contexts[str(server)] = context
        return context

    def parted(self) -> Deferred[None]:
        """Wait for the paths of sessions that are over, or about to be, for :data:`PART_WITHIN`.

        A program that ended before would have its system reset them when the server says goodbye,
        and a relay could not tell that from a client that broke down.
        """
        ends: list[Deferred[None]] = []
        for session in list(self._verified):
            if session.parting:
                gone: Deferred[None] = Deferred()
                ends.append(gone)
                session.ended.addCallback(_tell, gone)
        waiting = DeferredList(ends, consumeErrors=True)
        return waiting.addTimeout(PART_WITHIN, self._clock).addBoth(lambda _: None)

    def _keep(self, session: ClientSession) -> ClientSession:
        self._verified.add(session)
        return session


def _tell(silent: bool, gone: Deferred[None]) -> bool:
    gone.callback(None)
    return silent
