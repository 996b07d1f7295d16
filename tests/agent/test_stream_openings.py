"""Tests for :mod:`wavesync.agent.stream_openings`."""

import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.agent.support import (
    MEDIATOR_HOST,
    LogListener,
    MemoryEndpoint,
    ScriptedMediator,
)
from tests.agent.test_introductions import FakePort
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from tests.tcp.support import Talkers, descriptors, free_port
from wavesync.agent.introductions import Introductions
from wavesync.agent.link import Link
from wavesync.agent.recording import Recorder
from wavesync.agent.statistics import BEGUN, CONNECTED, MISSED, REFUSED, TOO_MANY, Statistics
from wavesync.agent.stream_openings import (
    MAX_CLIENT_OPENINGS,
    MAX_OPENINGS,
    MAX_REMEMBERED,
    OPENING_TIMEOUT,
    StreamOpenings,
)
from wavesync.doctor.flights import Flights
from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.verify import Peer, Role
from wavesync.interfaces import Address
from wavesync.signalling.messages import OpenStream, StreamRequested
from wavesync.signalling.numbers import MAX_START_DELAY
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import decode

PEER = Peer(Role.CLIENT, server().target.system, None, "alice", b"f" * 32)
CLIENT: Address = ("198.51.100.7", 6000)
OWN: Address = ("10.0.0.1", 12345)
"""What StringTransport gives as its own address."""


class FakeOpening:
    """Dialling as the test wants it to end."""

    def __init__(self, _: object, own: Address, remote: Address, __: object, **options: Any):
        self.own, self.remote, self.options = own, remote, options
        self.connected: Deferred[IProtocol] = Deferred()


