"""Tests for :mod:`wavesync.agent.parking`: one relay, on a virtual clock."""

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.relay_support import RELAY, ScriptedRelay
from tests.agent.support import LogListener, MemoryEndpoint
from tests.signalling.provers import server
from wavesync.agent.parking import (
    DIALS_A_SECOND,
    DIALS_AT_ONCE,
    GIVE_UP,
    MAX_IDLE,
    MAX_REPEATS,
    MIN_IDLE,
    NONCE_LIFE,
    STEADY,
    Parking,
    Taken,
)
from wavesync.agent.parking_waits import ParkingWaits
from wavesync.agent.troubles import MAX_COMPLAINTS
from wavesync.session.relayed import RelayedAddress
from wavesync.signalling.relay_lines import Idle, Move, Open
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

CLIENT = Open("c0" * 16, "alice", ("203.0.113.7", 4321))


class ParkingCase(SynchronousTestCase):
    """One relay to which the test leads the connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = MemoryEndpoint()
        self.nonces: list[bytes] = []
        self.taken: list[Open] = []
        self.changes = 0
        self.chance = 1.0
        listener = LogListener("wavesync.agent")
        self.addCleanup(listener.stop)
        self.said = listener.said
        self.parking = Parking(
            self.clock,
            RELAY,
            self.endpoint,
            self.request,
            self.take,
            self.changed,
            waits=ParkingWaits(lambda: self.chance),
        )
        self.addCleanup(self.nothing_left)
        self.parking.start()

    def nothing_left(self) -> None:
        """When it has stopped, nothing waits for anything."""
        self.parking.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.parking.idle, 0)

    def request(self, nonce: bytes) -> bytes:
        """Ask without a proof."""
        self.nonces.append(nonce)
        return RelayRequest(RequestKind.PARK, server().target, "ab" * 16).encode(RELAY, None)

    def take(self, client: Open) -> Taken:
        """Take a client."""
        self.taken.append(client)
        return Protocol(), RelayedAddress(*client.source, str(RELAY))

    def changed(self) -> None:
        """Note it."""
        self.changes += 1

    def dialled(self) -> int:
        """How many connections are being made that nobody has looked at."""
        return len(self.endpoint.dialled)

    def next(self) -> ScriptedRelay:
        """The oldest of those succeeds."""
        return ScriptedRelay(self.endpoint.dialled.pop(0))

    def fail_dial(self) -> None:
        """The oldest of those fails."""
        self.endpoint.dialled.pop(0).result.errback(Failure(ConnectionRefusedError()))

    def advance(self, seconds: float) -> None:
        """Let time pass, with what is due in its order."""
        step = 0.1 if seconds < 20 else 1.0
        self.clock.pump([step] * round(seconds / step))

    def all_parked(self, wanted: int = 7) -> list[ScriptedRelay]:
        """Park as many as are dialled, and those that follow."""
        relays = []
        while self.endpoint.dialled:
            relays.append(self.next().park(wanted, keep_alive=120.0))
        return relays

    def clear(self, *legs: ScriptedRelay) -> None:
        """These break."""
        for leg in legs:
            leg.lose()


class IdleTests(ParkingCase):
    """How many are parked."""

    def test_seven(self) -> None:
        """One connection finds out whether it works; then there are seven."""
        self.assertEqual(self.dialled(), 1)
        self.next().park()
        self.assertEqual(self.dialled(), MIN_IDLE - 1)
        self.all_parked()
        self.assertEqual((self.parking.idle, self.dialled()), (MIN_IDLE, 0))
        self.assertTrue(self.parking.usable)

    def test_announced(self) -> None:
        """There are as many as the relay wants, but never more than the limit."""
        for wanted, idle in ((3, MIN_IDLE), (9, 9), (MAX_IDLE, MAX_IDLE), (MAX_IDLE + 1, MAX_IDLE)):
            self.setUp()
            self.assertEqual(len(self.all_parked(wanted)), idle)

    def test_taken(self) -> None:
        """The moment one is taken another is dialled."""
        legs = self.all_parked()
        legs[3].say(CLIENT)
        self.assertEqual(self.taken, [CLIENT])
        self.assertEqual((self.parking.idle, self.dialled()), (MIN_IDLE - 1, 1))
        self.all_parked()
        self.assertEqual(self.parking.idle, MIN_IDLE)
        legs[3].lose()  # the client has gone: nobody is concerned
        self.advance(1)
        self.assertEqual((self.parking.idle, self.dialled()), (MIN_IDLE, 0))

    def test_burst(self) -> None:
        """Clients that wait are served at once: for each there is one connection more."""
        legs = self.all_parked()
        legs[0].say(Idle(20, 5))
        self.assertEqual(self.dialled(), 25 - MIN_IDLE)
        for relay in [self.next().park(20, 5) for _ in range(5)]:
            relay.say(CLIENT)
        self.assertEqual(len(self.taken), 5)
        legs[1].say(Idle(20, 0))
        self.all_parked(20)
        self.assertEqual(self.parking.idle, 20)
        legs[1].say(Idle(MAX_IDLE, 1000))
        self.assertEqual(self.parking.idle + self.dialled(), MAX_IDLE)

    def test_fewer(self) -> None:
        """What the relay closes because it wants fewer is not replaced."""
        legs = self.all_parked(20)
        self.advance(STEADY + 0.1)
        legs[-1].say(Idle(7, 0))
        self.clear(*legs[:13])
        self.advance(20)
        self.assertEqual((self.parking.idle, self.dialled(), self.said), (7, 0, []))

    def test_enough(self) -> None:
        """A relay that has enough is believed for a while, or until it wants more."""
        self.next().park()
        for _ in range(2):
            self.next().park()
        self.next().refuse(409)
        for _ in range(3):
            self.next().refuse(409)
        self.assertEqual((self.parking.idle, self.dialled()), (3, 0))
        self.advance(9)
        self.assertEqual((self.dialled(), self.said), (0, []))
        self.advance(2)
        self.assertEqual(self.dialled(), MIN_IDLE - 3)
        self.setUp()
        leg = self.next().park()
        for _ in range(6):
            self.next().refuse(409)
        leg.say(Idle(8, 0))
        self.assertEqual(self.dialled(), 7)

    def test_enough_still_replaced(self) -> None:
        """Meanwhile one that is taken is replaced."""
        legs = [self.next().park(), self.next().park()]
        while self.dialled():
            self.next().refuse(409)
        legs[0].say(CLIENT)
        self.assertEqual(self.dialled(), 1)

    def test_used_up(self) -> None:
        """A relay that uses up connections as fast as they come gets so many a second, for ever."""
        began = self.clock.seconds()
        dials = 0
        while self.clock.seconds() < began + 10:
            while self.dialled() and dials < 10_000:
                self.next().park().say(CLIENT)
                dials += 1
            self.clock.advance(0.01)
        self.assertLessEqual(dials, DIALS_AT_ONCE + 10 * DIALS_A_SECOND + 1)
        self.assertGreater(dials, DIALS_AT_ONCE + 9 * DIALS_A_SECOND)
        # When it has come to its senses all is as it was.
        self.advance(5)
        self.all_parked()
        self.assertEqual((self.parking.idle, self.dialled()), (MIN_IDLE, 0))

    def test_used_up_while_full(self) -> None:
        """That a relay has enough is not forgotten over that, nor that it wants more later."""
        leg = self.next().park()
        for _ in range(6):
            self.next().refuse(409)
        for _ in range(150):
            leg.say(Idle(8, 0))
            while self.dialled():
                self.next().refuse(409)
        self.advance(1)
        self.assertGreater(self.dialled(), 0)
        while self.dialled():
            self.next().refuse(409)
        self.advance(9)
        self.assertEqual(self.dialled(), 0)
        self.advance(2)
        self.assertEqual(self.dialled(), 7)

    def test_doubt(self) -> None:
        """After a router's restart all are replaced at once; until then the old ones are kept."""
        legs = self.all_parked()
        self.parking.doubt()
        self.assertEqual((self.parking.idle, self.dialled()), (0, MIN_IDLE))
        self.assertTrue(self.parking.usable)
        legs[0].say(CLIENT)
        legs[1].lose()
        self.assertEqual((self.taken, self.dialled()), ([CLIENT], MIN_IDLE))
        self.next().park()
        self.assertEqual([leg.closed for leg in legs[2:]].count(True), 1)
        self.all_parked()
        self.assertEqual([leg.closed for leg in legs[2:]], [True] * 5)
        self.assertFalse(legs[0].closed)
        self.assertEqual((self.parking.idle, self.dialled(), self.said), (MIN_IDLE, 0, []))

    def test_stop(self) -> None:
        """Who stops closes what nobody uses, and leaves clients their connections."""
        legs = self.all_parked()
        legs[0].say(CLIENT)
        self.next()
        legs[1].say(CLIENT)
        (dial,) = self.endpoint.dialled
        self.parking.stop()
        self.assertEqual([leg.closed for leg in legs], [False] * 2 + [True] * 5)
        self.assertTrue(dial.cancelled)


