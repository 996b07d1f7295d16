"""Tests for :mod:`wavesync.agent.relays`: which relays an agent uses, on a virtual clock."""

from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.agent.relay_support import ScriptedRelay, parked_answer
from tests.agent.support import Dialled, LogListener, MemoryEndpoint
from tests.signalling.provers import NOW, server, system
from wavesync.agent.parking import GIVE_UP
from wavesync.agent.recording import Recorder
from wavesync.agent.relays import (
    CLIENTS_A_SECOND,
    CLIENTS_AT_ONCE,
    LOOK_INTERVAL,
    MEASURE_INTERVAL,
    TELL_INTERVAL,
    TELLS_AT_ONCE,
    UPLOAD_AGAIN,
    UPLOADED_AGAIN,
    Relays,
)
from wavesync.agent.statistics import REFUSED, TAKEN, Statistics
from wavesync.doctor.flights import Flights
from wavesync.identity.crl import make_crl
from wavesync.identity.revocations import Revocations
from wavesync.session.relayed import RelayedAddress
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_lines import Move, Open
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import Relay, parse_relay
from wavesync.signalling.relay_wire import RequestKind, RequestReader

A, B, C = (parse_relay(f"http://{name}.example:3356") for name in "abc")
NEAR = parse_relay("http://127.0.0.1:3356")
CLIENT = Open("c0" * 16, "alice", ("203.0.113.7", 4321))


@implementer(IProtocolFactory)
class _Sessions:
    """Makes sessions that do nothing, and notes for whom."""

    def __init__(self) -> None:
        self.clients: list[IAddress] = []
        self.full = False

    def doStart(self) -> None:
        """Nothing begins."""

    def doStop(self) -> None:
        """Nothing ends."""

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """Make one, unless there are too many."""
        self.clients.append(addr)
        return None if self.full else Protocol()


class RelaysCase(SynchronousTestCase):
    """An agent that knows some relays."""

    own: tuple[Relay, ...] = ()
    no_others = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints: dict[Relay, MemoryEndpoint] = {}
        self.sessions = _Sessions()
        self.told: list[tuple[ParkedAt, ...]] = []
        self.revocations = Revocations(server().system_key_bytes)
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said
        self.statistics = Statistics()
        self.flights = Flights(self.clock, wall_clock=lambda: NOW + self.clock.seconds())
        self.relays = Relays(
            self.clock,
            server(),
            lambda relay: self.endpoints.setdefault(relay, MemoryEndpoint()),
            self.sessions,
            lambda: self.told.append(self.relays.parked),
            own=self.own,
            no_others=self.no_others,
            wall_clock=lambda: NOW + self.clock.seconds(),
            revocations=self.revocations,
            chance=lambda: 0.5,
            statistics=self.statistics,
            recorder=Recorder(self.flights),
        )
        self.addCleanup(self.nothing_left)
        self.relays.start()

    def nothing_left(self) -> None:
        """When it has stopped, nothing waits for anything."""
        self.relays.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def dialled(self, relay: Relay) -> list[Dialled]:
        """The attempts to reach a relay that are under way."""
        endpoint = self.endpoints.get(relay)
        return [] if endpoint is None else [each for each in endpoint.dialled if not each.cancelled]

    def next(self, relay: Relay) -> ScriptedRelay:
        """The oldest of them succeeds."""
        (attempt, *_) = self.dialled(relay)
        self.endpoints[relay].dialled.remove(attempt)
        return ScriptedRelay(attempt, relay)

    def park(self, relay: Relay, seconds: float = 0.02, revocations: int = 0) -> ScriptedRelay:
        """One connection is parked, after so long a round trip."""
        leg = self.next(relay)
        self.clock.advance(seconds)
        leg.request()
        leg.send(parked_answer(7, 0, 600.0, revocations))
        return leg

    def refuse_dials(self, relay: Relay) -> None:
        """The relay is gone."""
        while self.dialled(relay):
            (attempt, *_) = self.dialled(relay)
            self.endpoints[relay].dialled.remove(attempt)
            attempt.result.errback(Failure(ConnectionRefusedError()))

    def measured(self, relay: Relay, seconds: float) -> None:
        """Connections to a relay take so long, twice."""
        for _ in range(2):
            (attempt, *_) = self.dialled(relay)
            self.endpoints[relay].dialled.remove(attempt)
            self.clock.advance(seconds)
            protocol = attempt.factory.buildProtocol(None)  # type: ignore[arg-type]
            assert protocol is not None
            protocol.makeConnection(StringTransport())
            attempt.result.callback(protocol)

    def at(self) -> list[Relay]:
        """Where parking is tried, in the order of the alphabet."""
        return sorted(self.relays.parkings, key=str)


