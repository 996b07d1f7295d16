"""A relay that says what the test wants."""

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.agent.support import Dialled
from tests.signalling.provers import server
from wavesync.identity.proofs import CheckedProof, check_proof
from wavesync.identity.verify import Role
from wavesync.signalling.relay_answers import Challenge, Parking, RelayAnswer
from wavesync.signalling.relay_lines import Line, LineReader
from wavesync.signalling.relay_urls import Relay, parse_relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind, RequestReader

__all__ = ["NEAR", "RELAY", "ScriptedRelay", "parked_answer"]

RELAY = parse_relay("http://relay.example:3356")
NEAR = parse_relay("http://near.example:3356")


def parked_answer(
    wanted: int = 7, waiting: int = 0, keep_alive: float = 15.0, revocations: int = 0
) -> bytes:
    """A relay's 101."""
    return RelayAnswer(101, parking=Parking(wanted, waiting, keep_alive, revocations)).encode()


class ScriptedRelay:
    """One connection as the relay sees it.

    :param dialled: the attempt that succeeds now.
    """

    def __init__(self, dialled: Dialled, relay: Relay = RELAY) -> None:
        self.relay = relay
        address = IPv4Address("TCP", "192.0.2.9", 3356)
        self.transport = StringTransport(peerAddress=address)
        protocol = dialled.factory.buildProtocol(address)
        assert protocol is not None
        self.protocol = protocol
        self._lines = LineReader()
        protocol.makeConnection(self.transport)
        dialled.result.callback(protocol)

    @property
    def closed(self) -> bool:
        """The server has closed or aborted the connection."""
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def request(self) -> RelayRequest:
        """Take the request that came."""
        data = self.transport.value()
        self.transport.clear()
        request = RequestReader().feed(data)
        assert request is not None and request.kind is RequestKind.PARK
        return request

    def proof(self, request: RelayRequest, now: float, nonce: bytes = b"") -> CheckedProof:
        """Check the request's proof by the relay's clock, or over its nonce."""
        return check_proof(
            request.proof,
            purpose=request.kind.purpose,
            audience=self.relay.audience,
            message=request.covered(),
            role=Role.SERVER,
            now=now,
            nonce_ok=lambda found: bool(nonce) and found == nonce,
        )

    def park(self, wanted: int = 7, waiting: int = 0, keep_alive: float = 15.0) -> "ScriptedRelay":
        """Take the request and park the connection."""
        assert self.request().target == server().target
        self.send(parked_answer(wanted, waiting, keep_alive))
        return self

    def refuse(
        self,
        status: int,
        reason: str = "",
        *,
        retry_after: float | None = None,
        nonce: bytes = b"",
        name: str = "",
    ) -> None:
        """Answer otherwise."""
        challenge = Challenge(nonce, 1.0, name or self.relay.audience) if nonce else None
        answer = RelayAnswer(status, None, None, challenge, reason, retry_after, "no")
        self.send(answer.encode())
        self.lose()

    def say(self, line: Line) -> None:
        """Send a line."""
        self.send(line.encode())

    def send(self, data: bytes) -> None:
        """Have the server receive this."""
        self.protocol.dataReceived(data)

    def said(self) -> list[Line]:
        """The lines that came since the last look."""
        data = self.transport.value()
        self.transport.clear()
        return self._lines.feed(data)

    @property
    def rest(self) -> bytes:
        """What came behind READY."""
        return self._lines.rest

    def lose(self) -> None:
        """The connection breaks."""
        self.protocol.connectionLost(Failure(ConnectionLost()))
