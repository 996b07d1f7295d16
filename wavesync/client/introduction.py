"""What a mediator told a client about a server, after the client has judged it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from twisted.logger import Logger

from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.ids import Target
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Reason, Role, VerificationError
from wavesync.interfaces import Address
from wavesync.signalling.addresses import punchable
from wavesync.signalling.messages import Bind, ConnectAnswer, Refusal, SignallingError, covered
from wavesync.signalling.network_summary import NetworkSummary
from wavesync.signalling.numbers import MAX_FORWARDED, MAX_START_DELAY, ErrorCode
from wavesync.signalling.relay_lists import ParkedAt, other_ports
from wavesync.signalling.relay_urls import MAX_RELAYS, Relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, StunError, decode

__all__ = [
    "START_TOLERANCE",
    "Introduction",
    "NoMediator",
    "NotOnline",
    "judge_answer",
    "refusal_error",
]

START_TOLERANCE = 0.01
"""Seconds by which one side may begin to punch before the other: measuring is no better than that."""

_log = Logger()


class NoMediator(ConnectFailed):
    """No mediator answered: whether the server is there is not known."""


class NotOnline(ConnectFailed):
    """No mediator that answered knows the server: it is away, or it was revoked.

    :ivar mediators: those that said so.
    """

    def __init__(self, sentence: str, mediators: Sequence[Mediator]) -> None:
        super().__init__(sentence)
        self.mediators = tuple(mediators)


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
    :ivar start_delay: seconds from the mediator's answer to the server's first punch.
    :ivar mapped: this client as the mediator sees it.
    :ivar round_trip: seconds from asking the mediator to its answer.
    :ivar crl_number: of a revocation list that the mediator says is newer than ours; 0 for none.
    :ivar relays: where it has parked connections, and its round trips to there, on its own signed
        word; where it names none, what the mediator knows, with 0.0.
    :ivar network: what it tells of its network, on its own signed word.
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
    round_trip: float = 0.0
    crl_number: int = 0
    relays: tuple[ParkedAt, ...] = ()
    network: NetworkSummary | None = None

    @property
    def wait(self) -> float:
        """Seconds to wait before the first punch, so that both sides begin together."""
        left = self.start_delay - self.round_trip / 2
        return min(left, MAX_START_DELAY) if left > START_TOLERANCE else 0.0

    def only(self, families: Collection[bool]) -> "Introduction":
        """Leave out addresses of other *families*: ``False`` for IPv4, ``True`` for IPv6."""

        def kept(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
            return tuple(each for each in addresses if (":" in each[0]) in families)

        return replace(
            self, tcp=kept(self.tcp), listed=kept(self.listed), observed=kept(self.observed)
        )

    def udp(self, *, allow_loopback: bool) -> tuple[Address, ...]:
        """Where to punch at: observed addresses first; a router may forward others of those listed."""
        return punchable(
            self.listed, self.observed, forwarded=MAX_FORWARDED, allow_loopback=allow_loopback
        )


def judge_answer(
    message: Message,
    mediator: Mediator,
    target: Target,
    connection_id: str,
    *,
    allow_loopback: bool,
    signed_by: Callable[[bytes, bytes], Target],
    round_trip: float = 0.0,
    on_list: Callable[[bytes], object] = lambda der: None,
) -> Introduction:
    """Read a success answer to ``connect`` and believe what the server has signed.

    :param signed_by: checks a proof (blob, covered bytes) and tells which server made it.
    :param round_trip: seconds that the answer took to come.
    :param on_list: takes a revocation list that came along, before anything else is believed; may
        raise :class:`VerificationError`.
    :raises SignallingError: the answer makes no sense or is not for this request.
    """
    answer = ConnectAnswer.decode(message, allow_loopback=allow_loopback)
    if answer.connection_id != connection_id:
        raise SignallingError("the answer is for another request")
    if answer.server.system != target.system or target.server not in (None, answer.server.server):
        raise SignallingError("the answer is about another server")
    if answer.crl:
        try:
            on_list(answer.crl)
        except VerificationError as error:
            _log.warn(
                "{mediator} hands out a bad revocation list: {why}", mediator=mediator, why=error
            )
    tcp: tuple[Address, ...] = ()
    listed: tuple[Address, ...] = ()
    network: NetworkSummary | None = None
    relays = tuple(ParkedAt(relay) for relay in answer.relays)
    if answer.signed_addresses:
        try:
            request = decode(answer.signed_addresses)
            bind = Bind.decode(request, allow_loopback=allow_loopback)
            proof = covered(request)
            if proof is None or signed_by(*proof) != answer.server:
                raise SignallingError("the addresses are not signed by the server")
            tcp, listed = bind.tcp, bind.udp
            relays = _with_other_ports(bind.relays, answer.relays) if bind.relays else relays
            network = bind.network
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
        round_trip,
        answer.crl_number,
        relays,
        network,
    )


def _with_other_ports(
    parked: tuple[ParkedAt, ...], known: tuple[Relay, ...]
) -> tuple[ParkedAt, ...]:
    """Add what else leads to the relays where a server has parked; it is as far from them by that."""
    others = other_ports(known, [relay for relay, _ in parked])
    added = (
        ParkedAt(other, next(far for relay, far in parked if relay.same_as(other)))
        for other in others
    )
    return (*parked, *added)[:MAX_RELAYS]


def server_checker(
    audience: str, at: float, revoked: Callable[[int], bool] | None = None
) -> Callable[[bytes, bytes], Target]:
    """Make the *signed_by* of :func:`judge_answer` for the mediator of that name.

    :param at: now, seconds since the epoch: the server's certificate has to be valid.
    :param revoked: tells whether the certificate with a serial number was revoked.
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
            revoked=revoked,
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
        told = f"{target} is not online: the mediator {mediator} does not know it"
        return NotOnline(told, [mediator])
    if refusal.code in (ErrorCode.FORBIDDEN, ErrorCode.UNAUTHENTICATED):
        why = f": {refusal.reason}" if refusal.reason else ""
        if refusal.reason == Reason.REVOKED:
            why = ": they were revoked"
        return NotAllowed(f"the mediator {mediator} does not accept these credentials{why}")
    if refusal.code in (ErrorCode.QUOTA_REACHED, ErrorCode.INSUFFICIENT_CAPACITY):
        return ConnectFailed(f"the mediator {mediator} is busy: try again in a while")
    return ConnectFailed(f"the mediator {mediator} answers with error {refusal.code}")
