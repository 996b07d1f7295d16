"""Who may fetch which revocation list over a connection."""

from collections.abc import Callable

from wavesync.mediator.admission import Admission
from wavesync.mediator.registry import Registration
from wavesync.mediator.revoking import Revoking
from wavesync.signalling.numbers import Attribute, Purpose
from wavesync.stun.message import Message

__all__ = ["Fetching"]


class Fetching:
    """Gives revocation lists over one TCP connection.

    A registered server fetches its system's.  A client names an introduction, or proves of which
    system it is, once for all pieces that it fetches over the connection.

    :param admission: checks proofs.
    :param revoking: has the lists.
    :param host: where the connection comes from.
    :param afford: charges the connection for the checking of a signature.
    """

    __slots__ = ("_admission", "_afford", "_host", "_revoking", "_system")

    def __init__(
        self, admission: Admission, revoking: Revoking, host: str, afford: Callable[[float], bool]
    ) -> None:
        self._admission = admission
        self._revoking = revoking
        self._host = host
        self._afford = afford
        self._system: str | None = None

    def receive(self, message: Message, registration: Registration | None, now: float) -> bytes:
        """Return the answer to a CRL-FETCH request.

        :param registration: of the server whose leg it is; None for a client's connection.
        :raises Refused: the proof is none.
        """
        if registration is not None:
            self._system = registration.server.system
        elif message.get(Attribute.PROOF) is not None:
            proof = self._admission.check(
                message, Purpose.CRL_FETCH, self._host, now, afford=self._afford
            )
            self._system = proof.peer.system
        return self._revoking.fetch(message, self._system)