class NoOthersTests(RelaysCase):
    """The operator says where the agent may park."""

    own = (A,)
    no_others = True

    def test_chosen(self) -> None:
        """Whatever mediators name, the agent parks at the relay that was chosen and at no other."""
        self.park(A, 0.03)
        self.relays.told("m", [B, C])
        self.clock.pump([LOOK_INTERVAL] * 5)
        self.assertEqual((self.at(), self.relays.candidates), ([A], (A,)))
        self.assertEqual(self.relays.parked, (ParkedAt(A, 0.03),))
        self.assertEqual(set(self.endpoints), {A})


class NoRelayTests(RelaysCase):
    """The operator says that it may park nowhere."""

    no_others = True

    def test_nowhere(self) -> None:
        """No relay is dialled, and mediators hear of none."""
        self.relays.told("m", [A, B, C])
        self.clock.pump([LOOK_INTERVAL] * 5)
        self.assertEqual((self.at(), self.endpoints, self.told), ([], {}, []))


class FewRelaysTests(RelaysCase):
    """With one or two relays there is nothing to choose."""

    own = (A,)

    def test_comes_and_goes(self) -> None:
        """Mediators hear of a relay that is never the same at once, then now and then."""
        leg = self.park(A, 0.03)
        began, rounds = self.clock.seconds(), 0
        while self.clock.seconds() < began + 5 * TELL_INTERVAL:
            rounds += 1
            leg.say(CLIENT)
            while self.dialled(A):
                leg = self.park(A, 0.03 if rounds % 2 else 1.0)
            self.clock.advance(0.2)
        self.assertGreater(len(self.told), TELLS_AT_ONCE)
        self.assertLessEqual(len(self.told), TELLS_AT_ONCE + 6)

    def test_both(self) -> None:
        """Its own relay is used, and the one that a mediator names; mediators are told of both."""
        self.park(A, 0.03)
        self.assertEqual(self.relays.parked, (ParkedAt(A, 0.03),))
        self.relays.told("m", [B, A])
        self.park(B, 0.01)
        self.assertEqual(self.relays.parked, (ParkedAt(B, 0.01), ParkedAt(A, 0.03)))
        self.assertEqual(len(self.told), 2)

    def test_proof(self) -> None:
        """Each request is signed for its relay, and no two are the same."""
        leg = self.next(A)
        first = leg.request()
        checked = leg.proof(first, NOW + self.clock.seconds())
        self.assertEqual(checked.peer.server, server().server)
        self.assertEqual(first.target, server().target)
        leg.refuse(401, nonce=b"n" * 24)
        again = self.next(A)
        second = again.request()
        self.assertEqual(again.proof(second, NOW, b"n" * 24).nonce, b"n" * 24)
        self.assertNotEqual(first.connection, second.connection)

    def test_forgotten(self) -> None:
        """A relay that no mediator names any more is left."""
        self.relays.told("m", [B])
        leg = self.park(B)
        self.relays.told("n", [B])
        self.relays.told("m", [])
        self.assertFalse(leg.closed)
        self.relays.told("n", [])
        self.assertTrue(leg.closed)
        self.assertEqual((self.at(), self.relays.parked), ([A], ()))

    def test_own_host(self) -> None:
        """A mediator cannot have an agent dial its own host."""
        self.relays.told("m", [NEAR, B])
        self.assertEqual(self.relays.candidates, (A, B))

    def test_client(self) -> None:
        """A client gets a session, in which it is where the relay says."""
        leg = self.park(A)
        leg.say(CLIENT)
        self.assertEqual(self.sessions.clients, [RelayedAddress("203.0.113.7", 4321, str(A))])
        self.assertFalse(leg.closed)
        self.relays.stop()
        self.assertFalse(leg.closed)

    def test_recorded(self) -> None:
        """What a relay tells is kept under the client's connection id, for the client alone."""
        self.park(A).say(CLIENT)
        owner = "aa" * 32
        self.assertEqual(len(self.flights), 1)
        self.assertIsNone(self.flights.find(CLIENT.connection, owner))
        self.flights.note(CLIENT.connection, "asked", client="alice", owner=owner, verified=True)
        flight = self.flights.find(CLIENT.connection, owner)
        assert flight is not None
        self.assertEqual(flight.events[0].what, "relayed")
        self.assertIn(f"by the relay {A}, which sees the client at 203.0.113.7:4321",
                      flight.events[0].why)  # fmt: skip

    def test_client_turned_away(self) -> None:
        """One for whom there is no place is closed."""
        leg = self.park(A)
        self.sessions.full = True
        leg.say(CLIENT)
        self.assertTrue(leg.closed)
        leg.lose()
        self.assertEqual(self.statistics.relayed, {REFUSED: 1})

    def test_flood(self) -> None:
        """One relay brings so many clients and not one more, wherever it says that they are."""
        took = 0
        while True:
            leg = self.park(A, 0.0)
            source = f"203.0.{took // 250}.{took % 250}", 1
            leg.say(Open("c0" * 16, "alice", source))
            if leg.closed:
                leg.lose()
                break
            took += 1
        self.assertEqual(took, CLIENTS_AT_ONCE)
        self.assertEqual(self.statistics.relayed, {TAKEN: took, REFUSED: 1})
        self.assertEqual(len(self.sessions.clients), took)
        self.clock.advance(1)
        for _ in range(int(CLIENTS_A_SECOND)):
            leg = self.park(A, 0.0)
            leg.say(CLIENT)
            self.assertFalse(leg.closed)

    def test_gone(self) -> None:
        """Mediators hear that it is gone, but not of a moment without connections."""
        leg = self.park(A)
        self.clock.pump([0.5] * 20)
        while self.dialled(A):
            self.park(A, 0.02).say(CLIENT)
            if len(self.sessions.clients) > 20:
                break
        self.refuse_dials(A)
        leg.lose()
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.told[-1], self.relays.parked)
        self.assertEqual(len(self.told), 1)
        for _ in range(100):
            self.clock.advance(0.1)
            self.refuse_dials(A)
        self.assertEqual(self.told[1:], [()])
        self.clock.pump([0.5] * 30)
        self.park(A)
        self.assertEqual(len(self.told), 3)
        self.said.clear()

    def test_about_the_same(self) -> None:
        """A round trip that differs a little is not told again."""
        leg = self.park(A, 0.100)
        self.assertEqual(self.told, [(ParkedAt(A, 0.1),)])
        for _ in range(3):
            self.park(A, 0.110)
        self.assertEqual(len(self.told), 1)
        leg.say(CLIENT)
        self.park(A, 0.010)
        self.assertEqual(self.told[1:], [(ParkedAt(A, 0.01),)])


