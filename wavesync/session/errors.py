"""What can go wrong with a session, each with one sentence for people."""

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError

__all__ = [
    "CredentialsRejected",
    "PeerNotTrusted",
    "Refusal",
    "Refused",
    "SessionLost",
    "path_lost",
    "refusal_error",
]


class Refusal:
    """The codes a REFUSED or RESET frame carries (u16), after HTTP's numbers.

    :cvar BAD_FRAME: the other side broke the rules of the wire.
    :cvar NOT_ALLOWED: this client may not open this service, or its credentials were revoked.
    :cvar NO_SERVICE: no service of that name.
    :cvar TIMEOUT: what was due within a time limit did not come.
    :cvar CLOSED: the application does not want to read or write any further.
    :cvar BROKEN: the application's own connection broke.
    :cvar DIAL_FAILED: the service did not take the connection.
    :cvar BUSY: too many sessions.
    :cvar DIAL_TIMEOUT: the service did not answer in time.
    """

    BAD_FRAME = 400
    NOT_ALLOWED = 403
    NO_SERVICE = 404
    TIMEOUT = 408
    CLOSED = 499
    BROKEN = 500
    DIAL_FAILED = 502
    BUSY = 503
    DIAL_TIMEOUT = 504


class SessionLost(WavesyncError, ConnectionLost):
    """A session ended other than by both ENDs, so bytes may be missing.

    Protocols get it in ``connectionLost``, where it is a
    :class:`twisted.internet.error.ConnectionLost`.

    :ivar code: a number of :class:`Refusal` when a side reset the session, else 0.
    :ivar exit_status: 3 for a session that was not allowed to go on, else 1.
    """

    def __init__(self, sentence: str, code: int = 0) -> None:
        super().__init__(sentence)
        self.code = code
        if code == Refusal.NOT_ALLOWED:
            self.exit_status = NotAllowed.exit_status

    def __str__(self) -> str:
        return str(self.args[0])


class Refused(ConnectFailed):
    """The server did not open the service.

    :ivar code: a number of :class:`Refusal`.
    :ivar sentence: the server's sentence for people.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class CredentialsRejected(NotAllowed):
    """The other side did not accept our certificate.

    :ivar reason: a short code: ``"rejected-by-peer"``, or ``"expired"`` or ``"revoked"`` if its TLS alert said so.
    """

    def __init__(self, sentence: str, reason: str = "rejected-by-peer") -> None:
        super().__init__(sentence)
        self.reason = reason


class PeerNotTrusted(ConnectFailed):
    """The other side's certificate is not the one we look for.

    Somebody else answered on this path, which says nothing about another path.

    :ivar reason: the short code of :class:`wavesync.identity.verify.VerificationError`, or
        ``"wrong-server"``, or ``"no-alpn"`` when it does not speak this protocol.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def path_lost(words: str, lasted: float, reason: Failure) -> SessionLost:
    """The error for a path that has gone in the middle of a session.

    :param words: what to call the path; empty where there is no more to say of it.
    :param lasted: seconds that the session stood on it.
    :param reason: how the path's connection ended.
    """
    how = "was closed" if reason.check(ConnectionDone) else "broke"
    if not words:
        return SessionLost(f"the path {how} in the middle of the session")
    return SessionLost(f"the path {words} {how} in the middle of the session, after {lasted:.0f} s")


def refusal_error(code: int, sentence: str) -> WavesyncError:
    """What ``open()`` fails with after a REFUSED frame.

    :returns: :class:`wavesync.errors.NotAllowed` for code 403, :class:`Refused` otherwise.
    """
    if code == Refusal.NOT_ALLOWED:
        return NotAllowed(sentence)
    return Refused(code, sentence)
