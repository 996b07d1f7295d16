"""Half-open handshakes by the hundred thousand at an agent's ports, in memory and on virtual time.

The attackers have a thousand addresses, each its own, and answer from there: they are not even forged.
"""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

from tests.abuse.memory import memory
from tests.client.world import Talker
from tests.signalling.provers import NOW, client, server
from wavesync.interfaces import Address
from wavesync.session.client import ClientSession, connect_session
from wavesync.session.server import MAX_PENDING, NamedServices, ServerSessionFactory
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.carrier import Arrival
from wavesync.udt.handshake import ANSWER, HANDSHAKE_SIZE, REQUEST, Offer, decode_handshake
from wavesync.udt.listening import MAX_HALF_OPEN
from wavesync.udt.packet import DataPacket
from wavesync.udt.port import Port
from wavesync.udt.receive_buffer import EARLY_WINDOW

__all__ = ["SOURCES", "Result", "Siege", "attack", "report"]

SOURCES = 1000
"""Addresses that the attackers have."""

_AT_ONCE = 100
_EVERY = 0.01
"""Seconds between two lots of :data:`_AT_ONCE`: 10,000 handshakes a second."""

_SERVER: Address = ("192.0.2.2", 2000)
_FIRST = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""How a ClientHello of 512 bytes begins."""


@dataclass
class Result:
    """What came of one attack.

    :ivar most: the most that each table held at any moment.
    :ivar left: what each table holds in the end.
    :ivar grown: bytes of memory more after the second half than after the first.
    :ivar memory: bytes of the process in the end.
    :ivar sent: bytes that the attackers sent.
    :ivar answered: bytes that they got.
    :ivar worst: the most bytes that one source got beyond what it had sent.
    :ivar served: a good client had its echo while the attack went on.
    """

    most: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    grown: int = 0
    memory: int = 0
    sent: int = 0
    answered: int = 0
    worst: int = 0
    served: bool = False


class Siege:
    """An agent's UDP port and sessions, a good client, and attackers.

    :param shows_cookies: the attackers answer challenges.
    """

    def __init__(self, *, shows_cookies: bool = True) -> None:
        self._shows_cookies = shows_cookies
        self.clock = Clock()
        self.random = Random(7)
        self.network = Network(self.clock, delay=0.01, random=Random(1))
        self.here = Port(
            self.clock, self.network.host("192.0.2.1").carrier(1000), randbits=Random(2).getrandbits
        )
        self.there = Port(
            self.clock,
            self.network.host(_SERVER[0]).carrier(_SERVER[1]),
            early_window=EARLY_WINDOW,
            randbits=Random(3).getrandbits,
        )
        self.sessions = ServerSessionFactory(
            server(),
            NamedServices({"echo": Factory.forProtocol(Echo)}),
            self.clock,
            on_authenticated=lambda peer, transport: self.there.trust(_peer_of(transport)),
            on_lost=lambda peer, transport: self.there.untrust(_peer_of(transport)),
            wall_clock=self.now,
        )
        self.there.listen(self.sessions)
        self.sources = [(f"198.18.{n // 250}.{n % 250 + 1}", 4000 + n) for n in range(SOURCES)]
        self.ports = [self.network.host(host).carrier(number) for host, number in self.sources]
        self._got: Counter[Address] = Counter()
        self._spent: Counter[Address] = Counter()
        self._inbox: list[tuple[bytes, Address]] = []
        for carrier in self.ports:
            carrier.start(_Inbox(carrier.address, self._took))

    def now(self) -> float:
        """Everybody's clock."""
        return NOW + self.clock.seconds()

    def _took(self, data: bytes, at: Address) -> None:
        self._got[at] += len(data)
        self._inbox.append((data, at))

    def send(self, data: bytes, source: Address) -> None:
        """Send from an attacker, straight into the port."""
        self._spent[source] += len(data)
        self.there.bursts_received([Arrival(data, len(data), source)])

    def tables(self) -> Counter[str]:
        """What the agent holds."""
        listener = self.there._acceptor.listener
        return Counter(
            {
                "half-open": listener.half_open,
                "accepted": len(listener),
                "answers": len(listener._answers),
                "links": len(self.there._sorter.links),
                "pending sessions": len(self.sessions.pending),
                "strangers": len(self.sessions._strangers),
            }
        )

    def request(self, source: Address) -> None:
        """Ask for a cookie, as a new client of this source."""
        offer = Offer(self.random.randint(1, 1 << 30), self.random.getrandbits(31))
        self.send(offer.handshake(REQUEST, _SERVER[0]).encode(), source)

    def show_cookies(self) -> None:
        """Answer the challenges that came, and begin TLS where that was accepted."""
        inbox, self._inbox = self._inbox, []
        for data, at in inbox:
            if len(data) != HANDSHAKE_SIZE or not self._shows_cookies:
                continue
            packet = decode_handshake(data)
            if packet.request == REQUEST:
                offer = Offer(packet.destination, packet.isn)
                answer = offer.handshake(ANSWER, _SERVER[0], cookie=packet.cookie)
                self.send(answer.encode(), at)
            elif packet.request == ANSWER and self.random.random() < 0.5:
                # Half of them go on to the middle of a ClientHello.
                hello = DataPacket(packet.isn, 1, packet.socket_id, _FIRST)
                self.send(hello.encode(), at)

    def over_tcp(self, source: Address) -> None:
        """Connect over TCP and send the beginning of a ClientHello."""
        address = IPv4Address("TCP", *source)
        protocol = self.sessions.buildProtocol(address)
        if protocol is not None:
            protocol.makeConnection(_Wire(protocol, address, self.clock))
            protocol.dataReceived(_FIRST)

    def _attack(
        self, number: int, knock: Callable[[Address], None], result: Result
    ) -> Iterator[int]:
        """Knock so often, from one source after the other, as time goes by."""
        for done in range(0, number, _AT_ONCE):
            for each in range(done, min(done + _AT_ONCE, number)):
                knock(self.sources[each % SOURCES])
            run_for(self.clock, _EVERY)
            self.show_cookies()
            result.most |= self.tables()
            yield done

    def attack(self, number: int, knock: Callable[[Address], None]) -> Result:
        """Knock that often, with a good client in the middle; then let all time limits pass."""
        result = Result()
        self._got.clear()
        self._spent.clear()
        self.good_client()  # what is made once is there
        half: list[int] = []
        for part in range(2):
            for done in self._attack(number // 2, knock, result):
                if part and done == number // 4 // _AT_ONCE * _AT_ONCE:
                    result.served = self.good_client()
            gc.collect()
            half.append(memory())
        result.grown, result.memory = half[1] - half[0], half[1]
        run_for(self.clock, 70.0)
        result.left = self.tables()
        result.sent, result.answered = self._spent.total(), self._got.total()
        result.worst = max(self._got[each] - self._spent[each] for each in self.sources)
        return result

    def good_client(self) -> bool:
        """Have an echo over a new session that was introduced; whether it came."""
        token = self.random.randint(1, 0xFFFFFFFF)
        factory, ready = connect_session(client(), server().target, self.clock, wall_clock=self.now)
        calls = [
            self.there.rendezvous([self.here.address], self.sessions, token=token, timeout=5.0),
            self.here.rendezvous([_SERVER], factory, token=token, timeout=5.0),
        ]
        for call in calls:
            call.connected.addErrback(lambda _: None)
        heard: list[Talker] = []

        def opened(session: ClientSession) -> Deferred[object]:
            heard.append(Talker(b"good"))
            return session.open("echo", heard[0])  # type: ignore[return-value]

        ready.addCallback(opened).addErrback(lambda _: None)
        run_for(self.clock, 1.0)
        served = bool(heard) and heard[0].heard == b"good"
        for each in heard:
            if each.transport is not None:
                each.transport.loseConnection()
        run_for(self.clock, 1.0)
        return served


class _Wire(StringTransport):
    """A TCP connection of an attacker: it ends when the agent ends it."""

    def __init__(self, protocol: IProtocol, peer: IPv4Address, clock: Clock) -> None:
        super().__init__(peerAddress=peer)
        self._protocol = protocol
        self._clock = clock
        self._over = False

    def abortConnection(self) -> None:
        """End it, as TCP does: in the next turn."""
        if not self._over:
            self._over = True
            end = Failure(ConnectionAborted())
            self._clock.callLater(0, self._protocol.connectionLost, end)

    loseConnection = abortConnection


class _Inbox:
    """Takes what comes to an attacker."""

    def __init__(self, at: Address, took: Callable[[bytes, Address], None]) -> None:
        self._at = at
        self._took = took

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Take it."""
        for arrival in arrivals:
            data, size = bytes(arrival.data), arrival.segment_size
            for start in range(0, len(data), size):
                self._took(data[start : start + size], self._at)

    def carrier_ready(self) -> None:
        """Nothing waits."""

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """Nothing is sent."""
        return False


def _peer_of(transport: object) -> Address:
    peer = transport.getPeer()  # type: ignore[attr-defined]
    return peer.host, peer.port


def report(number: int) -> int:
    """Do all attacks *number* times each, and print what came of them."""
    bad = 0
    for name in ("request", "cookie", "tcp"):
        before = memory()
        result = attack(name, number)
        bad += not result.served
        sys.stdout.write(
            f"{name}: {number:,} from {SOURCES:,} sources: memory {before / 2**20:.1f} MiB before,"
            f" {result.memory / 2**20:.1f} after ({result.grown / 2**20:+.2f} in the second half);"
            f" at most {dict(result.most)}; left {dict(+result.left)};"
            f" {result.sent:,} bytes sent, {result.answered:,} got;"
            f" good client {'served' if result.served else 'NOT served'}\n"
        )
    sys.stdout.write(f"limits: {MAX_HALF_OPEN} half-open, {MAX_PENDING} pending sessions\n")
    return 1 if bad else 0


def attack(name: str, number: int) -> Result:
    """Do one of the attacks: ``request``, ``cookie`` or ``tcp``."""
    siege = Siege(shows_cookies=name != "request")
    return siege.attack(number, siege.over_tcp if name == "tcp" else siege.request)
