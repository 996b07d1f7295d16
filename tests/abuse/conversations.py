"""Everything that passes a client's UDP port while it connects, uses a hole and leaves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.abuse.garbage import RecordingCarrier
from tests.abuse.strangers import EchoCheck
from wavesync.client.connector import Connector
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.urls import parse_mediators
from wavesync.udt.carrier import Arrival, Receiver
from wavesync.udt.port import Port
from wavesync.udt.receive_buffer import EARLY_WINDOW

__all__ = ["Conversation", "converse"]


@dataclass
class Conversation:
    """Datagrams, in their order.

    :ivar to_mediator: what the mediator got.
    :ivar to_agent: what the agent got.
    :ivar to_client: what the client got from either.
    """

    to_mediator: list[bytes] = field(default_factory=list)
    to_agent: list[bytes] = field(default_factory=list)
    to_client: list[bytes] = field(default_factory=list)


class _Listening(Receiver):
    """Stands before a port and notes what comes.

    :param port: the port's side of the carrier.
    """

    def __init__(self, port: Receiver, heard: list[bytes]) -> None:
        self._port = port
        self._heard = heard

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Note what came, and hand it on."""
        for arrival in arrivals:
            data, size = bytes(arrival.data), arrival.segment_size
            self._heard += [data[at : at + size] for at in range(0, len(data), size)]
            self._port.bursts_received([arrival])

    def carrier_ready(self) -> None:
        """Hand it on."""
        self._port.carrier_ready()

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """Hand it on."""
        return self._port.too_large(datagram, destination)


class _Wiretap(RecordingCarrier):
    """A UDP socket that also remembers what it received."""

    def __init__(self, reactor: Any, interface: str) -> None:
        super().__init__(reactor, 0, interface)
        self.received: list[bytes] = []

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        super().start(_Listening(receiver, self.received))


async def converse(
    reactor: Any,
    credentials: Credentials,
    target: Target,
    mediator: Address,
    url: str,
) -> Conversation:
    """Have a good client connect twice over UDP, stay for a while, and leave.

    :param reactor: a hurried one.
    :param mediator: where the mediator's UDP port is.
    :param url: how it is named in credentials.
    """
    carrier = _Wiretap(reactor, mediator[0])
    port = Port(reactor, carrier, early_window=EARLY_WINDOW)
    own: Sequence[Address] = [carrier.address]
    connector = Connector(
        reactor,
        credentials,
        parse_mediators((url,)),
        port=port,
        own_addresses=lambda: own,
        families=lambda: {False},
        paths={"udp"},
        wall_clock=reactor.seconds,
        allow_loopback=True,
    )
    port.stun_handler = connector.stun_received
    for _ in range(2):
        check = EchoCheck()
        await connector.connect(target, "echo", check)
        await check.over
        await reactor.skip(12)
    await connector.close()
    found = Conversation(to_client=carrier.received)
    for data, destination in carrier.recorded:
        (found.to_mediator if destination == mediator else found.to_agent).append(data)
    return found
