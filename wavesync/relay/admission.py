"""Whose request is it, and may they? The answer is a checked proof, or the answer to refuse it with."""

from collections.abc import Callable, Collection
from math import floor

from wavesync.identity.lists import LIST_SHARE
from wavesync.identity.nonces import Nonces
from wavesync.identity.proofs import CheckedProof, ProofChecker, nonce_of
from wavesync.identity.replays import MAX_REPLAYS, Replays
from wavesync.identity.verify import Peer, Reason, Role, VerificationError
from wavesync.signalling.relay_answers import Challenge, RelayAnswer
from wavesync.signalling.relay_wire import RelayRequest, RequestKind
from wavesync.stun.buckets import SourceBuckets

__all__ = ["HELD_SHARE", "Admission", "Refused"]

HELD_SHARE = 0.05
"""What a proof that holds counts in its source's bucket, where others count 1: many agents and clients
may sit behind one address."""

_ROLES = {
    RequestKind.PARK: Role.SERVER,
    RequestKind.CONNECT: Role.CLIENT,
    RequestKind.REVOKE: Role.SERVER,
}


class Refused(Exception):
    """A request is refused.

    :ivar answer: what to send.
    :ivar reason: a short word for statistics.
    """

    def __init__(self, answer: RelayAnswer, reason: str) -> None:
        super().__init__(f"{answer.status} {reason}")
        self.answer = answer
        self.reason = reason


class Admission:
    """Checks proofs, and the operator's policy.

    :param name: this relay's name, the audience of every proof.
    :param systems: ids of the systems that may use it; ``None`` for any.
    :param random: gives random bytes, for the key of nonces.
    :param checks: how often proofs of each source are looked at.
    :param replays: proofs remembered.
    :param revoked: tells whether a system has revoked a serial number.
    :param wall: gives the date, seconds since the epoch, of a *now* that need not be one.
    :param started: since when proofs are remembered, seconds since the epoch; 0 for always.
    """

    def __init__(
        self,
        name: str,
        systems: Collection[str] | None,
        random: Callable[[int], bytes],
        *,
        checks: SourceBuckets,
        replays: int = MAX_REPLAYS,
        revoked: Callable[[str, int], bool] | None = None,
        wall: Callable[[float], float] = float,
        started: float = 0.0,
    ) -> None:
        self._name = name
        self._systems = None if systems is None else frozenset(systems)
        self._nonces = Nonces(random)
        self._checks = checks
        self._replays: Replays[None] = Replays(replays)
        self._checker = ProofChecker(revoked=revoked)
        self._wall = wall
        self._started = floor(started * 1000) / 1000  # proofs have milliseconds

    def check(self, request: RelayRequest, host: str, now: float) -> CheckedProof:
        """Check a request.

        :param host: from where it comes.
        :raises Refused: 401, 403 or 429.
        """
        if not request.proof:
            raise self._challenge(request, host, now, "no-proof")
        cost = 1.0 + request.size / LIST_SHARE  # a revocation list is read next
        if not self._checks.allow(host, now, cost):
            sentence = "too many requests from this address; try again in a second."
            raise Refused(RelayAnswer(429, retry_after=1, sentence=sentence), "source")
        date = self._wall(now)

        def nonce_ok(nonce: bytes) -> bool:
            return self._nonces.good(nonce, request.kind.purpose, host, now)

        try:
            proof = self._checker.check(
                request.proof,
                purpose=request.kind.purpose,
                audience=self._name,
                message=request.covered(),
                role=_ROLES[request.kind],
                now=date,
                nonce_ok=nonce_ok,
            )
        except VerificationError as error:
            if error.reason is Reason.STALE:
                if not nonce_of(request.proof):
                    self._checks.allow(host, now, -cost)  # it was not even looked at
                raise self._challenge(request, host, now, "stale") from None
            raise _forbidden(error.reason, str(error)) from None
        self._allow(request, proof.peer)
        if self._replays.find(proof.digest) is not None:
            raise self._challenge(request, host, now, "replay")
        if proof.time < self._started and not nonce_ok(proof.nonce):
            raise self._challenge(request, host, now, "stale")  # it may have been used before
        if self._replays.full(now) and not nonce_ok(proof.nonce):
            raise self._challenge(request, host, now, "replays-full")
        self._replays.add(proof.digest, host, None, now)
        # What a good one has cost is given back, but for its share.
        self._checks.allow(host, now, -cost * (1.0 - HELD_SHARE))
        return proof

    def forget_old(self, now: float) -> None:
        """Forget proofs that are too old to come again."""
        self._replays.forget_old(now)

    @property
    def remembered(self) -> int:
        """Count the proofs that are remembered."""
        return len(self._replays)

    def _allow(self, request: RelayRequest, peer: Peer) -> None:
        """Ask the policy: whom may this peer speak for, or reach?"""
        target = request.target
        if target is not None:
            own = request.kind is RequestKind.PARK
            if peer.system != target.system or (own and peer.server != target.server):
                raise _forbidden(Reason.OTHER_SYSTEM, "that server is none of yours.")
        if self._systems is not None and peer.system not in self._systems:
            raise _forbidden("not-served", "this relay does not serve your system.")

    def _challenge(self, request: RelayRequest, host: str, now: float, why: str) -> Refused:
        nonce = self._nonces.make(request.kind.purpose, host, now)
        challenge = Challenge(nonce, self._wall(now), self._name)
        sentence = "sign the request again, with the nonce of this answer."
        return Refused(RelayAnswer(401, challenge=challenge, sentence=sentence), why)


def _forbidden(reason: str, sentence: str) -> Refused:
    return Refused(RelayAnswer(403, reason=str(reason), sentence=sentence), str(reason))
