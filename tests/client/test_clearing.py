"""Tests for :mod:`wavesync.client.clearing`: a mediator says that a server is not online, and it can be
reached.  The mediator's TCP port has a real mediator's core behind it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.client.relay_world import RELAY
from tests.client.test_relayed import SERVER, RelayedCase
from tests.client.test_revoking import revocation_list
from tests.client.world import MEDIATOR_HOST
from tests.signalling.provers import NOW, client, server
from wavesync.client.attempt import CONNECT_LIMIT, LEAST_LIMIT
from wavesync.client.clearing import CLEAR_TIMEOUT, Clearing
from wavesync.client.memory import Remembered
from wavesync.client.revoking import SOON
from wavesync.errors import ConnectFailed
from wavesync.identity.crl import RevocationList
from wavesync.identity.revocations import Revocations
from wavesync.identity.verify import Role, verify_leaf
from wavesync.mediator.core import Mediator as MediatorCore
from wavesync.mediator.keeping import KeptLists
from wavesync.mediator.leg import Leg
from wavesync.mediator.settings import MediatorSettings
from wavesync.signalling.crl_transfer import NeverAny, NoList
from wavesync.signalling.messages import CrlPiece, Refusal
from wavesync.signalling.numbers import ErrorCode
from wavesync.signalling.revoking import piece_of
from wavesync.signalling.urls import Mediator
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message

BOB = client("bob")
OTHERS = revocation_list(BOB, number=2)
"""Does not name the server."""


class _Pipe(StringTransport):
    """The client's end of a connection to the mediator."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", MEDIATOR_HOST, 3345))
        self._take = take

    def write(self, data: bytes) -> None:
        """It is there at once."""
        self._take(data)


class ClearingCase(RelayedCase):
    """A client that remembers a server's relay, and a mediator that does not know the server."""

    asked = 0

    def restarted(self, *, known: RevocationList | None = None, **options: Any) -> None:
        """Make the world.

        :param known: the newest list that the client knows.
        """
        self.revocations = Revocations(client().system_key_bytes)
        if known is not None:
            self.revocations.offer(known.der)
        self.begin(mediator_tcp=3345, revocations=self.revocations, **options)
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))

    def mediator(self, *lists: RevocationList, never: bool = False, keeps: bool = True) -> None:
        """Have a mediator listen that was just restarted.

        :param lists: what it was given before.
        :param never: whether it had a server of the system that had no list.
        :param keeps: whether it keeps such things across restarts.
        """
        kept = None
        if keeps:
            directory = Path(self.mktemp())
            before = KeptLists(directory)
            for each in lists:
                before.keep(each, client().system_key_bytes)
            if never:
                before.there_is_none(server().system)
            before.close()
            kept = KeptLists(directory)
            self.addCleanup(kept.close)
        settings = MediatorSettings(name=MEDIATOR_HOST)
        rng = random.Random(1)
        world = self.world
        core = MediatorCore(settings, rng.randbytes, wall=lambda now: world.wall_clock(), kept=kept)

        class Channel:
            """A leg's socket."""

            def __init__(self, send: Callable[[bytes], None]) -> None:
                self.send = send

            def close(self) -> None:
                """Nobody sees it."""

            abort = close

        def legs(send: Callable[[bytes], None]) -> Callable[[Message], None]:
            leg = Leg(core, Channel(send), ("203.0.113.1", 5200), world.wall_clock())
            return lambda message: leg.receive(message, world.wall_clock())

        self.serve(legs)

    def serve(self, legs: Callable[[Callable[[bytes], None]], Callable[[Message], None]]) -> None:
        """Listen at the mediator's TCP port, 5 ms away.

        :param legs: given what sends to a client, gives what takes its messages.
        """
        reactor = self.world.reactor

        def take(factory: IProtocolFactory) -> None:
            self.asked += 1
            protocol = factory.buildProtocol(IPv4Address("TCP", MEDIATOR_HOST, 3345))
            assert protocol is not None
            decoder = StreamDecoder()

            def answer(data: bytes) -> None:
                reactor.callLater(0.005, protocol.dataReceived, data)

            receive = legs(answer)

            def arrive(data: bytes) -> None:
                for message in decoder.feed(data):
                    reactor.callLater(0.005, receive, message)

            protocol.makeConnection(_Pipe(arrive))

        reactor.served[MEDIATOR_HOST, 3345] = take

    def lying(self, crl: RevocationList) -> None:
        """Have a mediator listen that gives this list, whatever it is asked for."""

        def legs(send: Callable[[bytes], None]) -> Callable[[Message], None]:
            piece = CrlPiece(*piece_of(crl.number, crl.der, 0))
            return lambda message: send(piece.encode(message.transaction_id))

        self.serve(legs)

    def refused(self, why: str, within: float = 0.3) -> None:
        """Connect in vain; nothing of the server's session is left."""
        seconds, told = self.failed()
        self.assertIn("is not online", told)
        self.assertIn(f"; it can be reached, but {why}", told)
        self.assertLess(seconds, within)
        self.world.run(1)
        self.assertEqual(self.relay.standing, 0)
        self.end()


