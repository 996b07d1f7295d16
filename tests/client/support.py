"""A client's connect to a mediator that the test plays."""

from twisted.internet.task import Clock

from tests.agent.support import MEDIATOR_HOST, MemoryEndpoint, ScriptedMediator
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.client.asking import Asking
from wavesync.client.introduction import Introduction
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.proofs import CheckedProof, check_proof
from wavesync.identity.verify import Role
from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker
from wavesync.signalling.messages import Bind, Connect, ConnectAnswer, Refusal, covered
from wavesync.signalling.numbers import Method
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, decode
from wavesync.stun.transactions import Transactions

__all__ = [
    "CONNECTION",
    "MEDIATOR",
    "MEDIATOR_UDP",
    "OBSERVED",
    "OWN",
    "SERVER_TCP",
    "SERVER_UDP",
    "AskingWorld",
    "answer",
    "signed_addresses",
]

CONNECTION = "c0" * 16
MEDIATOR = Mediator(AUDIENCE, 3345, 3345)
MEDIATOR_UDP: Address = (MEDIATOR_HOST, 3345)
SERVER_TCP: Address = ("10.0.0.9", 7001)
SERVER_UDP: Address = ("10.0.0.9", 7002)
OBSERVED: Address = ("198.51.100.1", 4100)
OWN: Address = ("10.0.0.5", 5000)
MAPPED: Address = ("203.0.113.1", 5100)


def signed_addresses(
    by: Credentials | None = None,
    *,
    audience: str = AUDIENCE,
    relays: tuple[ParkedAt, ...] = (),
) -> bytes:
    """A server's signed list of its addresses."""
    proves = prover(server() if by is None else by, audience=audience)
    return Bind(1, (SERVER_TCP,), (SERVER_UDP,), relays).encode(b"b" * 12, proves)


def answer(
    request: Message,
    *,
    connection_id: str = CONNECTION,
    target: Target | None = None,
    signed: bytes | None = None,
    observed: tuple[Address, ...] = (OBSERVED,),
    token: int = 7,
    news: tuple[int, bytes] = (0, b""),
    relays: tuple[Relay, ...] = (),
) -> bytes:
    """A mediator's answer to ``connect``."""
    return ConnectAnswer(
        connection_id,
        server().target if target is None else target,
        signed_addresses() if signed is None else signed,
        observed,
        token,
        0.0,
        MAPPED,
        *news,
        relays,
    ).encode(request.transaction_id)


class AskingWorld:
    """One :class:`Asking` on a virtual clock, between a UDP port and a TCP endpoint of memory.

    :ivar udp: the requests that were sent over UDP and not looked at.
    :ivar endpoint: leads to the mediator's TCP port.
    :ivar indications: what came over TCP without having been asked for.
    """

    def __init__(
        self,
        *,
        mediator: Mediator = MEDIATOR,
        target: Target | None = None,
        udp: bool = True,
        tcp: bool = True,
        ahead: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.udp: list[Message] = []
        self.destinations: set[Address] = set()
        self.endpoint = MemoryEndpoint()
        self.indications: list[Message] = []
        self.asker = Asker(self.clock, self._send, Transactions(rto=0.3))
        self.asking = Asking(
            self.clock,
            client(),
            server().target if target is None else target,
            mediator,
            connection_id=CONNECTION,
            udp=[MEDIATOR_UDP] if mediator.udp_port else [],
            tcp=self.endpoint if tcp else None,
            asker=self.asker if udp else None,
            own=(OWN,) if udp else (),
            wall_clock=lambda: NOW + ahead + self.clock.seconds(),
            on_indication=self.indications.append,
        )
        self.results: list[Introduction] = []
        self.asking.start()

    def _send(self, data: bytes, to: Address) -> None:
        self.destinations.add(to)
        self.udp.append(decode(data))

    def take(self) -> list[Message]:
        """What was sent over UDP since the last look."""
        udp, self.udp = self.udp, []
        return udp

    def one(self) -> Message:
        """The one request sent over UDP since the last look."""
        (request,) = self.take()
        return request

    def receive(self, data: bytes, source: Address = MEDIATOR_UDP) -> bool:
        """Have something arrive over UDP."""
        return self.asker.receive(decode(data), source)

    def refuse(self, request: Message, refusal: Refusal) -> None:
        """Answer over UDP with an error."""
        self.receive(refusal.encode(Method.CONNECT, request.transaction_id))

    def connect_tcp(self) -> ScriptedMediator:
        """Let the newest connection over TCP stand."""
        return ScriptedMediator(self.endpoint.dialled[-1], now=NOW)

    def proof_of(self, request: Message, *, now: float = NOW, nonce: bytes = b"") -> CheckedProof:
        """Check the client's proof as the mediator does."""
        found = covered(request)
        assert found is not None
        return check_proof(
            found[0],
            purpose=Connect.PURPOSE,
            audience=AUDIENCE,
            message=found[1],
            role=Role.CLIENT,
            now=now,
            nonce_ok=lambda told: bool(nonce) and told == nonce,
        )
