"""Tests for :mod:`wavesync.relay.house` on a virtual clock: what is due when."""

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.relay.world import NAME, connect_request, park_request
from tests.signalling.provers import NOW, client, server
from wavesync.identity.ids import Target
from wavesync.relay.factory import CLOSE_LIFE, RelayFactory
from wavesync.relay.house import House
from wavesync.relay.pair import IPair
from wavesync.relay.pairs import CHECK_INTERVAL, Joined, Pairs
from wavesync.relay.parked import LEAST_READY, MOST_READY
from wavesync.relay.presence import IPresence, NotKnown
from wavesync.relay.protocol import RelayProtocol
from wavesync.relay.settings import Limits, RelaySettings
from wavesync.relay.statistics import Statistics
from wavesync.signalling.relay_answers import AnswerReader, RelayAnswer
from wavesync.signalling.relay_urls import Relay


class Wire(StringTransport):
    """A transport that tells how it was closed."""

    closed = ""

    def loseConnection(self) -> None:
        """Close it properly."""
        self.closed = self.closed or "lost"

    def abortConnection(self) -> None:
        """Close it at once."""
        self.closed = "aborted"

    def said(self) -> bytes:
        """What was written since the last time."""
        data = bytes(self.value())
        self.clear()
        return data


@implementer(IPresence)
class Elsewhere:
    """Presence that is slow, or broken."""

    reachable = True
    shown = 0

    def __init__(self) -> None:
        self.asked: Deferred[Relay | None] = Deferred()
        self.told: list[str] = []

    def start(self) -> None:
        """Nothing to do."""

    def arrived(self, server: Target) -> None:
        """Keep it."""
        self.told.append("arrived")

    def left(self, server: Target) -> None:
        """Keep it."""
        self.told.append("left")

    def find(self, server: Target) -> Deferred[Relay | None]:
        """Answer later."""
        return self.asked

    def stop(self) -> Deferred[None]:
        """Nothing to do."""
        return succeed(None)


