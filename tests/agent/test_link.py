"""Tests for :mod:`wavesync.agent.link`."""

import os
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import (
    MEDIATOR_HOST,
    NONCE,
    REGISTRATION,
    LogListener,
    MemoryEndpoint,
    ScriptedMediator,
)
from tests.signalling.provers import AUDIENCE, NOW, server
from wavesync.agent.doubt import DIAL_AFTER
from wavesync.agent.doubt import PATIENCE as PATIENCE_OF_DOUBT
from wavesync.agent.link import Link, Listed
from wavesync.agent.troubles import MAX_COMPLAINTS
from wavesync.agent.waits import Waits
from wavesync.identity.verify import VerificationError
from wavesync.interfaces import Address
from wavesync.signalling.leg import ANSWER_TIMEOUT, PATIENCE
from wavesync.signalling.messages import (
    Bind,
    ConnectionRequested,
    ConnectionUpdate,
    Listen,
    Refusal,
    Registered,
    RegistrationEnded,
    WarmedUp,
    WarmUp,
    keep_alive_indication,
)
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.urls import Mediator
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    check_integrity,
    decode,
    encode,
)

DAY = 86400.0
OURS: Listed = ((("192.0.2.9", 80),), (("192.0.2.9", 4000),))
MOVED: Listed = ((("198.51.100.9", 80),), (("198.51.100.9", 4000),))


