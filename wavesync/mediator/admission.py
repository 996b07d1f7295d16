"""Whose request is it, and may they? The answer is a checked proof, or the refusal to send."""

from collections.abc import Callable, Collection

from wavesync.identity.proofs import CheckedProof, ProofChecker
from wavesync.identity.verify import Reason, Role, VerificationError
from wavesync.mediator.nonces import Nonces
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.numbers import ErrorCode, Purpose
from wavesync.signalling.proved import covered
from wavesync.signalling.refusals import Refusal
from wavesync.stun.message import Message

__all__ = ["Admission", "Refused"]

_ROLES = {
    Purpose.LISTEN: Role.SERVER,
    Purpose.BIND: Role.SERVER,
    Purpose.CONNECT: Role.CLIENT,
}


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
    """

    def __init__(
        self, name: str, systems: Collection[str] | None, random: Callable[[int], bytes]
    ) -> None:
        self._name = name
        self._systems = None if systems is None else frozenset(systems)
        self._nonces = Nonces(random)
        self._checker = ProofChecker()

    def allows(self, system: str) -> bool:
        """Tell whether the operator lets *system* use this mediator."""
        return self._systems is None or system in self._systems

    def challenge(self, code: ErrorCode, purpose: str, holder: str, now: float) -> Refusal:
        """Return a 401 or 438 with a fresh nonce for *holder*."""
        nonce = self._nonces.make(purpose, holder, now)
        return Refusal(code, nonce=nonce, audience=self._name, time=now)

    def nonce_good(self, nonce: bytes, purpose: str, holder: str, now: float) -> bool:
        """Tell whether *nonce* is one of ours for *holder*, and not too old."""
        return self._nonces.good(nonce, purpose, holder, now)

    def check(
        self, message: Message, purpose: str, holder: str, now: float, *, nonce: bool = False
    ) -> CheckedProof:
        """Check the proof of a request.

        :param purpose: what it must have been made for, which also tells the role.
        :param holder: whom a nonce must have been made for.
        :param nonce: insist on a nonce, however fresh the proof's time is.
        :raises Refused: 400, 401, 403 or 438, with what the sender needs to do better.
        """
        try:
            found = covered(message)
        except SignallingError:
            raise Refused(Refusal(ErrorCode.BAD_REQUEST)) from None
        if found is None:
            raise Refused(self.challenge(ErrorCode.UNAUTHENTICATED, purpose, holder, now))
        blob, covers = found
        try:
            return self._checker.check(
                blob,
                purpose=purpose,
                audience=self._name,
                message=covers,
                role=_ROLES[purpose],
                now=None if nonce else now,
                nonce_ok=lambda value: self.nonce_good(value, purpose, holder, now),
                at=now,
            )
        except VerificationError as error:
            if error.reason is Reason.STALE:
                stale = self.challenge(ErrorCode.STALE_NONCE, purpose, holder, now)
                raise Refused(stale) from None
            refusal = Refusal(ErrorCode.FORBIDDEN, str(error.reason), audience=self._name, time=now)
            raise Refused(refusal) from None
