"""Tests for :mod:`wavesync.agent.introductions`."""

from collections import Counter
from collections.abc import Sequence

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import LogListener, MemoryEndpoint, ScriptedMediator
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.agent.introductions import (
    CHECK_BURST,
    CHECK_RATE,
    MAX_CLIENT_RENDEZVOUS,
    MAX_REMEMBERED,
    MAX_RENDEZVOUS,
    PUNCHES,
    RENDEZVOUS_TIMEOUT,
    Introductions,
)
from wavesync.agent.link import Link
from wavesync.agent.recording import Recorder
from wavesync.agent.statistics import (
    BEGUN,
    CONNECTED,
    MISSED,
    REFUSED,
    TOO_MANY,
    WITHOUT_UDP,
    Statistics,
)
from wavesync.doctor.flights import Flights
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    Connect,
    ConnectionAck,
    ConnectionRequested,
    ConnectionUpdate,
)
from wavesync.signalling.numbers import CONNECT_SIZE, MAX_START_DELAY, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, MessageClass, decode, encode, pad_message

LOCAL: Address = ("10.0.0.5", 5000)
OBSERVED: Address = ("198.51.100.7", 6000)
ELSEWHERE: Address = ("198.51.100.8", 6001)
TOKEN = 0xABCDEF01


class FakeRendezvous:
    """Punching as the test wants it to end."""

    def __init__(
        self, candidates: Sequence[Address], token: int | None, timeout: float, delay: float
    ) -> None:
        self.candidates = list(candidates)
        self.delay = delay
        self.token = token
        self.timeout = timeout
        self.cancelled = False
        self.connected: Deferred[IProtocol] = Deferred()

    def add_candidate(self, address: Address) -> bool:
        """Note it."""
        known = address in self.candidates
        if not known:
            self.candidates.append(address)
        return not known

    def cancel(self) -> None:
        """Give up."""
        self.cancelled = True
        if not self.connected.called:
            self.connected.errback(CancelledError())


class FakePort:
    """Notes each rendezvous; refuses tokens as a real port does."""

    def __init__(self) -> None:
        self.begun: list[FakeRendezvous] = []

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None,
        timeout: float = RENDEZVOUS_TIMEOUT,
        delay: float = 0.0,
        share: int = PUNCHES,
    ) -> FakeRendezvous:
        """Begin."""
        if token == 0:
            raise ValueError("a rendezvous token is 1 to 2**32 - 1")
        if any(each.token == token and not each.connected.called for each in self.begun):
            raise ValueError("this rendezvous token is in use already")
        self.begun.append(FakeRendezvous(candidates, token, timeout, delay))
        return self.begun[-1]


