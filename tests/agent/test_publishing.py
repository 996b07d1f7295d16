"""Tests for :mod:`wavesync.agent.publishing`, and for what a link has to do with relays."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import MemoryEndpoint, ScriptedMediator
from tests.agent.test_link import OURS, RecordingTaker
from tests.signalling.provers import AUDIENCE, NOW, prover, server
from wavesync.agent.link import Link
from wavesync.agent.publishing import fitting_bind
from wavesync.interfaces import Address
from wavesync.signalling.messages import Bind, Listen, Prover, Registered, registration_key
from wavesync.signalling.numbers import MAX_BIND_SIZE, Method
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import Relay, parse_relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import decode

ONE = parse_relay("http://one.example:3356")
LONGEST = tuple(ParkedAt(parse_relay(f"http://{each * 116}:3356"), 0.02) for each in "ab")


class FittingBindTests(SynchronousTestCase):
    """Whatever a host has, its ``bind`` can be sent."""

    def bind(self, tcp: tuple[Address, ...], udp: tuple[Address, ...]) -> Bind:
        """What is sent, with the longest relays there are and a nonce."""
        signing: Prover = prover(server(), nonce=bytes(32))
        raw = fitting_bind(1, tcp, udp, LONGEST, signing)
        self.assertLessEqual(len(raw), MAX_BIND_SIZE)
        return Bind.decode(decode(raw))

    def test_little(self) -> None:
        """What fits is all there."""
        found = self.bind((("2001:db8::1", 80),), (("2001:db8::1", 81),))
        self.assertEqual((len(found.tcp), len(found.udp), found.relays), (1, 1, LONGEST))

    def test_much(self) -> None:
        """Of too many addresses the last of both lists are left out; the relays are not."""
        tcp = tuple((f"2001:db8::{n:x}", 80) for n in range(1, 9))
        udp = tuple((f"2001:db8::{n:x}", 81) for n in range(1, 9))
        found = self.bind(tcp, udp)
        self.assertEqual(found.relays, LONGEST)
        self.assertGreaterEqual(len(found.tcp), 2)
        self.assertLessEqual(abs(len(found.tcp) - len(found.udp)), 1)
        self.assertEqual(found.tcp, tcp[: len(found.tcp)])


class _Relays:
    """Knows where the server has parked, as the test says."""

    def __init__(self) -> None:
        self.parked: tuple[ParkedAt, ...] = ()
        self.heard: list[tuple[Mediator, Sequence[Relay]]] = []
        self.doubts = 0

    def told(self, mediator: Mediator, relays: Sequence[Relay]) -> None:
        """Note it."""
        self.heard.append((mediator, relays))

    def doubt(self) -> None:
        """Note it."""
        self.doubts += 1


class LinkTests(SynchronousTestCase):
    """One mediator, and relays."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.relays = _Relays()
        self.link = Link(
            self.clock,
            Mediator(AUDIENCE, 3345, 3345),
            self.endpoint,
            server(),
            lambda data, to: None,
            lambda: OURS,
            RecordingTaker(),
            wall_clock=lambda: NOW + self.clock.seconds(),
            relays=self.relays,
        )
        self.link.start()
        self.addCleanup(self.link.stop)

    def registered(self, *relays: Relay) -> ScriptedMediator:
        """Come to a registration with a mediator that knows these relays."""
        mediator = ScriptedMediator(self.endpoint.dialled[-1], now=NOW)
        mediator.challenge()
        request = mediator.one(Method.LISTEN)
        public = mediator.exchange.public_key().public_bytes_raw()
        mediator.key = registration_key(mediator.exchange, Listen.decode(request).exchange_key, 5)
        answer = Registered(5, public, 15.0, NOW, 0, relays)
        mediator.send(answer.encode(request.transaction_id))
        return mediator

    def bound(self, mediator: ScriptedMediator) -> tuple[ParkedAt, ...]:
        """The relays in the ``bind`` that came."""
        request = mediator.one(Method.BIND)
        mediator.proof_of(request, Bind.PURPOSE)
        return Bind.decode(request).relays

    def test_told(self) -> None:
        """The agent hears of the mediator's relays, and the mediator where the agent has parked."""
        mediator = self.registered(ONE)
        self.assertEqual(self.relays.heard, [(self.link.mediator, (ONE,))])
        self.assertEqual(self.bound(mediator), ())
        self.relays.parked = (ParkedAt(ONE, 0.01),)
        self.link.refresh()
        self.assertEqual(self.bound(mediator), self.relays.parked)
        self.link.refresh()
        self.assertEqual(mediator.received(), [])

    def test_dead_leg(self) -> None:
        """When the leg proves dead because the network has changed, parked ones are doubted too."""
        self.registered()
        self.link.doubt()
        self.clock.advance(0.5)
        spare = self.endpoint.dialled[-1]
        ScriptedMediator(spare, now=NOW)
        self.assertEqual(self.relays.doubts, 0)
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.relays.doubts, 1)