class PortsTests(RelaysCase):
    """A relay with two ports is one relay."""

    other = parse_relay(f"https://{A.host}")
    own = (A, other, B)

    def test_other_host(self) -> None:
        """Another host is parked at, though it is farther than the first one's other port."""
        for relay, seconds in zip(self.own, (0.02, 0.03, 0.2), strict=True):
            self.measured(relay, seconds)
        self.assertEqual(self.at(), [A, B])


class OneRelayTests(RelaysCase):
    """There is nothing but one relay with two ports."""

    own = (A, PortsTests.other)

    def test_one_port(self) -> None:
        """The nearer port is parked at, once both are known; the other one when that breaks."""
        self.assertEqual(self.at(), [])
        self.measured(A, 0.02)
        self.assertEqual(self.at(), [])
        self.measured(self.own[1], 0.01)
        self.assertEqual(self.at(), [self.own[1]])
        self.park(self.own[1], 0.03).protocol.connectionLost(Failure(ConnectionDone()))
        for _ in range(10):
            self.refuse_dials(self.own[1])
            self.clock.advance(1.0)
        self.assertEqual(self.at(), sorted(self.own, key=str))

    def test_not_measured(self) -> None:
        """One that does not answer is not waited for."""
        self.measured(A, 0.02)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(self.at(), [A])