class ClearedTests(ClearingCase):
    """Who was not revoked is connected with, without waiting for the mediator to know the server."""

    def test_list_kept(self) -> None:
        """A restarted mediator that has kept its list shows it."""
        self.restarted()
        self.mediator(OTHERS)
        timeline = self.connect(0.4)
        self.assertEqual(timeline.path, "relay")
        self.assertEqual(self.revocations.number, 2)
        self.assertEqual(self.asked, 1)
        self.end()

    def test_same_list(self) -> None:
        """It may be the one that the client has."""
        self.restarted(known=OTHERS)
        self.mediator(OTHERS)
        self.assertEqual(self.connect(0.4).path, "relay")
        self.end()

    def test_never_any(self) -> None:
        """In a system that has never revoked anything a mediator that would know says so."""
        self.restarted()
        self.mediator(never=True)
        self.assertEqual(self.connect(0.4).path, "relay")
        self.end()

    def test_verified_before(self) -> None:
        """The same where the relayed session waits for a direct path when the mediator answers."""
        self.restarted()
        self.world.network.drop = lambda data, source, to: self.world.reactor.seconds() < 0.3
        self.memory.note(
            SERVER, Remembered(server=SERVER, relays=(str(RELAY),), direct="udp", took=0.5)
        )
        self.mediator(OTHERS)
        timeline = self.connect(1.2)
        self.assertEqual(timeline.path, "relay")
        (entry,) = timeline.candidates
        self.assertEqual(entry.result, "won")
        self.end()

    def test_revoked_afterwards(self) -> None:
        """A mediator's list may have aged while it was away: it is asked again when the agents have
        come back to it, and the session ends if it brought the news."""
        self.restarted()
        self.mediator(OTHERS)
        talker, opening = self.world.open()
        self.world.run(1)
        self.successResultOf(opening)
        self.mediator(revocation_list(BOB, server(), number=3))
        self.assertFalse(talker.lost)
        self.world.run(1.5 * SOON)
        self.assertTrue(talker.lost)
        self.end()


class _Watch:
    """Mediators that answer as the test says."""

    def __init__(self, **answers: bytes | Exception) -> None:
        self.revocations = Revocations(client().system_key_bytes)
        self.soon = 0
        self._answers = answers

    def current(self, mediator: Mediator) -> Deferred[bytes]:
        """What the mediator shows."""
        answer = self._answers[mediator.host]
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def check_soon(self) -> None:
        """Note it."""
        self.soon += 1


class _Session:
    """A session with the server of the tests."""

    closed = lost = False
    peer = verify_leaf(
        server().certificate_der, client().system_key_bytes, role=Role.SERVER, at=NOW
    )

    def close(self) -> None:
        """Note it."""
        self.closed = True


class SeveralTests(SynchronousTestCase):
    """All mediators that say that the server is not online have to show what they know."""

    def clear(self, **answers: bytes | Exception) -> str:
        """Ask them in turn; why the server is not taken, empty if it is."""
        watch, session = _Watch(**answers), _Session()
        mediators = [Mediator(host, 3345, 3345) for host in answers]
        clearing: Deferred[Any] = Clearing(Clock(), watch).clear(mediators, session)  # type: ignore[arg-type]
        why: list[str] = []
        clearing.addErrback(lambda failure: why.append(failure.getErrorMessage()))
        self.assertEqual((session.closed, watch.soon), (bool(why), 0 if why else 1))
        return "".join(why)

    def test_all(self) -> None:
        """It is taken when all of them have."""
        newer = revocation_list(BOB, number=3).der
        self.assertEqual(self.clear(one=OTHERS.der, two=newer), "")
        self.assertEqual(self.clear(one=NeverAny("x"), two=NeverAny("x")), "")
        self.assertEqual(self.clear(one=NeverAny("x"), two=newer), "")

    def test_one_does_not(self) -> None:
        """It is not when one of them shows nothing, or that it knows less."""
        nothing = self.clear(one=OTHERS.der, two=NoList("x"))
        self.assertIn("the mediator two:3345 has not the revocation list number 2", nothing)
        forgot = self.clear(one=OTHERS.der, two=NeverAny("x"))
        self.assertIn("the mediator two:3345 has forgotten the revocation list number 2", forgot)
        away = self.clear(one=NeverAny("x"), two=ConnectFailed("it is gone"))
        self.assertIn("the mediator two:3345 shows no revocation list that counts: it is", away)

    def test_one_knows(self) -> None:
        """Nor when one of them knows that it was revoked."""
        newer = revocation_list(server(), number=3).der
        self.assertEqual(self.clear(one=OTHERS.der, two=newer), "its credentials were revoked")


