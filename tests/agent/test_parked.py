"""Tests for :mod:`wavesync.agent.parked`."""

from OpenSSL.SSL import Error as TLSError
from OpenSSL.SSL import SysCallError
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.relay_support import ScriptedRelay, parked_answer
from tests.agent.support import Dialled
from tests.signalling.provers import server
from wavesync.agent.parked import (
    ANSWER_TIMEOUT,
    LINES_A_SECOND,
    LINES_AT_ONCE,
    MAX_KEEP_ALIVE,
    MIN_KEEP_ALIVE,
    PARTING,
    SILENT_FOR,
    ParkedLeg,
)
from wavesync.session.relayed import RelayedAddress
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_lines import Idle, Move, Open, Ping, Pong, Ready
from wavesync.signalling.relay_urls import parse_relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind
from wavesync.tunnel.urls import TunnelURL
from wavesync.tunnel.watch import Watch
from wavesync.tunnel.way import Route, Way

CLIENT = Open("c0" * 16, "alice", ("203.0.113.7", 4321))


class _Session(Protocol):
    """What speaks with a client."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.ended = True


class _Owner:
    """Notes what legs tell."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.round_trip = 0.0
        self.session: _Session | None = _Session()

    def leg_request(self, leg: ParkedLeg) -> bytes:
        """Ask without a proof."""
        request = RelayRequest(RequestKind.PARK, server().target, "ab" * 16)

        return request.encode(parse_relay("r.example"), None)

    def leg_parked(self, leg: ParkedLeg, answer: RelayAnswer, round_trip: float) -> None:
        """Note it."""
        assert answer.parking is not None
        self.round_trip = round_trip
        self.events.append(f"parked {answer.parking.wanted} {answer.parking.waiting}")

    def leg_refused(self, leg: ParkedLeg, answer: RelayAnswer) -> None:
        """Note it."""
        self.events.append(f"refused {answer.status}")

    def leg_told(self, leg: ParkedLeg, line: Idle | Move) -> None:
        """Note it."""
        self.events.append(str(line))

    def leg_taken(self, leg: ParkedLeg, client: Open) -> tuple[IProtocol, IAddress] | None:
        """Give the session."""
        self.events.append(f"taken {client.client}")
        host, port = client.source
        if self.session is None:
            return None
        return self.session, RelayedAddress(host, port, "http://r.example")

    def leg_over(self, leg: ParkedLeg, why: str) -> None:
        """Note it."""
        self.events.append(f"over: {why}")