class FailureTests(ParkingCase):
    """What does not work is tried again, but not at line speed."""

    def test_unreachable(self) -> None:
        """Three attempts follow at once; then one at a time, ever more rarely; said once."""
        attempts = 0
        for _ in range(3000):
            if self.dialled():
                self.assertEqual(self.dialled(), 1)
                self.fail_dial()
                attempts += 1
            self.clock.advance(0.01)
        # At 0 (4 times), 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 23.7 s
        self.assertIn(attempts, (11, 12, 13))
        self.assertEqual(len(self.said), 1)
        self.assertIn(f"cannot park at the relay {RELAY}: Connection was refused", self.said.pop())
        self.clock.advance(11)
        self.next().park()
        self.assertEqual(self.dialled(), MIN_IDLE - 1)

    def test_one_probe(self) -> None:
        """While something fails one connection at a time is enough to find out."""
        self.next().park()
        self.assertEqual(self.dialled(), 6)
        self.fail_dial()
        self.clock.advance(0)
        self.assertEqual(self.dialled(), 5)
        for _ in range(5):
            self.fail_dial()
            self.clock.advance(0)
            self.clock.advance(0)
        self.assertLessEqual(self.dialled(), 1)
        self.said.clear()

    def test_short_lived(self) -> None:
        """A relay that parks and closes at once is no better than one that refuses."""
        self.chance = 0.0
        attempts = []
        for _ in range(600):
            for _ in range(self.dialled()):
                self.next().park().lose()
                attempts.append(self.clock.seconds())
            self.clock.advance(0.1)
        self.assertLess(len(attempts), 150)
        self.assertLess(sum(at > 40 for at in attempts), 40)
        self.said.clear()

    def test_long_ago(self) -> None:
        """Failures of long ago do not count when something fails again."""
        for _ in range(12):
            self.fail_dial()
            self.advance(12)
        legs = self.all_parked()
        self.advance(STEADY + 0.1)
        legs[0].say(Idle(8, 0))
        for _ in range(3):
            self.fail_dial()
            self.clock.advance(0)
            self.assertEqual(self.dialled(), 1)
        self.said.clear()

    def test_one_lost(self) -> None:
        """One connection that breaks is replaced at once."""
        legs = self.all_parked()
        self.advance(2 * STEADY)
        legs[0].lose()
        self.clock.advance(0.11)
        self.assertEqual((self.dialled(), self.said), (1, []))

    def test_relay_restarted(self) -> None:
        """When all break in one moment, all servers come back: each in its own moment, slowly."""
        legs = self.all_parked()
        self.advance(2 * STEADY)
        self.clear(*legs)
        self.advance(4)
        self.assertEqual(self.dialled(), 0)
        self.assertTrue(self.parking.usable)  # clients wait for it at the relay
        self.advance(1.2)
        self.assertEqual(self.dialled(), 1)
        self.assertFalse(self.parking.usable)
        self.assertIn("lost the relay", self.said.pop())
        self.next().park()
        self.assertEqual(self.dialled(), 0)
        self.assertTrue(self.parking.usable)
        self.advance(3.1)
        self.assertEqual(self.dialled(), MIN_IDLE - 1)

    def test_restarted_while_used(self) -> None:
        """It is the same where one of them was parked just now because a client took another."""
        legs: list[ScriptedRelay] = []
        for youngest_first in (True, False):
            legs += self.all_parked()
            self.advance(2 * STEADY)
            legs.pop(0).say(CLIENT)
            young = self.next().park()
            self.clear(*([young, *legs] if youngest_first else [*legs, young]))
            self.advance(4)
            self.assertEqual(self.dialled(), 0, youngest_first)
            self.advance(1.2)
            self.assertIn("lost the relay", self.said.pop(), youngest_first)
            self.said.clear()
            legs = [self.next().park()]
            self.assertEqual(self.dialled(), 0, youngest_first)
            self.advance(3.1)
            self.assertEqual(self.dialled(), MIN_IDLE - 1, youngest_first)

    def test_clients_wait_after_restart(self) -> None:
        """When clients wait already, nothing is slow."""
        legs = self.all_parked()
        self.advance(2 * STEADY)
        self.clear(*legs)
        self.advance(5.2)
        self.next().park(7, 2)
        self.assertEqual(self.dialled(), MIN_IDLE - 1 + 2)
        self.said.clear()

    def test_lost_while_filling(self) -> None:
        """The same again in the middle of coming back is no reason for a storm."""
        legs = self.all_parked()
        self.advance(2 * STEADY)
        self.clear(*legs)
        self.advance(5.2)
        self.chance = 1.0
        leg = self.next().park()
        self.advance(1)
        leg.lose()
        self.advance(0.2)
        self.assertLessEqual(self.dialled(), 1)
        self.said.clear()

    def test_complaints(self) -> None:
        """Whatever happens, a relay cannot fill the log."""
        for status in range(450, 450 + 3 * MAX_COMPLAINTS):
            self.next().refuse(status)
            self.clock.pump([0.5] * 30)
        self.assertEqual(len(self.said), MAX_COMPLAINTS)
        self.said.clear()

    def test_given_up(self) -> None:
        """Clients are sent elsewhere when nothing was parked for a while."""
        self.assertFalse(self.parking.usable)
        self.assertFalse(self.parking.hopeless)
        self.advance(GIVE_UP + 0.1)
        self.assertTrue(self.parking.hopeless)
        self.next().park()
        self.assertTrue(self.parking.usable)
        self.assertFalse(self.parking.hopeless)