class RefusedTests(ClearingCase):
    """Whatever is not shown to be good is refused, and the sentence says why."""

    def test_revoked(self) -> None:
        """A revoked server stays shut out, however near its relay is."""
        self.restarted()
        self.mediator(revocation_list(server(), number=2))
        self.refused("its credentials were revoked")

    def test_list_forgotten(self) -> None:
        """A mediator that has forgotten what it knew cannot say that a server was not revoked."""
        self.restarted()
        self.mediator(keeps=False)
        self.refused("the mediator 192.0.2.1:3345 has no revocation list: whether it was revoked")

    def test_new_store(self) -> None:
        """Nor can one that keeps lists and never had a server of the system."""
        self.restarted()
        self.mediator()
        self.refused("the mediator 192.0.2.1:3345 has no revocation list: whether it was revoked")

    def test_forgotten_and_known(self) -> None:
        """A mediator that says that there never was a list, where the client has one, has lost it."""
        self.restarted(known=OTHERS)
        self.mediator(never=True)
        self.refused("the mediator 192.0.2.1:3345 has forgotten the revocation list number 2")

    def test_older_list(self) -> None:
        """A mediator that has an older list than the client does not know enough."""
        self.restarted(known=revocation_list(BOB, number=3))
        self.mediator(OTHERS)
        self.refused("the mediator 192.0.2.1:3345 has not the revocation list number 3")

    def test_lying_with_an_older_list(self) -> None:
        """Nor is it any good to show the older one all the same."""
        self.restarted(known=revocation_list(BOB, number=3))
        self.lying(OTHERS)
        self.refused("the mediator 192.0.2.1:3345 shows no revocation list that counts: the rev")
        self.assertEqual(self.revocations.number, 3)

    def test_lying_with_another_list(self) -> None:
        """Or one that the system has not signed."""
        self.restarted()
        self.lying(revocation_list(BOB, of=2))
        self.refused("the mediator 192.0.2.1:3345 shows no revocation list that counts: the rev")

    def test_cannot_be_asked(self) -> None:
        """Lists take TCP: a mediator that has none to reach shows nothing."""
        self.restarted()
        self.refused("the mediator 192.0.2.1:3345 shows no", CLEAR_TIMEOUT + 0.3)
        self.restarted()
        self.world.connector._introducer.mediators = tuple(
            type(each)(each.host, each.udp_port, None)
            for each in self.world.connector._introducer.mediators
        )
        self.refused("the mediator 192.0.2.1:3345 shows no revocation list that counts: it can")

    def test_in_time(self) -> None:
        """Whoever cannot connect is told within three seconds of it, as always."""
        self.assertLess(LEAST_LIMIT + CLEAR_TIMEOUT, CONNECT_LIMIT)

    def test_not_reached(self) -> None:
        """Where the relay does not have the server either, that is told at once, and no list is asked
        for; and a relay that says nothing is not waited for."""
        self.restarted()
        self.mediator(OTHERS)
        self.relay.has = False
        seconds, told = self.failed()
        self.assertLess(seconds, 0.1)
        self.assertTrue(told.endswith("does not know it"), told)
        self.end()
        self.restarted()
        self.mediator(OTHERS)
        self.relay.silent = True
        seconds, told = self.failed()
        self.assertLess(seconds, LEAST_LIMIT + 0.1)
        self.assertTrue(told.endswith("does not know it"), told)
        self.assertEqual(self.asked, 0)
        self.end()

    def test_given_up(self) -> None:
        """Closing in the middle of it leaves nothing."""
        for after in (0.1, 0.11, 0.115, 0.12, 0.13, 0.14):
            self.restarted()
            self.mediator(OTHERS)
            _, opening = self.world.open()
            opening.addErrback(lambda _: None)
            self.world.run(after)
            self.end()