class ManyRelaysTests(RelaysCase):
    """With more than two the nearest are used."""

    own = (A, B, C)

    def test_nearest(self) -> None:
        """As soon as two have answered, both are used."""
        self.assertEqual(self.at(), [])
        self.measured(C, 0.02)
        self.assertEqual(self.at(), [])
        self.measured(A, 0.03)
        self.assertEqual(self.at(), [A, C])
        self.refuse_dials(B)
        self.assertEqual(self.at(), [A, C])

    def test_nearest_later(self) -> None:
        """One that answers later takes its place if it is clearly nearer."""
        self.measured(B, 0.2)
        self.measured(A, 0.05)
        self.assertEqual(self.at(), [A, B])
        self.measured(C, 0.02)
        self.assertEqual(self.at(), [A, C])

    def test_again(self) -> None:
        """Now and then all are measured again."""
        for relay, seconds in ((A, 0.01), (B, 0.05), (C, 0.08)):
            self.measured(relay, seconds)
        for relay in (A, B):
            self.park(relay, 0.05)
        self.assertEqual(self.dialled(C), [])
        for _ in range(int(MEASURE_INTERVAL / LOOK_INTERVAL) + 1):
            self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(len(self.dialled(C)), 1)
        self.measured(C, 0.0001)
        self.assertIn(C, self.at())
        self.assertEqual(len(self.at()), 2)

    def both_parked(self) -> tuple[ScriptedRelay, ScriptedRelay]:
        """A is 10 ms away, B 20, C 30; the first two are used."""
        for relay, seconds in ((A, 0.01), (B, 0.02), (C, 0.03)):
            self.measured(relay, seconds)
        return self.park(A, 0.01), self.park(B, 0.02)

    def test_moves(self) -> None:
        """A relay that goes away is replaced at once; when it is back, it is used again."""
        leg, other = self.both_parked()
        leg.say(Move())
        leg.lose()
        self.assertEqual(self.at(), [A, B, C])
        self.assertEqual([each.relay for each in self.relays.parked], [B])
        self.park(C, 0.03)
        self.assertEqual([each.relay for each in self.relays.parked], [B, C])
        self.refuse_dials(A)
        self.clock.pump([0.5] * 21)
        self.park(A, 0.01)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(self.at(), [A, B])
        self.assertEqual([each.relay for each in self.relays.parked], [A, B])
        self.assertFalse(other.closed)
        self.said.clear()

    def test_refused(self) -> None:
        """Where one refuses this server, another will do."""
        for relay, seconds in ((A, 0.01), (B, 0.02), (C, 0.03)):
            self.measured(relay, seconds)
        self.next(A).refuse(403, "system-not-allowed")
        self.assertEqual(self.at(), [A, B, C])
        self.assertEqual(len(self.said), 1)
        self.said.clear()

    def test_unreachable(self) -> None:
        """One that is down for some seconds is replaced meanwhile."""
        for relay, seconds in ((A, 0.01), (B, 0.02), (C, 0.03)):
            self.measured(relay, seconds)
        self.park(B, 0.02)
        for _ in range(int((GIVE_UP + LOOK_INTERVAL) / 0.1) + 1):
            self.refuse_dials(A)
            self.clock.advance(0.1)
        self.assertEqual(self.at(), [A, B, C])
        self.said.clear()

    def test_stop_while_measuring(self) -> None:
        """Stopped, it measures no more."""
        attempts = [attempt for relay in self.own for attempt in self.dialled(relay)]
        self.relays.stop()
        self.assertTrue(all(attempt.cancelled for attempt in attempts))