class IntroductionsTests(SynchronousTestCase):
    """An agent punches for its own system's clients, as much as it should, and for nobody else."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = FakePort()
        self.udp: list[Message] = []
        self.serial = 0
        self.revoked: set[int] = set()
        self.statistics = Statistics()
        self.flights = Flights(self.clock, wall_clock=lambda: NOW + self.clock.seconds())
        self.introductions = self.make_introductions()
        self.link, self.mediator = self.registered()
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said

    def make_introductions(self, max_remembered: int = MAX_REMEMBERED) -> Introductions:
        """What is tested, on a port without a socket."""
        return Introductions(
            self.clock,
            server(),
            self.port,
            Factory.forProtocol(Protocol),
            wall_clock=lambda: NOW + self.clock.seconds(),
            max_remembered=max_remembered,
            revoked=self.revoked.__contains__,
            statistics=self.statistics,
            recorder=Recorder(self.flights),
        )

    def assert_counted(self, *introductions: str, ended: Sequence[str] = ()) -> None:
        """So many introductions were counted with these outcomes, and so many ends."""
        self.assertEqual(self.statistics.introductions, Counter(introductions))
        self.assertEqual(self.statistics.rendezvous, Counter(ended))

    def registered(self, ahead: float = 0.0) -> tuple[Link, ScriptedMediator]:
        """A link that is registered with a mediator, whose clock is so many seconds ahead."""
        endpoint = MemoryEndpoint()
        link = Link(
            self.clock,
            Mediator(AUDIENCE, 3345, 3345),
            endpoint,
            server(),
            lambda data, to: self.udp.append(decode(data)),
            lambda: ((), ()),
            self.introductions,
            wall_clock=lambda: NOW + self.clock.seconds(),
        )
        link.start()
        mediator = ScriptedMediator(endpoint.dialled[0], now=NOW + ahead + self.clock.seconds())
        mediator.challenge()
        mediator.accept(keep_alive=600)
        mediator.received()
        return link, mediator

    def request(
        self,
        connection_id: str,
        *,
        by: Credentials | None = None,
        target: Target | None = None,
        udp: tuple[Address, ...] = (LOCAL,),
        now: float = NOW,
        nonce: bytes = b"",
        audience: str = AUDIENCE,
    ) -> bytes:
        """A client's own request."""
        connect = Connect(connection_id, server().target if target is None else target, udp)
        proves = prover(client() if by is None else by, now=now, nonce=nonce, audience=audience)
        return connect.encode(b"r" * 12, proves)

    def introduce(
        self,
        request: bytes | None = None,
        *,
        connection_id: str | None = None,
        observed: tuple[Address, ...] = (OBSERVED,),
        token: int | None = None,
        delay: float = 0.0,
        by: Credentials | None = None,
        mediator: ScriptedMediator | None = None,
    ) -> str:
        """Have the mediator introduce a client; give the connection's id."""
        self.serial += 1
        if connection_id is None:
            connection_id = f"{self.serial:032x}"
        if request is None:
            request = self.request(connection_id, by=by)
        requested = ConnectionRequested(
            connection_id, request, observed, self.serial if token is None else token, delay
        )
        (mediator or self.mediator).send(requested.encode(b"i" * 12))
        return connection_id

    def acks(self) -> list[str]:
        """The connections that were acknowledged, and forget them."""
        udp, self.udp = self.udp, []
        return [
            ConnectionAck.decode(each).connection_id
            for each in udp
            if each.method == Method.CONNECTION_ACK
        ]

    def assert_dropped(self, *words: str) -> None:
        """Nothing was done, and one line says why."""
        self.assertEqual(self.port.begun, [])
        self.assertEqual(len(self.introductions), 0)
        self.assertEqual(self.acks(), [])
        self.assertEqual(len(self.said), 1, self.said)
        for word in words:
            self.assertIn(word, self.said[0])
        self.said.clear()

    def test_punch(self) -> None:
        """A client of the system is punched for at once, and the mediator told in that moment."""
        connection_id = self.introduce(token=TOKEN)
        (rendezvous,) = self.port.begun
        self.assertEqual(rendezvous.candidates, [OBSERVED, LOCAL])
        self.assertEqual((rendezvous.token, rendezvous.timeout), (TOKEN, RENDEZVOUS_TIMEOUT))
        self.assertEqual(self.acks(), [connection_id])
        self.assertEqual(len(self.introductions), 1)
        self.assert_counted(BEGUN)
        rendezvous.connected.callback(Protocol())
        self.assertEqual(len(self.introductions), 0)
        self.assertEqual(self.said, [])
        self.assert_counted(BEGUN, ended=[CONNECTED])

    def test_whole_system(self) -> None:
        """A client that asked for any server of the system is served too."""
        connection_id = "aa" * 16
        request = self.request(connection_id, target=Target(server().system, None))
        self.introduce(request, connection_id=connection_id)
        self.assertEqual(len(self.port.begun), 1)

    def test_checks(self) -> None:
        """A mediator gets so many requests checked at once and not one more, until a little later."""
        forged = self.request("ab" * 16, audience="other.example")
        for _ in range(int(CHECK_BURST) - 1):
            self.introduce(forged, connection_id="ab" * 16)
        self.introduce()
        self.assertEqual(len(self.port.begun), 1)
        self.introduce()
        self.assertEqual(len(self.port.begun), 1)
        self.clock.advance(1.0)
        for _ in range(int(CHECK_RATE) - 1):
            self.introduce(forged, connection_id="ab" * 16)
        self.introduce()
        self.introduce()
        self.assertEqual(len(self.port.begun), 2)
        self.assertLess(len(self.said), CHECK_BURST / 2)

    def test_recorded(self) -> None:
        """The client can ask afterwards who introduced it, where was punched, and what came of it."""
        first = self.introduce()
        heard = Protocol()
        heard.makeConnection(StringTransport(peerAddress=IPv4Address("UDP", *OBSERVED)))
        self.clock.advance(0.1)
        update = ConnectionUpdate(first, 1, (("203.0.113.99", 99),))
        self.mediator.send(update.encode(b"u" * 12))
        self.port.begun[0].connected.callback(heard)
        second = self.introduce()
        self.port.begun[1].connected.errback(TimeoutError("nothing was heard"))
        owner = client().leaf.peer.fingerprint.hex()
        told = []
        for connection in (first, second):
            flight = self.flights.find(connection, owner)
            assert flight is not None
            told.append([each.what for each in flight.events])
            self.assertIn(AUDIENCE, flight.events[0].why)
            self.assertIn(OBSERVED[0], flight.events[1].why)
        self.assertEqual(
            told,
            [
                ["introduced", "punching", "punching", "heard"],
                ["introduced", "punching", "no hole"],
            ],
        )
        flight = self.flights.find(first, owner)
        assert flight is not None
        self.assertIn("203.0.113.99:99", flight.events[2].why)
        self.assertEqual(flight.events[3].why, f"from {OBSERVED[0]}:{OBSERVED[1]}")

    def test_gave_up(self) -> None:
        """A client that never comes costs nothing in the end."""
        self.introduce()
        self.port.begun[0].connected.errback(TimeoutError())
        self.assertEqual(len(self.introductions), 0)
        self.assertEqual(self.said, [])
        self.assert_counted(BEGUN, ended=[MISSED])

    def test_third_party(self) -> None:
        """The same with an address that is somebody's on the Internet."""
        connection_id = "aa" * 16
        victim: Address = ("8.8.8.8", 53)
        request = self.request(connection_id, udp=(victim, LOCAL))
        self.introduce(request, connection_id=connection_id)
        self.assertEqual(self.port.begun[0].candidates, [OBSERVED, LOCAL])

    def test_loopback(self) -> None:
        """Nobody can aim an agent at its own host."""
        connection_id = "aa" * 16
        request = self.request(connection_id, udp=(("127.0.0.1", 22), ("::1", 22), LOCAL))
        self.introduce(request, connection_id=connection_id, observed=(("127.0.0.1", 1),))
        self.assertEqual(self.port.begun[0].candidates, [LOCAL])

    def test_tcp_only_client(self) -> None:
        """For a client that does without UDP nothing is punched, and no slot taken."""
        connection_id = "aa" * 16
        request = self.request(connection_id, udp=())
        for _ in range(MAX_RENDEZVOUS + 1):
            self.introduce(request, connection_id=connection_id, observed=())
        self.assertEqual((self.port.begun, len(self.introductions)), ([], 0))
        self.assertEqual(self.said, [])
        self.assert_counted(WITHOUT_UDP)

    def test_no_proof(self) -> None:
        """A request that nobody signed is dropped."""
        fields = decode(self.request("aa" * 16)).attributes[:3]
        bare = Message(Method.CONNECT, MessageClass.REQUEST, b"r" * 12, fields)
        request = encode(pad_message(bare, CONNECT_SIZE))
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("no proof", "mediator.example")
        self.assert_counted(REFUSED)

    def test_not_a_request(self) -> None:
        """What the mediator passes on may be anything."""
        for request in (b"", b"x" * 20, b"\x00" * 1200, self.request("aa" * 16)[:-4]):
            self.introduce(request, connection_id="aa" * 16)
            self.assert_dropped("dropped an introduction")
        request = encode(Message(Method.LISTEN, MessageClass.REQUEST, b"r" * 12))
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("another kind")

    def test_not_an_indication(self) -> None:
        """An introduction without its parts is dropped."""
        empty = encode(Message(Method.CONNECTION_REQUESTED, MessageClass.INDICATION, b"i" * 12))
        self.mediator.send(empty)
        self.assert_dropped("missing")

    def test_changed(self) -> None:
        """A request that the mediator has changed is dropped."""
        message = decode(self.request("aa" * 16))
        changed = tuple(
            (kind, value.replace(b"\x0a\x00\x00\x05", b"\x0a\x00\x00\x06"))
            for kind, value in message.attributes
            if kind != 0x8028
        )
        self.assertNotEqual(changed, message.attributes[:-1])
        request = encode(Message(Method.CONNECT, MessageClass.REQUEST, b"r" * 12, changed))
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("dropped an introduction by mediator.example:3345: ")

    def test_other_connection(self) -> None:
        """A request of another connection than the mediator says is dropped."""
        self.introduce(self.request("aa" * 16), connection_id="bb" * 16)
        self.assert_dropped("another connection")

    def test_other_server(self) -> None:
        """A request for another server of the system is dropped."""
        request = self.request("aa" * 16, target=server(2).target)
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("another server")

    def test_other_system(self) -> None:
        """A request for another system, and one by a client of another, are dropped."""
        request = self.request("aa" * 16, target=Target(server(1, of=2).system, None))
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("another server")
        self.introduce(by=client(of=2))
        self.assert_dropped("another system")

    def test_by_a_server(self) -> None:
        """A server's credentials do not make a client."""
        self.introduce(by=server(2))
        self.assert_dropped("dropped an introduction")

    def test_wrong_audience(self) -> None:
        """A request made for another mediator cannot be used by this one."""
        request = self.request("aa" * 16, audience="other.example")
        self.introduce(request, connection_id="aa" * 16)
        self.assert_dropped("dropped an introduction")

    def test_stale(self) -> None:
        """An old request cannot be kept and used later, nor one from the future."""
        for now in (NOW - 31, NOW + 31):
            request = self.request("aa" * 16, now=now)
            self.introduce(request, connection_id="aa" * 16)
            self.assert_dropped("dropped an introduction")
        request = self.request("aa" * 16, now=NOW - 29)
        self.introduce(request, connection_id="aa" * 16)
        self.assertEqual(len(self.port.begun), 1)

    def test_stale_with_nonce(self) -> None:
        """A client whose clock is wrong signs the mediator's nonce instead, and is served."""
        request = self.request("aa" * 16, now=NOW - 200_000, nonce=b"n" * 16)
        self.introduce(request, connection_id="aa" * 16)
        self.assertEqual(len(self.port.begun), 1)

    def test_time_of_the_mediator(self) -> None:
        """What is fresh is judged by the mediator's clock, which is the one clients are told."""
        self.link.stop()
        self.link, self.mediator = self.registered(ahead=7200.0)
        request = self.request("aa" * 16, now=NOW + 7200)
        self.introduce(request, connection_id="aa" * 16)
        self.assertEqual(len(self.port.begun), 1)

    def test_expired_client(self) -> None:
        """A client whose certificate has expired is not punched for."""
        self.link.stop()
        self.clock.advance(2 * 86400.0)
        self.link, self.mediator = self.registered()
        connection_id = "aa" * 16
        now = NOW + 2 * 86400
        request = self.request(connection_id, by=client("brief", days=1), now=now)
        self.introduce(request, connection_id=connection_id)
        self.assert_dropped("dropped an introduction")

    def test_revoked_client(self) -> None:
        """A client whose certificate was revoked is not punched for, whatever the mediator knows."""
        self.introduce()
        self.assertEqual(len(self.port.begun), 1)
        self.port.begun[0].connected.errback(TimeoutError())
        self.port.begun.clear()
        self.acks()
        self.revoked.add(client().leaf.serial)
        self.introduce()
        self.assert_dropped("dropped an introduction", "revoked")
        self.introduce(by=client("bob"))
        self.assertEqual(len(self.port.begun), 1)

    def test_replayed(self) -> None:
        """One request is punched for once, however often and over whatever mediator it comes."""
        connection_id = self.introduce(token=1)
        request = self.request(connection_id)
        self.introduce(request, connection_id=connection_id, token=2)
        _, other = self.registered()
        self.introduce(request, connection_id=connection_id, token=3, mediator=other)
        self.assertEqual(len(self.port.begun), 1)
        self.port.begun[0].connected.errback(TimeoutError())
        self.introduce(request, connection_id=connection_id, token=4)
        self.assertEqual(len(self.port.begun), 1)
        self.assertEqual(self.said, [])

    def test_bad_token(self) -> None:
        """A token of 0, or one that is in use, is the mediator's mistake and no crash."""
        self.introduce(token=0)
        self.assertEqual(len(self.introductions), 0)
        self.assertIn("token", self.said.pop())
        self.introduce(token=5)
        self.introduce(token=5)
        self.assertEqual(len(self.introductions), 1)
        self.assertIn("in use", self.said.pop())
        self.assertEqual(self.said, [])
        self.assert_counted(REFUSED, BEGUN, REFUSED)

    def test_too_many_of_one_client(self) -> None:
        """One client has so many rendezvous at a time and not one more; others still have theirs."""
        for _ in range(MAX_CLIENT_RENDEZVOUS):
            self.introduce()
        self.assertEqual((len(self.introductions), self.said), (MAX_CLIENT_RENDEZVOUS, []))
        late = self.introduce()
        self.assertEqual(len(self.introductions), MAX_CLIENT_RENDEZVOUS)
        self.assertIn("too many", self.said.pop())
        self.introduce(by=client("bob"))
        self.assertEqual(len(self.introductions), MAX_CLIENT_RENDEZVOUS + 1)
        # Dropped is not remembered: it may be tried again when there is room.
        self.port.begun[0].connected.errback(TimeoutError())
        self.introduce(connection_id=late)
        self.assertEqual(len(self.introductions), MAX_CLIENT_RENDEZVOUS + 1)

    def test_too_many(self) -> None:
        """All clients together have so many rendezvous at a time and not one more."""
        for number in range(MAX_RENDEZVOUS):
            self.introduce(by=client(f"client-{number % 5}"))
        self.assertEqual((len(self.introductions), self.said), (MAX_RENDEZVOUS, []))
        self.introduce(by=client("late"))
        self.assertEqual(len(self.introductions), MAX_RENDEZVOUS)
        self.assertIn("too many", self.said.pop())
        self.introductions.stop()
        self.assertEqual(len(self.introductions), 0)
        all_missed = [MISSED] * MAX_RENDEZVOUS
        self.assert_counted(*[BEGUN] * MAX_RENDEZVOUS, TOO_MANY, ended=all_missed)

    def test_remembered(self) -> None:
        """So many connections are remembered, the oldest forgotten first."""
        self.introductions = self.make_introductions(max_remembered=3)
        self.link, self.mediator = self.registered()
        first = self.introduce()
        for _ in range(2):
            self.introduce()
        self.introduce(connection_id=first)
        self.assertEqual(len(self.port.begun), 3)
        self.introduce()
        self.introduce(connection_id=first)
        self.assertEqual(len(self.port.begun), 5)
        # A request is stale long before this many others have come.
        self.assertGreaterEqual(MAX_REMEMBERED, MAX_RENDEZVOUS * 30)

    def test_start_delay(self) -> None:
        """The first punch waits as long as the mediator asks for; the acknowledgement does not."""
        connection_id = self.introduce(delay=0.3)
        self.assertEqual(self.acks(), [connection_id])
        (begun,) = self.port.begun
        self.assertEqual(begun.delay, 0.3)

    def test_long_start_delay(self) -> None:
        """A mediator cannot have an agent keep clients waiting for long."""
        for delay, waited in ((MAX_START_DELAY, MAX_START_DELAY), (3600.0, MAX_START_DELAY)):
            self.introduce(delay=delay)
            self.assertEqual(self.port.begun[-1].delay, waited)

    def update(
        self, connection_id: str, sequence: int, *observed: Address, to: ScriptedMediator
    ) -> bytes:
        """The mediator tells where the client is seen now."""
        data = ConnectionUpdate(connection_id, sequence, observed).encode(b"u" * 12)
        to.send(data)
        return data

    def test_update(self) -> None:
        """Where else the client is seen is punched at too; the mediator learns that we know."""
        connection_id = self.introduce(observed=())
        (rendezvous,) = self.port.begun
        self.assertEqual(rendezvous.candidates, [LOCAL])
        told = self.update(connection_id, 1, ELSEWHERE, to=self.mediator)
        self.assertEqual(rendezvous.candidates, [LOCAL, ELSEWHERE])
        self.assertEqual([message.raw for message in self.mediator.received()], [told])

    def test_update_while_waiting(self) -> None:
        """An update that comes before the first punch counts."""
        connection_id = self.introduce(delay=0.3)
        self.update(connection_id, 1, OBSERVED, ELSEWHERE, to=self.mediator)
        self.assertEqual(self.port.begun[0].candidates, [OBSERVED, LOCAL, ELSEWHERE])

    def test_update_by_another_mediator(self) -> None:
        """A mediator moves only the clients that it has introduced."""
        connection_id = self.introduce()
        _, other = self.registered()
        self.update(connection_id, 1, ELSEWHERE, to=other)
        self.assertEqual(self.port.begun[0].candidates, [OBSERVED, LOCAL])

    def test_update_of_nobody(self) -> None:
        """An update for a connection that is over is answered, and no more; nonsense is not."""
        told = self.update("ee" * 16, 1, ELSEWHERE, to=self.mediator)
        self.assertEqual([message.raw for message in self.mediator.received()], [told])
        self.mediator.send(
            encode(Message(Method.CONNECTION_UPDATE, MessageClass.INDICATION, b"u" * 12))
        )
        self.assertEqual(self.mediator.received(), [])
        self.assertEqual(self.port.begun, [])

    def test_stop(self) -> None:
        """An agent that stops gives up all punching, begun or not."""
        self.introduce()
        self.introduce(delay=1.0)
        self.introductions.stop()
        self.assertTrue(self.port.begun[0].cancelled)
        self.link.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.introductions), 0)