class HouseCase(SynchronousTestCase):
    """A relay in memory."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.presence = Elsewhere()
        settings = RelaySettings(name=NAME, limits=Limits(heads=3))
        self.house = House(
            settings,
            self.clock,
            os.urandom,
            wall=lambda now: NOW + now,
            presence=self.presence,
        )
        self.factory = RelayFactory(self.house, self.clock)

    def dial(self, data: bytes = b"") -> tuple[RelayProtocol, Wire]:
        """A connection, and what it says first."""
        protocol, wire = self.factory.buildProtocol(None), Wire()
        assert protocol is not None
        protocol.makeConnection(wire)
        if data:
            protocol.dataReceived(data)
        return protocol, wire

    def park(self, round_trip: float | None = None) -> tuple[RelayProtocol, Wire]:
        """A parked connection, with a measured round trip."""
        protocol, wire = self.dial(park_request(server()))
        self.assertTrue(wire.said().endswith(b"\r\n\r\nPING\n"))
        if round_trip is not None:
            self.clock.advance(round_trip)
            protocol.dataReceived(b"PONG\n")
        return protocol, wire

    def visit(self, first: bytes = b"") -> tuple[RelayProtocol, Wire]:
        """A client."""
        return self.dial(connect_request(client(), server().target) + first)

    def answer(self, wire: Wire) -> RelayAnswer | None:
        """What a connection was answered."""
        return AnswerReader().feed(wire.said())


class ParkedTests(HouseCase):
    """Parked connections are asked whether they live."""

    def test_ping(self) -> None:
        """A PING after 15 s of silence; the round trip is measured each time."""
        protocol, wire = self.park(0.25)
        (leg,) = self.house.roll
        self.assertEqual(leg.round_trip, 0.25)
        self.clock.advance(14.9)
        self.assertEqual(wire.said(), b"")
        self.clock.advance(0.2)
        self.assertEqual(wire.said(), b"PING\n")
        self.clock.advance(1.0)
        protocol.dataReceived(b"PONG\n")
        assert leg.round_trip is not None
        self.assertApproximates(leg.round_trip, 1.0, 1e-9)
        self.clock.advance(15.1)
        self.assertEqual(wire.said(), b"PING\n")

    def test_flood(self) -> None:
        """A server that answers what nobody asked loses the connection."""
        protocol, wire = self.park(0.1)
        protocol.dataReceived(b"PONG\n")
        self.assertEqual(wire.closed, "aborted")
        self.assertEqual((len(self.house.roll), self.house.pool.parked), (0, 0))

    def test_dead(self) -> None:
        """One that does not answer is dropped within 30 s of its last sign of life."""
        _, wire = self.park(0.1)
        self.clock.pump([0.1] * 248)
        self.assertEqual(wire.closed, "")
        self.clock.pump([0.1] * 5)
        self.assertEqual(wire.closed, "aborted")
        self.assertEqual((len(self.house.roll), self.house.pool.parked), (0, 0))
        self.assertEqual(self.house.statistics.dead, 1)

    def test_surplus(self) -> None:
        """When more are parked than are wanted, all are asked at once."""
        wires = [self.park(0.1)[1] for _ in range(8)]
        self.assertEqual([wire.said() for wire in wires], [b"PING\n"] * 7 + [b""])
        # Those that do not answer make room.
        self.clock.advance(10.1)
        self.assertEqual([wire.closed for wire in wires], ["aborted"] * 7 + [""])

    def test_presence(self) -> None:
        """Other relays hear of a server that comes, and of one that is gone."""
        protocol, _ = self.park(0.1)
        self.assertEqual(self.presence.told, ["arrived"])
        protocol.connectionLost()
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.presence.told, ["arrived", "left"])

    def test_idle_timer(self) -> None:
        """When nobody is there and nothing is remembered, no timer runs."""
        protocol, _ = self.park(0.1)
        protocol.connectionLost()
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class VisitorTests(HouseCase):
    """Clients wait for READY, for a connection, and for other relays."""

    def patience(self, round_trip: float | None) -> float:
        """How long a connection has to say READY."""
        self.park(round_trip)
        _, wire = self.visit(b"hello")
        began = self.clock.seconds()
        (leg_wire,) = [self.wire_of(leg) for leg in self.house.roll]
        while leg_wire.closed == "" and self.clock.seconds() < began + 10.0:
            self.clock.advance(0.01)
        self.assertEqual(wire.closed, "")
        waited = self.clock.seconds() - began
        self.clock.advance(6.0)
        self.assertEqual(wire.closed, "lost")
        return waited

    def wire_of(self, leg: object) -> Wire:
        """The transport of a parked connection."""
        wire = leg.wire.transport  # type: ignore[attr-defined]
        assert isinstance(wire, Wire)
        return wire

    def test_patience(self) -> None:
        """Four round trips, within limits."""
        for round_trip, expected in (
            (0.01, LEAST_READY),
            (0.25, 1.0),
            (1.0, MOST_READY),
            (None, MOST_READY),
        ):
            self.assertApproximates(self.patience(round_trip), expected, 0.02)

    def test_same_bytes(self) -> None:
        """The next connection gets what the first one got, and what has come since."""
        _, second = self.park(0.1)
        _, first = self.park(0.1)
        protocol, wire = self.visit(b"hello")
        opened, _, early = first.said().partition(b"\n")
        self.assertTrue(opened.startswith(b"OPEN "))
        self.assertEqual(early, b"hello")
        protocol.dataReceived(b" more")
        self.assertEqual(first.said(), b"")
        self.clock.advance(LEAST_READY)
        self.assertEqual(first.closed, "aborted")
        again, _, early = second.said().partition(b"\n")
        self.assertEqual((again, early), (opened, b"hello more"))
        # The client goes: whoever was told of it is let go, too.
        protocol.connectionLost()
        self.assertEqual(second.closed, "aborted")
        self.assertEqual((wire.said(), len(self.house.quotas)), (b"", 0))
        self.assertEqual((len(self.house.visitors), len(self.house.roll)), (0, 0))

    def test_in_vain(self) -> None:
        """Five seconds in all, whatever was tried."""
        for _ in range(2):
            self.park()
        _, wire = self.visit()
        self.clock.pump([0.1] * 48)
        self.assertEqual(wire.said(), b"")
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.answer(wire), RelayAnswer(503, retry_after=1.0))
        self.assertEqual(wire.closed, "lost")
        self.assertEqual((len(self.house.quotas), self.house.pool.waiting), (0, 0))

    def test_presence_slow(self) -> None:
        """Other relays are not waited for longer; an answer that comes late does no harm."""
        _, wire = self.visit()
        self.clock.advance(5.0)
        self.assertEqual(self.answer(wire), RelayAnswer(503, retry_after=1.0))
        self.presence.asked.callback(Relay("there.example", 80, False))
        self.assertEqual(wire.said(), b"")

    def test_presence_broken(self) -> None:
        """When nothing can be known of other relays, the server is not here; that is counted, and a
        fault of ours is logged.
        """
        refused = self.house.statistics.refused
        for error, logged in ((NotKnown(), 0), (ValueError("oops"), 1)):
            _, wire = self.visit()
            self.presence.asked.errback(error)
            self.assertEqual(self.answer(wire), RelayAnswer(404))
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), logged)
            self.presence.asked = Deferred()
        self.assertEqual((refused["presence"], refused["no-server"]), (2, 0))
        _, wire = self.visit()
        self.presence.asked = Deferred()
        _, wire = self.visit()
        self.presence.asked.callback(None)
        self.assertEqual(self.answer(wire), RelayAnswer(404))

    def test_client_gone_elsewhere(self) -> None:
        """A client that goes while other relays are asked is forgotten."""
        protocol, wire = self.visit()
        protocol.connectionLost()
        self.presence.asked.callback(None)
        self.assertEqual((wire.said(), len(self.house.quotas)), (b"", 0))


class ClosingTests(HouseCase):
    """Connections that are closed, or should be."""

    def test_not_taken(self) -> None:
        """A peer that does not take the last bytes is cut off."""
        _, wire = self.dial(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(wire.closed, "lost")
        self.clock.advance(CLOSE_LIFE)
        self.assertEqual(wire.closed, "aborted")

    def test_heads(self) -> None:
        """For one that is too many, the oldest without a request goes; those with one stay."""
        _, parked = self.park(0.1)
        wires = [self.dial()[1] for _ in range(4)]
        self.assertEqual([wire.closed for wire in wires], ["aborted", "", "", ""])
        self.clock.advance(10.0)
        self.assertEqual([wire.closed for wire in wires], ["aborted"] * 4)
        self.assertEqual(parked.closed, "")
        refused = self.house.statistics.refused
        self.assertEqual((refused["heads"], refused["head-time"]), (1, 3))


@implementer(IPair)
class Pair:
    """A pair that does as it is told."""

    up = down = 0

    def __init__(self) -> None:
        self.last_moved = 0.0
        self.over: Deferred[str] = Deferred()
        self.seems_dead = False

    def notify(self, listener: Callable[[str], object]) -> None:
        """Tell when it is over."""
        self.over.addCallback(listener)

    def dying(self) -> bool:
        """Tell whether it seems dead."""
        return self.seems_dead

    def abort(self, reason: str) -> None:
        """End it."""
        self.over.callback(reason)


class PairsTests(SynchronousTestCase):
    """Pairs end when they are idle or dead."""

    def setUp(self) -> None:
        """Join two."""
        self.statistics = Statistics()
        self.pairs = Pairs(100.0, self.statistics)
        self.over = 0
        self.pair = Pair()
        peers = client().peer, server().peer
        joined = Joined(self.pair, *peers, 5, 7)
        self.pairs.add(joined, self.ended)

    def ended(self) -> None:
        """It is over."""
        self.over += 1

    def test_idle(self) -> None:
        """A pair without a byte is ended after its time, one with bytes is not."""
        self.pairs.check(99.9)
        self.pair.last_moved = 50.0
        self.pairs.check(149.9)
        self.assertEqual((len(self.pairs), self.over), (1, 0))
        self.pair.up = 10
        self.pairs.check(150.0)
        self.assertEqual((len(self.pairs), self.over), (0, 1))
        self.assertEqual(dict(self.statistics.ended), {"idle": 1})
        self.assertEqual(self.pairs.moved, (15, 7))

    def test_dead(self) -> None:
        """A pair that seems dead twice is ended; once is not enough."""
        self.pair.seems_dead = True
        self.pairs.check(CHECK_INTERVAL)
        self.pair.seems_dead = False
        self.pairs.check(2 * CHECK_INTERVAL)
        self.pair.seems_dead = True
        self.pairs.check(3 * CHECK_INTERVAL)
        self.assertEqual(len(self.pairs), 1)
        self.pairs.check(4 * CHECK_INTERVAL)
        self.assertEqual(dict(self.statistics.ended), {"dead": 1})
