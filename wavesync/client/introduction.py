"""What a mediator told a client about a server, after the client has judged it."""

from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.ids import Target
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role, VerificationError
from wavesync.interfaces import Address
from wavesync.signalling.addresses import punchable
from wavesync.signalling.messages import Bind, ConnectAnswer, Refusal, SignallingError, covered
from wavesync.signalling.numbers import ErrorCode
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, StunError, decode

__all__ = ["Introduction", "judge_answer", "refusal_error"]

_log = Logger()


@dataclass(slots=True)
class Introduction:
    """A server, and where it may be.

    :ivar mediator: who introduced.
    :ivar connection_id: 32 hex digits; mediator and server know this introduction by it.
    :ivar server: the whole name of the server.
    :ivar tcp: where it accepts TCP, on its own signed word.
    :ivar listed: own addresses of its UDP port, on its own signed word.
    :ivar observed: its UDP port as the mediator sees it.
    :ivar token: the rendezvous token.
    :ivar start_delay: seconds to wait before the first punch.
    :ivar mapped: this client as the mediator sees it.
    """

    mediator: Mediator
    connection_id: str
    server: Target
    tcp: tuple[Address, ...]
    listed: tuple[Address, ...]
    observed: tuple[Address, ...]
    token: int
    start_delay: float
    mapped: Address

    def udp(self, *, allow_loopback: bool) -> tuple[Address, ...]:
        """Where to punch at: observed addresses first."""
        return punchable(self.listed, self.observed, allow_loopback=allow_loopback)


def judge_answer(
    message: Message,
    mediator: Mediator,
    target: Target,
    connection_id: str,
    *,
    allow_loopback: bool,
    signed_by: Callable[[bytes, bytes], Target],
) -> Introduction:
    """Read a success answer to ``connect`` and believe what the server has signed.

    :param signed_by: checks a proof (blob, covered bytes) and tells which server made it.
    :raises SignallingError: the answer makes no sense or is not for this request.
    """
    answer = ConnectAnswer.decode(message, allow_loopback=allow_loopback)
    if answer.connection_id != connection_id:
        raise SignallingError("the answer is for another request")
    if answer.server.system != target.system or target.server not in (None, answer.server.server):
        raise SignallingError("the answer is about another server")
    tcp: tuple[Address, ...] = ()
    listed: tuple[Address, ...] = ()
    if answer.signed_addresses:
        try:
            request = decode(answer.signed_addresses)
            bind = Bind.decode(request, allow_loopback=allow_loopback)
            proof = covered(request)
            if proof is None or signed_by(*proof) != answer.server:
                raise SignallingError("the addresses are not signed by the server")
            tcp, listed = bind.tcp, bind.udp
        except (SignallingError, StunError, VerificationError) as error:
            # A mediator that lies here can only refuse service: go on with what it has seen.
            _log.warn("{mediator} hands out bad addresses: {why}", mediator=mediator, why=error)
    return Introduction(
        mediator,
        connection_id,
        answer.server,
        tcp,
        listed,
        answer.observed,
        answer.token,
        answer.start_delay,
        answer.mapped,
    )


def server_checker(audience: str, at: float) -> Callable[[bytes, bytes], Target]:
    """Make the *signed_by* of :func:`judge_answer` for the mediator of that name.

    :param at: now, seconds since the epoch: the server's certificate has to be valid.
    """

    def signed_by(blob: bytes, message: bytes) -> Target:
        # However old: the addresses stand until the server signs others.
        checked = check_proof(
            blob,
            purpose=Bind.PURPOSE,
            audience=audience,
            message=message,
            role=Role.SERVER,
            now=None,
            at=at,
        )
        return Target(checked.peer.system, checked.peer.server)

    return signed_by


def refusal_error(refusal: Refusal, mediator: Mediator, target: Target) -> WavesyncError:
    """What a person is told of a refusal."""
    expected = mediator.audience
    if refusal.audience and refusal.audience != expected:
        return NotAllowed(
            f"the mediator {mediator} calls itself {refusal.audience!r}, but is known here as"
            f" {expected!r}: set its name, or use the name in the URL"
        )
    if refusal.code == ErrorCode.NOT_FOUND:
        return ConnectFailed(f"{target} is not online: the mediator {mediator} does not know it")
    if refusal.code in (ErrorCode.FORBIDDEN, ErrorCode.UNAUTHENTICATED):
        why = f": {refusal.reason}" if refusal.reason else ""
        return NotAllowed(f"the mediator {mediator} does not accept these credentials{why}")
    if refusal.code in (ErrorCode.QUOTA_REACHED, ErrorCode.INSUFFICIENT_CAPACITY):
        return ConnectFailed(f"the mediator {mediator} is busy: try again in a while")
    return ConnectFailed(f"the mediator {mediator} answers with error {refusal.code}")