class AnswerTests(ParkingCase):
    """What a relay may answer instead."""

    def test_nonce(self) -> None:
        """Asked to sign over a nonce, the server does so at once, and goes on with it for a while."""
        self.next().refuse(401, nonce=b"n" * 24)
        self.assertEqual((self.dialled(), self.said), (1, []))
        self.all_parked()
        self.assertEqual(self.nonces, [b""] + [b"n" * 24] * MIN_IDLE)
        self.advance(NONCE_LIFE)
        self.nonces.clear()
        self.assertEqual(self.parking.idle, MIN_IDLE)

    def test_nonce_ages(self) -> None:
        """After that it signs without, until it is asked again."""
        self.next().refuse(401, nonce=b"n" * 24)
        legs = self.all_parked()
        self.advance(NONCE_LIFE)
        legs[0].say(CLIENT)
        self.next().refuse(401, nonce=b"m" * 24)
        self.all_parked()
        self.assertEqual(self.nonces[-2:], [b"", b"m" * 24])
        self.assertEqual(self.said, [])

    def test_many_nonces(self) -> None:
        """Seven that are asked at the same time sign again: that is no failure."""
        self.next().park()
        legs = [self.next() for _ in range(6)]
        for number, leg in enumerate(legs):
            leg.refuse(401, nonce=bytes([number]) * 24)
        self.assertEqual((self.dialled(), self.said), (6, []))
        self.all_parked()
        self.assertEqual(self.parking.idle, MIN_IDLE)

    def test_endless_nonces(self) -> None:
        """A relay that is never content is not asked for ever."""
        for number in range(MAX_REPEATS + 2):
            self.assertEqual(self.said, [])
            self.next().refuse(401, nonce=bytes([number]) * 24)
        self.assertIn("signed again", self.said.pop())
        self.assertEqual(self.dialled(), 0)

    def test_other_name(self) -> None:
        """A relay under another name is not signed for: a person has to set the name."""
        self.next().refuse(401, nonce=b"n" * 24, name="evil.example")
        self.assertIn("calls itself 'evil.example'", self.said.pop())
        self.advance(50)
        self.assertEqual((self.dialled(), self.nonces), (0, [b""]))

    def test_refused(self) -> None:
        """Refused, it says why once, and stays away for minutes."""
        self.next().refuse(403, "revoked")
        self.assertEqual(len(self.said), 1)
        self.assertIn("refuses this server: its certificate was revoked", self.said[0])
        self.assertTrue(self.parking.hopeless)
        self.advance(170)
        self.assertEqual(self.dialled(), 0)
        self.advance(20)
        self.next().refuse(403, "revoked")
        self.assertEqual(len(self.said), 1)
        self.advance(190)
        self.next().park()
        self.assertTrue(self.parking.usable)
        self.said.clear()

    def test_busy(self) -> None:
        """A busy relay says when to come again."""
        for status in (429, 503):
            self.setUp()
            self.chance = 0.0
            self.next().refuse(status, retry_after=7.0)
            self.clock.advance(6.9)
            self.assertEqual(self.dialled(), 0)
            self.clock.advance(0.2)
            self.assertEqual(self.dialled(), 1)
            self.assertIn("takes no connection now", self.said.pop())

    def test_odd_answers(self) -> None:
        """Whatever else is there, is no relay."""
        self.next().refuse(404)
        self.clock.advance(0)
        self.assertEqual(self.dialled(), 1)
        self.assertIn("status 404", self.said.pop())
        leg = self.next()
        leg.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual(self.dialled(), 1)
        self.assertIn("HTTP 401", self.said.pop())

    def test_move(self) -> None:
        """A relay that goes away is used no more, and asked later whether it is back."""
        legs = self.all_parked()
        legs[0].say(CLIENT)
        changes = self.changes
        for leg in legs[1:]:
            leg.say(Move())
            leg.lose()
        self.assertGreater(self.changes, changes)
        self.assertFalse(self.parking.usable)
        self.assertTrue(self.parking.hopeless)
        self.fail_dial()
        self.advance(14)
        self.assertEqual(self.dialled(), 0)
        self.advance(1.1)
        self.next().park()
        self.assertTrue(self.parking.usable)
        self.assertEqual(len(self.said), 1)  # of the connection that was under way
        self.said.clear()