class StreamOpeningsTests(SynchronousTestCase):
    """An agent dials its own system's clients, as much as it should, and nobody else."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialled: list[FakeOpening] = []
        self.serial = 0
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said
        self.begin()

    def begin(self, **options: Any) -> None:
        """A link that is registered with a mediator, and what is tested."""
        factory = Factory.forProtocol(Protocol)
        introductions = Introductions(
            self.clock, server(), FakePort(), factory, wall_clock=lambda: NOW + self.clock.seconds()
        )

        def dial(*args: Any, **kwargs: Any) -> FakeOpening:
            self.dialled.append(FakeOpening(*args, **kwargs))
            return self.dialled[-1]

        self.statistics = Statistics()
        self.flights = Flights(self.clock, wall_clock=lambda: NOW + self.clock.seconds())
        self.openings = StreamOpenings(
            self.clock,  # type: ignore[arg-type]
            server().target,
            factory,
            introductions.check_client,
            dial=dial,
            statistics=self.statistics,
            recorder=Recorder(self.flights),
            **options,
        )
        endpoint = MemoryEndpoint()
        self.link = Link(
            self.clock,
            Mediator(AUDIENCE, None, 3345),
            endpoint,
            server(),
            lambda data, to: None,
            lambda: ((), ()),
            introductions,
            wall_clock=lambda: NOW + self.clock.seconds(),
            streams=self.openings,
        )
        self.link.start()
        self.mediator = ScriptedMediator(endpoint.dialled[0], now=NOW)
        self.mediator.challenge()
        self.mediator.accept(keep_alive=600)
        self.mediator.bound()

    def tell(
        self,
        connection: str | None = None,
        *,
        by: Credentials | None = None,
        target: Target | None = None,
        about: str | None = None,
        observed: tuple[Address, ...] = (CLIENT,),
        delay: float = 0.0,
        audience: str = AUDIENCE,
        nonce: bytes = b"",
        now: float | None = None,
    ) -> str:
        """Have the mediator pass a client's request on."""
        if connection is None:
            self.serial += 1
            connection = f"{self.serial:032x}"
        signs = prover(
            client() if by is None else by,
            now=NOW + self.clock.seconds() if now is None else now,
            nonce=nonce,
            audience=audience,
        )
        open_stream = OpenStream(connection, server().target if target is None else target)
        request = open_stream.encode(bytes(12), signs)
        told = StreamRequested(connection if about is None else about, request, observed, delay)
        self.mediator.send(told.encode(bytes(12)))
        return connection

    def assert_dropped(self, words: str) -> None:
        """Nobody was dialled, and the log says why."""
        self.assertEqual(self.dialled, [])
        (line,) = self.said
        self.assertIn(words, line)
        self.said.clear()

    def test_dialled(self) -> None:
        """From the port of the leg, to where the mediator has seen the client, for so long."""
        self.tell(delay=0.2)
        (opening,) = self.dialled
        self.assertEqual((opening.own, opening.remote), (OWN, CLIENT))
        self.assertEqual(
            (opening.options["timeout"], opening.options["delay"]), (OPENING_TIMEOUT, 0.2)
        )
        self.assertEqual(len(self.openings), 1)
        opening.connected.callback(Protocol())
        self.assertEqual((len(self.openings), self.said), (0, []))
        self.assertEqual(self.statistics.openings, {BEGUN: 1})
        self.assertEqual(self.statistics.streams, {CONNECTED: 1})

    def test_recorded(self) -> None:
        """The client can ask afterwards whether it was dialled, and what came of it."""
        connections = [self.tell(), self.tell()]
        self.dialled[0].connected.callback(Protocol())
        self.dialled[1].connected.errback(TimeoutError("no answer came"))
        owner = client().leaf.peer.fingerprint.hex()
        told = []
        for connection in connections:
            flight = self.flights.find(connection, owner)
            assert flight is not None
            told.append([each.what for each in flight.events])
            self.assertIn(CLIENT[0], flight.events[0].why)
            self.assertIn(AUDIENCE, flight.events[0].why)
        self.assertEqual(told, [["dialling", "heard"], ["dialling", "no answer"]])

    def test_once(self) -> None:
        """A request that is passed on again, even with another address, has nobody dialled."""
        connection = self.tell()
        self.tell(connection, observed=(("198.51.100.8", 1),))
        self.assertEqual(len(self.dialled), 1)
        self.dialled[0].connected.errback(ConnectFailed("refused"))
        self.tell(connection)
        self.assertEqual((len(self.dialled), len(self.openings)), (1, 0))
        self.assertEqual(self.statistics.openings, {BEGUN: 1})
        self.assertEqual(self.statistics.streams, {MISSED: 1})

    def test_delay_is_limited(self) -> None:
        """A mediator cannot have an agent wait for longer than is useful."""
        self.tell(delay=3600)
        self.assertEqual(self.dialled[0].options["delay"], MAX_START_DELAY)

    def test_lies(self) -> None:
        """What no client of this system has asked of this server is not done."""
        for options, words in (
            ({"by": client(of=2)}, "another system"),
            ({"by": server(2)}, "certificate of a server"),
            ({"target": server(2).target}, "another server"),
            ({"about": "ee" * 16}, "another connection"),
            ({"audience": "elsewhere.example"}, "signature"),
            ({"now": NOW - 3600}, "too old"),
        ):
            self.tell(**options)
            self.assert_dropped(words)
        self.assertEqual(self.statistics.openings, {REFUSED: 6})
        self.tell(now=NOW - 3600, nonce=b"n" * 16)  # the mediator has judged its own nonce
        self.assertEqual(len(self.dialled), 1)

    def test_no_address(self) -> None:
        """Loopback, the mediator itself, and another family than the leg's are not dialled."""
        for observed in (
            (),
            (("127.0.0.1", 22),),
            (("198.51.100.7", 0),),
            ((MEDIATOR_HOST, 3345),),
            (("2001:db8::7", 6000),),
        ):
            self.tell(observed=observed)
            self.assert_dropped("no address that could be dialled")

    def test_loopback(self) -> None:
        """Where everything is on one host, loopback is dialled."""
        self.begin(allow_loopback=True)
        self.tell(observed=(("127.0.0.1", 4000),))
        self.assertEqual(self.dialled[0].remote, ("127.0.0.1", 4000))

    def test_limits(self) -> None:
        """So many at one time for a client and for all, and not one more."""
        for _ in range(MAX_CLIENT_OPENINGS + 1):
            self.tell()
        self.assertEqual(len(self.openings), MAX_CLIENT_OPENINGS)
        self.assertIn("too many for alice@", self.said.pop())
        self.assertEqual(self.statistics.openings, {BEGUN: MAX_CLIENT_OPENINGS, TOO_MANY: 1})
        for number in range(MAX_OPENINGS):
            self.tell(by=client(f"client-{number // MAX_CLIENT_OPENINGS}"))
        self.assertEqual(len(self.openings), MAX_OPENINGS)
        self.dialled[0].connected.errback(ConnectFailed("refused"))
        self.tell()
        self.assertEqual(len(self.openings), MAX_OPENINGS)

    def test_remembered(self) -> None:
        """So many connection ids are remembered, and no more."""
        self.assertGreater(MAX_REMEMBERED, MAX_OPENINGS)
        self.begin(max_remembered=2)
        first, *_ = [self.tell() for _ in range(3)]
        self.assertEqual(len(self.dialled), 3)
        self.tell(first)
        self.assertEqual(len(self.dialled), 4)

    def test_stop(self) -> None:
        """An agent that stops dials nobody any more."""
        self.tell()
        self.openings.stop()
        self.assertTrue(self.dialled[0].connected.called)
        self.assertEqual((len(self.openings), self.said), (0, []))

    def test_garbage(self) -> None:
        """What cannot be read is dropped."""
        self.mediator.send(StreamRequested("ab" * 16, b"x" * 40, (CLIENT,)).encode(bytes(12)))
        self.assert_dropped("does not dial a client")

    def test_leg_gone(self) -> None:
        """A link without a leg has no port to dial from."""
        self.link.stop()
        self.assertIsNone(self.link.ends)


class AcceptingTests(TestCase):
    """With real sockets: who finds the port of the leg while somebody is dialled."""

    async def test_not_waited_for_yet(self) -> None:
        """A client that connects before its own request has come is served all the same."""
        before = descriptors()
        talkers = Talkers(b"hello")
        openings = StreamOpenings(
            reactor,  # type: ignore[arg-type]
            server().target,
            talkers,
            lambda link, message, purpose: PEER,
            allow_loopback=True,
        )
        self.addCleanup(openings.stop)
        own = free_port()
        link: Any = SimpleNamespace(
            ends=(own, ("127.0.0.1", 9)), mediator=Mediator(AUDIENCE, None, 3345)
        )
        request = OpenStream("ab" * 16, server().target).encode(bytes(12), prover(client()))
        told = StreamRequested("ab" * 16, request, (free_port(),), 0.5).encode(bytes(12))
        openings.requested(link, decode(told))
        with socket.socket() as early:
            early.setblocking(False)
            early.connect_ex(own)
            heard = b""
            for _ in range(500):
                await deferLater(IReactorTime(reactor), 0.01, lambda: None)
                try:
                    heard = early.recv(10)
                except BlockingIOError:
                    continue
                break
            self.assertEqual(heard, b"hello")
        self.assertEqual(len(openings), 1)
        openings.stop()
        for _ in range(100):
            if descriptors() == before:
                break
            await deferLater(IReactorTime(reactor), 0.01, lambda: None)
        self.assertEqual((len(openings), descriptors()), (0, before))