class RecordingTaker:
    """Notes what it is told of clients."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Link, Message]] = []

    def requested(self, link: Link, message: Message) -> None:
        self.told.append(("requested", link, message))

    def updated(self, link: Link, message: Message) -> None:
        self.told.append(("updated", link, message))


class LinkTests(SynchronousTestCase):
    """An agent is found by its clients whatever happens between it and its mediator."""

    ahead = 0.0
    """How far the agent's clock is ahead of the mediator's, seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.taker = RecordingTaker()
        self.udp: list[tuple[Message, Address]] = []
        self.listed = OURS
        self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345))
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said

    def make_link(
        self,
        mediator: Mediator,
        resolve: Callable[[str], Deferred[Sequence[str]]] | None = None,
    ) -> Link:
        """A link without sockets, whose waits are not random."""
        return Link(
            self.clock,
            mediator,
            self.endpoint,
            server(),
            lambda data, to: self.udp.append((decode(data), to)),
            lambda: self.listed,
            self.taker,
            wall_clock=lambda: NOW + self.ahead + self.clock.seconds(),
            waits=Waits(jitter=lambda: 1.0),
            resolve=resolve,
        )

    def mediator(self) -> ScriptedMediator:
        """Let the newest attempt to connect succeed."""
        return ScriptedMediator(self.endpoint.dialled[-1], now=NOW + self.clock.seconds())

    def register(self) -> ScriptedMediator:
        """Come to a registration, with its first bind taken."""
        mediator = self.mediator()
        mediator.challenge()
        mediator.accept()
        self.assertEqual(mediator.bound(), (1, *OURS))
        return mediator

    def test_register(self) -> None:
        """Connect, be challenged, prove, tell the addresses, warm the UDP mapping: registered."""
        self.link.start()
        waiting = self.link.when_registered()
        mediator = self.mediator()
        mediator.challenge()
        request = mediator.one(Method.LISTEN)
        self.assertEqual(Listen.decode(request).server, server().target)
        self.assertEqual(mediator.proof_of(request, Listen.PURPOSE).nonce, NONCE)
        self.assertNoResult(waiting)
        self.assertEqual(self.udp, [])
        mediator.transport.write(request.raw)  # to be read once more
        mediator.accept()
        self.successResultOf(waiting)
        self.assertTrue(self.link.registered)
        self.assertEqual(mediator.bound(), (1, *OURS))
        ((warm, to),) = self.udp
        self.assertEqual(to, (MEDIATOR_HOST, 3345))
        self.assertEqual(WarmUp.decode(warm), WarmUp(REGISTRATION, 1))
        self.assertTrue(check_integrity(warm, mediator.key))
        self.successResultOf(self.link.when_registered())
        self.link.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_both_families(self) -> None:
        """The UDP port is shown to the mediator in the family that the leg has not, too."""
        found: Deferred[Sequence[str]] = Deferred()
        self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345), lambda host: found)
        self.link.start()
        mediator = self.register()
        found.callback([MEDIATOR_HOST, "2001:db8::1", "2001:db8::2"])
        ((warm, to),) = self.udp
        self.assertEqual(to, (MEDIATOR_HOST, 3345))
        answer = WarmedUp(("198.51.100.9", 1)).encode(warm.transaction_id, mediator.key)
        self.assertTrue(self.link.warm.received(decode(answer), to))
        self.assertEqual([to for _, to in self.udp[1:]], [("2001:db8::1", 3345)])
        self.link.stop()

    def test_resolved_late(self) -> None:
        """Addresses that are found after the registration has ended are not used."""
        found: Deferred[Sequence[str]] = Deferred()
        self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345), lambda host: found)
        self.link.start()
        self.register()
        self.link.stop()
        self.udp = []
        found.callback(["2001:db8::1"])
        self.assertEqual((self.udp, self.clock.getDelayedCalls()), ([], []))

    def test_clock_two_days_off(self) -> None:
        """A wrong clock does not keep a server off line: it signs over the mediator's nonces."""
        for self.ahead in (2 * DAY, -2 * DAY):
            self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345))
            self.link.start()
            mediator = self.mediator()
            mediator.challenge()
            mediator.accept()
            self.assertAlmostEqual(self.link.time_offset, -self.ahead, places=2)
            request = mediator.one(Method.BIND)
            # Dated by its own clock, never by what a mediator says the time is.
            self.assertRaises(VerificationError, mediator.proof_of, request, Bind.PURPOSE)
            mediator.refuse(request, Refusal(ErrorCode.STALE_NONCE, "", NONCE, AUDIENCE, NOW))
            self.assertEqual(mediator.bound(), (2, *OURS))
            self.listed = MOVED
            self.link.refresh()
            request = mediator.one(Method.BIND)
            stale = Refusal(ErrorCode.STALE_NONCE, "", NONCE, AUDIENCE, NOW)
            mediator.refuse(request, stale)
            again = mediator.one(Method.BIND)
            self.assertEqual(mediator.proof_of(again, Bind.PURPOSE).nonce, NONCE)
            # A nonce that does not help is not followed by another.
            mediator.refuse(again, stale)
            self.assertEqual(mediator.received(), [])
            self.listed = OURS
            self.link.stop()

    def test_clock_is_set(self) -> None:
        """An agent whose clock is set while it runs still knows what time its mediator has."""
        self.link.start()
        self.register()
        self.clock.advance(5)
        for self.ahead in (2 * DAY, -2 * DAY):
            self.assertAlmostEqual(self.link.time_offset, -self.ahead, places=2)
        self.link.stop()

    def test_no_udp(self) -> None:
        """A mediator without UDP is registered with all the same."""
        self.link = self.make_link(Mediator(AUDIENCE, None, 3345))
        self.link.start()
        self.register()
        self.assertEqual(self.udp, [])
        self.link.stop()

    def test_unreachable(self) -> None:
        """An agent that cannot reach its mediator says so, and tries again ever more slowly."""
        self.link.start()
        for attempt, wait in enumerate([0.5, 1, 2, 4, 5, 5], start=1):
            self.endpoint.dialled[-1].result.errback(ConnectionRefusedError())
            self.clock.advance(wait - 0.01)
            self.assertEqual(len(self.endpoint.dialled), attempt)
            self.clock.advance(0.02)
            self.assertEqual(len(self.endpoint.dialled), attempt + 1)
        # Said once, not with each attempt.
        (said,) = self.said
        self.assertIn("cannot reach the mediator mediator.example:3345", said)
        self.endpoint.dialled[-1].result.errback(DNSLookupError("no such name"))
        self.assertIn("no such name", self.said[1])
        self.clock.advance(5.1)
        self.register()
        self.link.stop()

    def test_complaints(self) -> None:
        """Two reasons that take turns are told once each, and many up to a limit; after it worked
        everything is news again."""
        self.link.start()
        for _ in range(3):
            for why in ("one", "other"):
                self.endpoint.dialled[-1].result.errback(DNSLookupError(why))
                self.clock.advance(6)
        self.assertEqual(len(self.said), 2, self.said)
        for number in range(2 * MAX_COMPLAINTS):
            self.endpoint.dialled[-1].result.errback(DNSLookupError(str(number)))
            self.clock.advance(6)
        self.assertEqual(len(self.said), MAX_COMPLAINTS)
        self.register().lose()
        self.assertEqual(len(self.said), MAX_COMPLAINTS + 1)
        self.link.stop()

    def test_unknown_name(self) -> None:
        """A mediator's name that does not resolve today may resolve tomorrow."""
        self.link.start()
        self.endpoint.dialled[-1].result.errback(DNSLookupError("no such name"))
        self.clock.advance(0.5)
        self.assertEqual(len(self.endpoint.dialled), 2)
        self.assertIn("no such name", self.said[0])
        self.link.stop()

    def test_refused(self) -> None:
        """A mediator that will not have this server is left alone for minutes; the log says why."""
        self.link.start()
        mediator = self.mediator()
        mediator.challenge()
        refusal = Refusal(ErrorCode.FORBIDDEN, "expired", b"", AUDIENCE, NOW)
        mediator.refuse(mediator.one(Method.LISTEN), refusal)
        self.assertTrue(mediator.closed)
        self.assertEqual(
            self.said,
            ["the mediator mediator.example:3345 refuses this server: expired"],
        )
        self.assert_away(Waits.REFUSED)

    def assert_away(self, seconds: float) -> None:
        """The next attempt comes after so many seconds, not before."""
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.clock.advance(seconds - 1)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.clock.advance(1.1)
        self.assertEqual(len(self.endpoint.dialled), 2)
        self.register()
        self.link.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_other_name(self) -> None:
        """Two different names for one mediator are the usual mistake: both are told."""
        self.link.start()
        mediator = self.mediator()
        mediator.challenge()
        refusal = Refusal(ErrorCode.FORBIDDEN, "bad-signature", b"", "m.internal", NOW)
        mediator.refuse(mediator.one(Method.LISTEN), refusal)
        self.assertIn("calls itself 'm.internal'", self.said[0])
        self.assertIn("the credentials name it 'mediator.example'", self.said[0])
        self.link.stop()

    def test_refused_without_a_word(self) -> None:
        """A refusal without a reason is told by its number."""
        self.link.start()
        mediator = self.mediator()
        mediator.refuse(mediator.one(Method.LISTEN), Refusal(ErrorCode.NOT_FOUND))
        self.assertIn("code 404", self.said[0])
        self.link.stop()

    def test_busy(self) -> None:
        """A busy mediator is asked again soon."""
        for code in (
            ErrorCode.QUOTA_REACHED,
            ErrorCode.SERVER_ERROR,
            ErrorCode.INSUFFICIENT_CAPACITY,
        ):
            self.endpoint.dialled.clear()
            self.said.clear()
            self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345))
            self.link.start()
            mediator = self.mediator()
            mediator.refuse(mediator.one(Method.LISTEN), Refusal(code))
            self.assertTrue(mediator.closed)
            self.assertEqual(self.said, ["the mediator mediator.example:3345 is busy"])
            self.clock.advance(1.1)
            self.assertEqual(len(self.endpoint.dialled), 2)
            self.link.stop()

    def test_challenged_without_end(self) -> None:
        """A mediator that only ever challenges is not answered at line speed."""
        self.link.start()
        mediator = self.mediator()
        mediator.challenge()
        request = mediator.one(Method.LISTEN)
        mediator.refuse(request, Refusal(ErrorCode.STALE_NONCE, "", b"m" * 16, AUDIENCE, NOW))
        self.assertTrue(mediator.closed)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.clock.advance(1.1)
        self.assertEqual(len(self.endpoint.dialled), 2)
        self.link.stop()

    def test_silent_at_greeting(self) -> None:
        """A mediator that takes the connection and says nothing is given up, socket and all."""
        self.link.start()
        mediator = self.mediator()
        self.clock.advance(ANSWER_TIMEOUT + 0.1)
        self.assertTrue(mediator.closed)
        self.assertIn("it does not answer", self.said[0])
        self.clock.advance(1.1)
        self.assertEqual(len(self.endpoint.dialled), 2)
        self.link.stop()

    def test_nonsense(self) -> None:
        """Answers that make no sense end the connection, socket and all, and are no crash."""
        zero_key = Registered(REGISTRATION, bytes(32), 15.0, NOW)
        answers = (
            lambda request: encode(
                Message(Method.LISTEN, MessageClass.SUCCESS, request.transaction_id)
            ),
            lambda request: encode(
                Message(Method.LISTEN, MessageClass.ERROR, request.transaction_id)
            ),
            lambda request: zero_key.encode(request.transaction_id),
            lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        )
        for answer in answers:
            self.said.clear()
            self.endpoint.dialled.clear()
            self.link = self.make_link(Mediator(AUDIENCE, 3345, 3345))
            self.link.start()
            mediator = self.mediator()
            mediator.challenge()
            mediator.send(answer(mediator.one(Method.LISTEN)))
            self.assertTrue(mediator.closed)
            self.assertEqual(len(self.said), 1, self.said)
            self.assertRegex(self.said[0], "nonsense|not STUN")
            self.clock.advance(1.1)
            self.assertEqual(len(self.endpoint.dialled), 2)
            self.link.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """A registered agent notices that its mediator is gone, and comes back when it can."""
        self.link.start()
        mediator = self.register()
        self.clock.pump([PATIENCE, PATIENCE - 0.1])
        self.assertTrue(self.link.registered)
        self.clock.advance(0.2)
        self.assertFalse(self.link.registered)
        self.assertTrue(mediator.closed)
        self.assertIn("does not answer any more", self.said[-1])
        self.clock.advance(0.3)
        self.register()
        self.link.stop()

    def test_kept_alive(self) -> None:
        """While the mediator is heard the registration stands, for days."""
        self.link.start()
        mediator = self.register()
        for _ in range(1000):
            mediator.send(keep_alive_indication(os.urandom(12)))
            self.clock.pump([PATIENCE, 15 - PATIENCE])
        self.assertTrue(self.link.registered)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.link.stop()

    def test_keep_alive_has_a_floor(self) -> None:
        """A mediator cannot make an agent send keep-alives without pause."""
        self.link.start()
        mediator = self.mediator()
        mediator.challenge()
        mediator.accept(keep_alive=0.0)
        mediator.transport.clear()
        self.clock.pump([0.1] * 15)
        size = len(mediator.transport.value())
        self.assertLess(size, 200)
        self.link.stop()

    def test_lost(self) -> None:
        """A broken connection is made again, and everything told again from the start."""
        self.link.start()
        mediator = self.register()
        mediator.lose()
        self.assertFalse(self.link.registered)
        self.assertIn("lost the mediator", self.said[-1])
        self.clock.advance(0.3)
        second = self.register()
        self.assertNotEqual(second.key, mediator.key)
        self.link.stop()

    def test_network_changed(self) -> None:
        """An agent whose router has restarted registers over a new connection as soon as one can be
        made and the old one does not answer, without a word to a person."""
        self.link.start()
        first = self.register()
        for port in (1, 2):
            ((warm, to),) = self.udp
            self.udp = []
            mapped = WarmedUp(("198.51.100.9", port)).encode(warm.transaction_id, first.key)
            self.assertTrue(self.link.warm.received(decode(mapped), to))
            if port == 1:
                self.clock.advance(5)
                first.send(keep_alive_indication(os.urandom(12)))
        self.clock.advance(DIAL_AFTER)
        second = self.mediator()
        self.assertEqual(second.received(), [])
        # Nothing is heard over it before it is needed.
        second.send(RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(b"e" * 12))
        self.assertTrue(self.link.registered)
        self.udp = []
        self.clock.advance(PATIENCE_OF_DOUBT - DIAL_AFTER)
        self.assertFalse(self.link.registered)
        self.assertTrue(first.closed)
        first.send(RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(b"e" * 12))
        second.challenge()
        second.accept()
        self.assertEqual(second.bound(), (1, *OURS))
        self.assertTrue(self.link.registered)
        self.assertTrue(check_integrity(self.udp[-1][0], second.key))
        requested = ConnectionUpdate("c0" * 16, 1, ()).encode(b"u" * 12)
        second.send(requested)
        self.assertEqual([told for told, _, _ in self.taker.told], ["updated"])
        self.assertEqual((len(self.endpoint.dialled), self.said), (2, []))
        second.lose()
        self.assertFalse(self.link.registered)
        self.link.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_network_unchanged(self) -> None:
        """A doubt that the mediator resolves leaves everything as it is."""
        self.link.start()
        mediator = self.register()
        mediator.transport.clear()
        self.link.doubt()
        (asked,) = StreamDecoder().feed(mediator.transport.value())
        mediator.send(encode(Message(BINDING, MessageClass.SUCCESS, asked.transaction_id)))
        self.clock.advance(4)
        self.assertEqual((self.link.registered, len(self.endpoint.dialled)), (True, 1))
        self.link.stop()
        self.link.doubt()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_superseded(self) -> None:
        """Credentials installed twice: the older agent says so and stays away for minutes."""
        self.link.start()
        mediator = self.register()
        mediator.send(RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(b"e" * 12))
        self.assertTrue(mediator.closed)
        self.assertFalse(self.link.registered)
        self.assertIn("installed twice", self.said[-1])
        self.assertIn(str(server().target), self.said[-1])
        self.assert_away(Waits.SUPERSEDED)

    def test_superseded_for_long(self) -> None:
        """While the other agent is there, the superseded one only asks now and then, and says no
        more; when the other one is gone it takes over, and is an agent like any other."""
        self.link.start()
        mediator = self.register()
        mediator.send(RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(b"e" * 12))
        for _ in range(3):
            self.clock.advance(Waits.SUPERSEDED + 0.1)
            mediator = self.mediator()
            mediator.challenge()
            request = mediator.one(Method.LISTEN)
            self.assertTrue(Listen.decode(request).standby)
            mediator.refuse(request, Refusal(ErrorCode.SUPERSEDED, "registered"))
            self.assertTrue(mediator.closed)
        self.assertEqual(len(self.said), 1, self.said)
        self.clock.advance(Waits.SUPERSEDED + 0.1)
        self.register().lose()
        self.clock.advance(0.3)
        mediator = self.mediator()
        self.assertFalse(Listen.decode(mediator.one(Method.LISTEN)).standby)
        self.link.stop()

    def test_superseded_by_its_own_doing(self) -> None:
        """What a leg that was given up still says of a newer registration is not taken for another
        agent: the newer one is this agent's own."""
        self.link.start()
        old = self.register()
        self.clock.pump([PATIENCE, PATIENCE, 0.3])
        self.register()
        old.send(RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(b"e" * 12))
        self.assertTrue(self.link.registered)
        self.link.stop()

    def test_mediator_shuts_down(self) -> None:
        """A mediator that says good-bye is tried again soon: it may be restarting."""
        self.link.start()
        mediator = self.register()
        mediator.send(RegistrationEnded(ErrorCode.SERVER_ERROR, "shutting-down").encode(b"e" * 12))
        self.assertTrue(mediator.closed)
        self.assertIn("good-bye: shutting-down", self.said[-1])
        self.clock.advance(Waits.DISMISSED - 0.1)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.endpoint.dialled), 2)
        self.link.stop()

    def test_mediator_closes(self) -> None:
        """A mediator that was killed is tried again soon; not by all agents in one moment."""
        self.link.start()
        mediator = self.register()
        mediator.lose(Failure(ConnectionDone()))
        self.clock.advance(Waits.DISMISSED - 0.1)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.clock.advance(0.2)
        self.register()
        self.link.stop()

    def test_registrations_that_do_not_last(self) -> None:
        """A leg that breaks again and again right after registering is made ever less often."""
        self.link.start()
        for wait in (0.2, 0.4, 0.8, 1.6):
            self.register().lose()
            self.clock.advance(wait - 0.01)
            self.assertTrue(self.endpoint.dialled[-1].result.called)
            self.clock.advance(0.02)
            self.assertFalse(self.endpoint.dialled[-1].result.called)
        mediator = self.register()
        for _ in range(3):
            mediator.send(keep_alive_indication(os.urandom(12)))
            self.clock.advance(PATIENCE)
        mediator.lose()
        self.clock.advance(0.21)
        self.assertFalse(self.endpoint.dialled[-1].result.called)
        self.link.stop()

    def test_malformed_ending(self) -> None:
        """A good-bye that cannot be read changes nothing."""
        self.link.start()
        mediator = self.register()
        mediator.send(encode(Message(Method.LISTEN, MessageClass.INDICATION, b"e" * 12)))
        self.assertTrue(self.link.registered)
        self.link.stop()

    def test_addresses_change(self) -> None:
        """A server that moves is found at its new addresses; without a change nothing is sent."""
        self.link.start()
        mediator = self.register()
        self.link.refresh()
        self.assertEqual(mediator.received(), [])
        self.listed = MOVED
        self.link.refresh()
        self.assertEqual(mediator.bound(), (2, *MOVED))
        self.link.refresh()
        self.assertEqual(mediator.received(), [])
        self.listed = OURS
        self.link.refresh()
        self.assertEqual(mediator.bound(), (3, *OURS))
        self.link.stop()

    def test_addresses_change_while_away(self) -> None:
        """What changed while there was no mediator is told when there is one."""
        self.link.start()
        self.link.refresh()
        self.listed = MOVED
        mediator = self.mediator()
        mediator.challenge()
        mediator.accept()
        self.assertEqual(mediator.bound(), (1, *MOVED))
        self.link.stop()

    def test_addresses_refused(self) -> None:
        """Addresses that the mediator refuses are told again at the next look."""
        self.link.start()
        mediator = self.mediator()
        mediator.challenge()
        mediator.accept()
        mediator.refuse(mediator.one(Method.BIND), Refusal(ErrorCode.QUOTA_REACHED))
        self.assertIn("refuses the addresses", self.said[-1])
        self.link.refresh()
        mediator.refuse(mediator.one(Method.BIND), Refusal(ErrorCode.QUOTA_REACHED))
        self.assertEqual(sum("refuses the addresses" in line for line in self.said), 1)
        self.link.refresh()
        self.assertEqual(mediator.bound(), (3, *OURS))
        self.link.stop()

    def test_indications(self) -> None:
        """What the mediator says of clients goes to whom it concerns, and can be sent back."""
        self.link.start()
        mediator = self.register()
        update = ConnectionUpdate("c0" * 16, 1, ()).encode(b"u" * 12)
        requested = ConnectionRequested("c0" * 16, b"x" * 20, (), 7, 0.0).encode(b"r" * 12)
        unknown = encode(Message(0x0FF, MessageClass.INDICATION, b"o" * 12))
        mediator.send(requested + update + unknown)
        self.assertEqual(
            [(name, link, message.raw) for name, link, message in self.taker.told],
            [("requested", self.link, requested), ("updated", self.link, update)],
        )
        self.link.echo(update)
        self.assertEqual([message.raw for message in mediator.received()], [update])
        self.link.stop()
        self.link.echo(update)

    def test_stop_while_connecting(self) -> None:
        """An agent that is stopped leaves nothing behind, whatever it was doing, silently."""
        self.link.start()
        self.link.stop()
        self.assertTrue(self.endpoint.dialled[0].cancelled)
        self.assertEqual(self.said, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_asking(self) -> None:
        """The same while an answer is awaited."""
        self.link.start()
        mediator = self.mediator()
        self.link.stop()
        self.assertTrue(mediator.closed)
        self.assertEqual(self.said, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_waiting(self) -> None:
        """The same between two attempts."""
        self.link.start()
        self.endpoint.dialled[-1].result.errback(ConnectionRefusedError())
        self.link.stop()
        self.clock.advance(100)
        self.assertEqual(len(self.endpoint.dialled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late_words(self) -> None:
        """What an old connection still says after a new one stands is not listened to."""
        self.link.start()
        old = self.register()
        old.lose()
        self.clock.advance(0.5)
        new = self.register()
        old.lose()
        self.assertTrue(self.link.registered)
        self.assertFalse(new.closed)
        self.link.stop()