class RevocationTests(RelaysCase):
    """Relays get the revocation list from servers."""

    own = (A,)

    def setUp(self) -> None:
        super().setUp()
        crl = make_crl(system(1).private_key, {5: NOW}, number=4, now=NOW)
        self.revocations.offer(crl.der)

    def upload(self) -> tuple[ScriptedRelay, bytes]:
        """The next connection brings a list."""
        for attempt in self.dialled(A):
            self.endpoints[A].dialled.remove(attempt)
            leg = ScriptedRelay(attempt, A)
            data = leg.transport.value()
            if data.startswith(b"POST"):
                return leg, data
        raise AssertionError("no list came")

    def test_older(self) -> None:
        """A relay with an older list, or none, is given ours; over its nonce, if it wants that."""
        self.park(A, revocations=3)
        leg, data = self.upload()
        reader = RequestReader()
        request = reader.feed(data)
        assert request is not None
        self.assertIs(request.kind, RequestKind.REVOKE)
        self.assertEqual(reader.rest, self.revocations.der)
        leg.proof(request, NOW + self.clock.seconds())
        leg.refuse(401, nonce=b"n" * 24)
        leg, data = self.upload()
        again = RequestReader().feed(data)
        assert again is not None
        self.assertEqual(leg.proof(again, NOW, b"n" * 24).nonce, b"n" * 24)
        leg.send(RelayAnswer(204).encode())
        self.assertTrue(leg.closed)
        self.clock.pump([LOOK_INTERVAL] * 20)
        self.assertRaises(AssertionError, self.upload)

    def test_forgets(self) -> None:
        """A relay that takes the list and has forgotten it at once is given it now and then."""
        given = 0
        while self.clock.seconds() < 4 * UPLOADED_AGAIN:
            while self.dialled(A):
                leg = self.next(A)
                data = leg.transport.value()
                if data.startswith(b"POST"):
                    given += 1
                    leg.send(RelayAnswer(204).encode())
                else:
                    leg.request()
                    leg.send(parked_answer())
                    leg.say(CLIENT)
                    leg.lose()
            self.clock.advance(0.25)
        self.assertGreater(given, 2)
        self.assertLessEqual(given, 5)

    def test_same(self) -> None:
        """A relay that has the same or a newer one is left alone."""
        for number in (4, 5):
            self.park(A, revocations=number)
        self.assertRaises(AssertionError, self.upload)

    def test_refused(self) -> None:
        """A list that is not taken is brought again later, not at once."""
        self.park(A)
        leg, _ = self.upload()
        leg.refuse(503)
        self.assertIn("no revocation list to the relay", self.said.pop())
        self.clock.advance(LOOK_INTERVAL)
        self.assertRaises(AssertionError, self.upload)
        self.clock.advance(UPLOAD_AGAIN)
        self.upload()[0].send(b"HTTP/1.1 nonsense\r\n\r\n")
        self.said.clear()

    def test_broken(self) -> None:
        """A connection that breaks, or hangs, is no more than one attempt."""
        self.park(A)
        leg, _ = self.upload()
        leg.lose()
        self.clock.advance(UPLOAD_AGAIN)
        leg, _ = self.upload()
        self.clock.advance(30)
        self.assertTrue(leg.closed)
        self.assertEqual(sum("no revocation list" in line for line in self.said), 2)
        self.said.clear()