class ParkedLegTests(SynchronousTestCase):
    """A connection is parked until a client takes it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.owner = _Owner()

        factory = Factory.forProtocol(lambda: ParkedLeg(self.clock, self.owner))
        self.relay = ScriptedRelay(Dialled(factory, Deferred()))
        assert isinstance(self.relay.protocol, ParkedLeg)
        self.leg = self.relay.protocol

    def tearDown(self) -> None:
        """Nothing waits for anything any more."""
        self.leg.abandon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def events(self) -> list[str]:
        """What the owner was told since the last look."""
        events, self.owner.events = self.owner.events, []
        return events

    def test_parked(self) -> None:
        """It asks, and is parked; the round trip is the time of the answer."""
        self.clock.advance(0.04)
        self.relay.park(wanted=9, waiting=2)
        self.assertEqual(self.events(), ["parked 9 2"])
        self.assertAlmostEqual(self.owner.round_trip, 0.04)
        self.assertEqual(self.leg.parked_at, 0.04)

    def test_over_tls(self) -> None:
        """Over TLS the handshake is no part of the round trip."""
        self.clock.advance(0.5)
        self.leg.handshakeCompleted()
        self.clock.advance(0.04)
        self.relay.park()
        self.assertAlmostEqual(self.owner.round_trip, 0.04)

    def test_lines(self) -> None:
        """PING is answered, and what the relay says is passed on, however it is cut."""
        self.relay.park()
        self.events()
        for byte in Ping().encode() + Idle(12, 3).encode() + Move().encode():
            self.relay.send(bytes([byte]))
        self.assertEqual(self.relay.said(), [Pong()])
        self.assertEqual(self.events(), [str(Idle(12, 3)), str(Move())])

    def test_taken(self) -> None:
        """OPEN is answered READY, and both sides' bytes follow; the client is where it says."""
        session = self.owner.session
        assert session is not None
        self.relay.park()
        self.relay.send(Ping().encode() + CLIENT.encode() + b"\x16hello")
        self.assertEqual(self.events(), ["parked 7 0", "taken alice"])
        self.assertEqual(session.heard, b"\x16hello")
        self.assertEqual(session.transport.getPeer().host, "203.0.113.7")  # type: ignore[union-attr]
        assert session.transport is not None
        session.transport.write(b"\x16answer")
        self.assertEqual(self.relay.said(), [Pong(), Ready()])
        self.assertEqual(self.relay.rest, b"\x16answer")
        self.relay.send(b"more\n")
        self.assertEqual(session.heard, b"\x16hellomore\n")
        self.clock.advance(1000)  # no PING is expected any more
        self.assertFalse(self.relay.closed)
        self.relay.lose()
        self.assertTrue(session.ended)
        self.assertEqual(self.events(), [])

    def test_all_at_once(self) -> None:
        """A client that waited comes with the relay's answer."""
        self.relay.request()
        self.relay.send(parked_answer() + CLIENT.encode() + b"\x16")
        self.assertEqual(self.events(), ["parked 7 0", "taken alice"])
        assert self.owner.session is not None
        self.assertEqual(self.owner.session.heard, b"\x16")

    def test_turned_away(self) -> None:
        """A client that is too much is answered and closed: the relay need not try another leg."""
        self.owner.session = None
        self.relay.park()
        self.relay.send(CLIENT.encode() + b"\x16")
        self.assertEqual(self.relay.said(), [Ready()])
        self.assertTrue(self.relay.closed)
        self.relay.send(b"more")

    def test_turned_away_over_tls(self) -> None:
        """There the relay has to close, too: one that does not is not waited for."""
        self.owner.session = None
        self.relay.park()
        self.relay.send(CLIENT.encode())
        self.clock.advance(PARTING - 0.1)
        self.assertFalse(self.relay.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.relay.transport.disconnected)

    def test_flood(self) -> None:
        """A relay that talks and talks is cut off: answers to it must not pile up."""
        for words in (Ping().encode(), Idle(7, 0).encode()):
            self.setUp()
            self.relay.park()
            self.relay.send(words * int(LINES_AT_ONCE))
            self.assertFalse(self.relay.closed)
            self.relay.send(words)
            self.assertTrue(self.relay.closed)
            self.assertIn("over: it makes no sense: more lines", self.events()[-1])
            self.setUp()
            self.relay.park()
            for _ in range(20):
                self.relay.send(words * int(LINES_A_SECOND))
                self.clock.advance(1.0)
            self.assertFalse(self.relay.closed)

    def test_abandoned(self) -> None:
        """A leg that a client has is left alone; any other is closed, and nothing is told."""
        self.relay.park()
        self.relay.say(CLIENT)
        self.leg.abandon()
        self.assertFalse(self.relay.closed)
        self.events()
        self.setUp()
        self.relay.park()
        self.leg.abandon()
        self.assertTrue(self.relay.closed)
        self.relay.lose()
        self.relay.say(CLIENT)
        self.assertEqual(self.events(), ["parked 7 0"])

    def test_refused(self) -> None:
        """Any other answer ends it."""
        self.relay.refuse(403, "revoked")
        self.assertEqual(self.events(), ["refused 403"])
        self.assertTrue(self.relay.closed)

    def test_no_answer(self) -> None:
        """A relay that takes the connection and says nothing is given up."""
        self.clock.advance(ANSWER_TIMEOUT - 0.1)
        self.assertFalse(self.relay.closed)
        self.clock.advance(0.2)
        self.assertTrue(self.relay.closed)
        self.assertEqual(self.events(), ["over: no answer came"])

    def test_silence(self) -> None:
        """Without a PING for almost two intervals the leg is dead; one keeps it alive."""
        self.relay.park(keep_alive=10.0)
        self.clock.advance(18)
        self.relay.say(Ping())
        self.clock.advance(18)
        self.assertFalse(self.relay.closed)
        self.clock.advance(1.5)
        self.assertTrue(self.relay.closed)
        self.assertEqual(self.events()[1:], ["over: it fell silent"])

    def test_odd_keep_alives(self) -> None:
        """No relay can have a server wait for ever, or give up its legs all the time."""
        for said, believed in ((0.001, MIN_KEEP_ALIVE), (99999.0, MAX_KEEP_ALIVE)):
            self.setUp()
            self.relay.park(keep_alive=said)
            self.clock.advance(SILENT_FOR * believed - 0.1)
            self.assertFalse(self.relay.closed, said)
            self.clock.advance(0.2)
            self.assertTrue(self.relay.closed, said)

    def test_nonsense(self) -> None:
        """What no relay says ends the leg, whenever it comes."""
        bare = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: wavesync-relay/1\r\n\r\n"
        other = bare.replace(b"wavesync-relay/1", b"websocket")
        for first, then in (
            (b"SSH-2.0-x\r\n\r\n", b""),
            (bare, b""),
            (other, b""),
            (b"x" * 9000, b""),
            (parked_answer(), b"HELLO\n"),
            (parked_answer(), b"PONG\n"),
            (parked_answer(), b"READY\n"),
            (parked_answer(), b"x" * 300),
            (parked_answer(), b"OPEN x y z 1\n"),
        ):
            self.setUp()
            self.relay.send(first)
            if then:
                self.relay.send(then)
            self.assertTrue(self.relay.closed, (first, then))
            self.assertIn("over: it makes no sense", self.events()[-1])

    def test_tls_fails(self) -> None:
        """What is wrong with a relay's certificate can be read in the log."""
        for error, words in (
            (
                TLSError([("SSL routines", "", "certificate verify failed")]),
                "TLS fails: certificate",
            ),
            (TLSError(), "TLS fails: it is cut off"),
            (SysCallError(-1, "Unexpected EOF"), "TLS fails: it is cut off"),
            (VerificationError(errors=[]), "its certificate is for another host"),
        ):
            self.setUp()
            self.relay.protocol.connectionLost(Failure(error))
            self.assertIn(words, self.events()[0])

    def test_closed(self) -> None:
        """A connection that is closed is over, once."""
        self.relay.park()
        self.relay.lose()
        self.assertEqual(self.events()[1:], ["over: the connection was closed"])


