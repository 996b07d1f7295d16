"""Whose request is it, and may they? The answer is a checked proof, or the refusal to send."""

from collections.abc import Callable, Collection
from typing import TypeAlias

from wavesync.identity.nonces import Nonces
from wavesync.identity.proofs import CheckedProof, ProofChecker, nonce_of
from wavesync.identity.verify import Reason, Role, VerificationError
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import ErrorCode, Purpose
from wavesync.signalling.proved import covered
from wavesync.signalling.refusals import Refusal
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.message import Message

__all__ = [
    "STREAM_PROOF_BURST",
    "STREAM_PROOF_RATE",
    "UNPROVEN_BURST",
    "UNPROVEN_RATE",
    "UNPROVEN_TOTAL_BURST",
    "UNPROVEN_TOTAL_RATE",
    "Admission",
    "Afford",
    "Refused",
]

UNPROVEN_RATE = 20.0
"""Proofs looked at a second for one UDP source that has shown no NONCE of ours, on average: a check
takes a few hundred microseconds, and a forged source costs its sender nothing."""

UNPROVEN_BURST = 100.0
"""The same at once."""

UNPROVEN_TOTAL_RATE = 500.0
"""Such proofs looked at a second for all UDP sources, on average: about a tenth of a processor."""

UNPROVEN_TOTAL_BURST = 1000.0
"""The same at once."""

STREAM_PROOF_RATE = 50.0
"""Proofs looked at a second for one source over TCP, whatever the number of its connections, on
average: at most a twentieth of a processor."""

STREAM_PROOF_BURST = 300.0
"""The same at once: agents behind one address come back together when a mediator was restarted."""

_ROLES = {
    Purpose.LISTEN: Role.SERVER,
    Purpose.BIND: Role.SERVER,
    Purpose.CONNECT: Role.CLIENT,
    Purpose.OPEN_STREAM: Role.CLIENT,
    Purpose.CRL_FETCH: Role.CLIENT,
}


Afford: TypeAlias = Callable[[float], bool]
"""Takes the cost of one signature from a sender's budget at a time; false when nothing is left."""


def _always(now: float) -> bool:
    return True


class Refused(Exception):
    """A request is refused.

    :ivar refusal: the answer to it.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code} {refusal.reason}".strip())
        self.refusal = refusal


class Admission:
    """Checks proofs, and the operator's policy.

    :param name: this mediator's name, the audience of every proof.
    :param systems: ids of the systems that may use it; ``None`` for any.
    :param random: gives random bytes, for the key of nonces.
    :param unproven: how often proofs of each source that may be forged are looked at.
    :param unproven_total: the same for all of them together.
    :param wall: gives the date, seconds since the epoch, of a *now* that need not be one.
    """

    def __init__(
        self,
        name: str,
        systems: Collection[str] | None,
        random: Callable[[int], bytes],
        *,
        unproven: SourceBuckets,
        unproven_total: SourceBuckets,
        wall: Callable[[float], float] = float,
    ) -> None:
        self._wall = wall
        self._unproven = unproven
        self._unproven_total = unproven_total
        self._name = name
        self._systems = None if systems is None else frozenset(systems)
        self._nonces = Nonces(random)
        self._checker = ProofChecker()

    @property
    def revoked(self) -> Callable[[str, int], bool] | None:
        """Tells whether a system has revoked a serial number; None when nothing was."""
        return self._checker.revoked

    @revoked.setter
    def revoked(self, revoked: Callable[[str, int], bool]) -> None:
        self._checker.revoked = revoked

    def allows(self, system: str) -> bool:
        """Tell whether the operator lets *system* use this mediator."""
        return self._systems is None or system in self._systems

    def challenge(self, code: ErrorCode, purpose: str, holder: str, now: float) -> Refusal:
        """Return a 401 or 438 with a fresh nonce for *holder*."""
        nonce = self._nonces.make(purpose, holder, now)
        return Refusal(code, nonce=nonce, audience=self._name, time=self._wall(now))

    def nonce_good(self, nonce: bytes, purpose: str, holder: str, now: float) -> bool:
        """Tell whether *nonce* is one of ours for *holder*, and not too old."""
        return self._nonces.good(nonce, purpose, holder, now)

    def check(
        self,
        message: Message,
        purpose: str,
        holder: str,
        now: float,
        *,
        nonce: bool = False,
        spoofable: bool = False,
        afford: Afford = _always,
    ) -> CheckedProof:
        """Check the proof of a request.

        :param purpose: what it must have been made for, which also tells the role.
        :param holder: whom a nonce must have been made for.
        :param nonce: insist on a nonce, however fresh the proof's time is.
        :param spoofable: *holder* is a host that anybody can name as a datagram's source; when too
            many such proofs come, only those with a nonce of ours for that host are looked at.
        :param afford: asked right before a signature is checked, which takes up to a millisecond.
        :raises Refused: 400, 401, 403, 438 or 486, with what the sender needs to do better.
        """
        try:
            found = covered(message)
        except SignallingError:
            raise Refused(Refusal(ErrorCode.BAD_REQUEST)) from None
        if found is None:
            raise Refused(self.challenge(ErrorCode.UNAUTHENTICATED, purpose, holder, now))
        blob, covers = found
        date = self._wall(now)
        if spoofable and not self._affordable(blob, purpose, holder, now):
            raise Refused(self.challenge(ErrorCode.STALE_NONCE, purpose, holder, now))
        if not afford(now):
            raise Refused(Refusal(ErrorCode.QUOTA_REACHED))
        try:
            return self._checker.check(
                blob,
                purpose=purpose,
                audience=self._name,
                message=covers,
                role=_ROLES[purpose],
                now=None if nonce else date,
                nonce_ok=lambda value: self.nonce_good(value, purpose, holder, now),
                at=date,
            )
        except VerificationError as error:
            if error.reason is Reason.STALE:
                stale = self.challenge(ErrorCode.STALE_NONCE, purpose, holder, now)
                raise Refused(stale) from None
            refusal = Refusal(
                ErrorCode.FORBIDDEN, str(error.reason), audience=self._name, time=date
            )
            raise Refused(refusal) from None

    def _affordable(self, blob: bytes, purpose: str, host: str, now: float) -> bool:
        """Tell whether the work of checking a proof may be spent on whoever sent it."""
        nonce = nonce_of(blob)
        if nonce and self.nonce_good(nonce, purpose, host, now):
            return True
        return self._unproven.allow(host, now) and self._unproven_total.allow_key(b"", now)
