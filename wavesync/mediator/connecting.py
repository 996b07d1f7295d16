"""``connect``: from a client's request to its answer, the same however often it is asked."""

from functools import partial
from math import floor
from typing import TypeAlias

from wavesync.identity.proofs import CheckedProof
from wavesync.identity.replays import Replays
from wavesync.mediator.admission import Admission, Refused
from wavesync.mediator.introducing import Introduction, Way
from wavesync.mediator.introductions import Introductions
from wavesync.mediator.registry import IRegistry
from wavesync.mediator.revoking import Revoking
from wavesync.mediator.settings import Limits
from wavesync.mediator.statistics import Statistics
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.introducing import Connect
from wavesync.signalling.numbers import ErrorCode, Purpose
from wavesync.signalling.refusals import Refusal
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.message import Message

__all__ = ["Connecting"]

_Outcome: TypeAlias = Introduction | ErrorCode


class Connecting:
    """Answers ``connect``.

    :param admission: checks proofs and policy.
    :param registry: who is registered.
    :param introductions: the table of introductions.
    :param statistics: where to count.
    :param limits: how many proofs to remember, how often a client and a server may be asked for.
    :param revoking: knows the newest revocation list of each system.
    :param started: since when proofs are remembered, seconds since the epoch; 0 for always.
    :ivar replays: the proofs remembered.
    """

    def __init__(
        self,
        admission: Admission,
        registry: IRegistry,
        introductions: Introductions,
        statistics: Statistics,
        limits: Limits,
        revoking: Revoking,
        started: float = 0.0,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._introductions = introductions
        self._statistics = statistics
        self._revoking = revoking
        self._started = floor(started * 1000) / 1000  # proofs have milliseconds
        self.replays: Replays[_Outcome] = Replays(limits.replays)
        self._clients = SourceBuckets(limits.client_rate, limits.client_burst)
        self._targets = SourceBuckets(limits.target_rate, limits.target_burst)

    def receive(self, message: Message, way: Way, now: float) -> bytes:
        """Return the answer to a request that came over *way*."""
        try:
            outcome = self._decide(message, way, now)
        except Refused as refused:
            return self._refuse(message, refused.refusal)
        if isinstance(outcome, Introduction):
            return outcome.answer(message.transaction_id, way.source)
        return self._refuse(message, Refusal(outcome))

    def _refuse(self, message: Message, refusal: Refusal) -> bytes:
        self._statistics.refused[refusal.code] += 1
        return refusal.encode(message.method, message.transaction_id)

    def _decide(self, message: Message, way: Way, now: float) -> _Outcome:
        """Decide what a request leads to.

        Nothing is looked up, and nothing remembered, before the proof holds and its system is the
        target's: who has no proof for a system learns nothing about it.
        """
        try:
            request = Connect.decode(message)
        except SignallingError:
            return ErrorCode.BAD_REQUEST
        host = way.source[0]
        proof = self._admission.check(
            message,
            Purpose.CONNECT,
            host,
            now,
            spoofable=not way.reliable,
            afford=way.afford,
        )
        system = request.target.system
        if proof.peer.system != system or not self._admission.allows(system):
            return ErrorCode.NOT_FOUND
        seen = self.replays.find(proof.digest)
        if seen is not None:
            if seen.host != host:
                raise Refused(self._sign_again(host, now))
            if isinstance(seen.outcome, Introduction):
                seen.outcome.admit(way, now)
            return seen.outcome
        own = self._admission.nonce_good(proof.nonce, Purpose.CONNECT, host, now)
        # Whoever has no NONCE of ours may have written any address as its source.
        crowded = self._introductions.crowded and not way.reliable
        forgotten = proof.time < self._started or self.replays.full(now)
        if (forgotten or crowded) and not own:
            raise Refused(self._sign_again(host, now))
        outcome = self._outcome(request, proof, message, way, now)
        self.replays.add(proof.digest, host, outcome, now)
        return outcome

    def _sign_again(self, host: str, now: float) -> Refusal:
        return self._admission.challenge(ErrorCode.STALE_NONCE, Purpose.CONNECT, host, now)

    def _outcome(
        self, request: Connect, proof: CheckedProof, message: Message, way: Way, now: float
    ) -> _Outcome:
        """Find the introduction of a proof not seen before, or begin one."""
        fingerprint = proof.peer.fingerprint
        known = self._introductions.find(request.connection_id)
        if known is not None:
            if known.fingerprint != fingerprint:
                return ErrorCode.BAD_REQUEST
            known.admit(way, now)
            return known
        if not self._clients.allow_key(fingerprint, now):
            return ErrorCode.QUOTA_REACHED
        if not self._targets.allow_key(str(request.target).encode(), now):
            return ErrorCode.QUOTA_REACHED
        registration = self._registry.choose(request.target)
        if registration is None:
            return ErrorCode.NOT_FOUND
        if self._introductions.full:
            return ErrorCode.INSUFFICIENT_CAPACITY
        if not self._introductions.room(way.source[0], registration.server.system):
            return ErrorCode.QUOTA_REACHED
        return self._introductions.begin(
            request.connection_id,
            fingerprint,
            proof.peer.text,
            registration,
            message.raw,
            way,
            now,
            news=partial(self._revoking.news, request.target.system, request.crl_number),
        )