class _Observer:
    """Counts how often a connection was said to be cut."""

    cuts = 0

    def cut(self, watch: Watch, lasted: float) -> None:
        """Count it."""
        self.cuts += 1

    def works(self, watch: Watch) -> None:
        """Bytes have come."""

    opened = works

    def fails(self, watch: Watch, why: str) -> None:
        """None have."""

    def ended(self, watch: Watch, lasted: float, by_peer: bool) -> None:
        """It is over."""


class CutTests(SynchronousTestCase):
    """A proxy that cuts what is parked is told apart from a relay that goes, and from clients."""

    def cuts(self, *said: bytes) -> int:
        """How often that was said of a connection that ends after this."""
        clock, observer = Clock(), _Observer()
        way = Way(TunnelURL("http", "relay.example", 3356), Route.CONNECT, "raw")

        class Watched(Factory):
            def buildProtocol(self, addr: IAddress | None) -> Watch:
                return Watch(clock, way, ParkedLeg(clock, _Owner()), observer, 0.0)

        relay = ScriptedRelay(Dialled(Watched(), Deferred()))
        for each in said:
            relay.send(each)
        relay.lose()
        self.assertEqual(clock.getDelayedCalls(), [])
        return observer.cuts

    def test_cut(self) -> None:
        """Only what is parked, and waits for a client, is cut."""
        for said, cuts in (
            ((), 0),
            ((parked_answer(),), 1),
            ((parked_answer(), Move().encode()), 0),
            ((parked_answer(), CLIENT.encode()), 0),
            ((RelayAnswer(503).encode(),), 0),
        ):
            self.assertEqual(self.cuts(*said), cuts, said)
