"""Whether a server that mediators do not introduce may be taken all the same (docs/connecting).

A mediator that was restarted a moment ago does not know the servers that come back to it: but neither
does any mediator know a server that was revoked.  What tells the two apart is the system's signature
on a revocation list, and which list the mediator judges by.
"""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.client.revoking import RevocationWatch
from wavesync.errors import ConnectFailed
from wavesync.identity.verify import VerificationError
from wavesync.session.client import ClientSession
from wavesync.signalling.crl_transfer import NeverAny, NoList
from wavesync.signalling.urls import Mediator

__all__ = ["CLEAR_TIMEOUT", "Clearing"]

CLEAR_TIMEOUT = 1.5
"""Seconds in which all mediators have to show their lists."""


class Clearing:
    """Has mediators show the revocation lists by which they judge.

    :param watch: fetches lists, and keeps them.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, watch: RevocationWatch) -> None:
        self._clock = clock
        self._watch = watch

    def clear(
        self, mediators: Sequence[Mediator], session: ClientSession
    ) -> Deferred[ClientSession]:
        """Find out whether a verified server may be taken.

        :param mediators: all that said that it is not online.
        :returns: fires with the session when each of them has shown a list that is not older than
            ours, or knows that there is none, and none names the server.  Fails with
            :class:`ConnectFailed`, whose sentence goes on after "it can be reached, but".  When it fails
            or is cancelled the session is closed.
        """

        def too_late(result: object, seconds: float) -> Failure:
            return Failure(
                ConnectFailed(f"the mediator {mediators[0]} shows no revocation list in time")
            )

        def closed(failure: Failure) -> Failure:
            session.close()
            return failure

        clearing = Deferred.fromCoroutine(self._clear(mediators, session))
        clearing.addTimeout(CLEAR_TIMEOUT, self._clock, too_late)
        return clearing.addErrback(closed)

    async def _clear(self, mediators: Sequence[Mediator], session: ClientSession) -> ClientSession:
        revocations = self._watch.revocations
        for mediator in mediators:
            await self._shown(mediator)
        peer = session.peer
        if peer is None or revocations.revoked(peer.serial):
            raise ConnectFailed("its credentials were revoked")
        if session.lost:
            raise ConnectFailed("the connection was lost")
        self.log.debug(
            "{server} is not online, and not revoked by list {number}: it is taken",
            server=peer.text,
            number=revocations.number,
        )
        self._watch.check_soon()
        return session

    async def _shown(self, mediator: Mediator) -> None:
        """Take the list that a mediator judges by.

        :raises ConnectFailed: it shows none, or an older one than ours.
        """
        revocations = self._watch.revocations
        known = f"number {revocations.number}, which is known here"
        try:
            revocations.offer(await self._watch.current(mediator))
        except NeverAny:
            if revocations.number:
                raise ConnectFailed(
                    f"the mediator {mediator} has forgotten the revocation list {known}"
                ) from None
        except NoList:
            what = (
                "no revocation list"
                if not revocations.number
                else f"not the revocation list {known}"
            )
            raise ConnectFailed(
                f"the mediator {mediator} has {what}: whether it was revoked is not known"
            ) from None
        except (ConnectFailed, VerificationError) as error:
            why = str(error).rstrip(".")
            raise ConnectFailed(
                f"the mediator {mediator} shows no revocation list that counts: {why}"
            ) from error
