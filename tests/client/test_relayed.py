"""Tests for the race with relays: :mod:`wavesync.client.attempt`, :mod:`~wavesync.client.candidates`,
:mod:`~wavesync.client.improving` and :mod:`~wavesync.client.connector`, on a network in memory."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.relay_world import RELAY, relayed_world
from tests.signalling.provers import server
from wavesync.client.attempt import CONNECT_LIMIT
from wavesync.client.improving import FIRST_PAUSE, LONGEST_PAUSE, Improving
from wavesync.client.memory import Memory, Remembered
from wavesync.client.report import Timeline
from wavesync.client.ways import MAX_KNOWN
from wavesync.errors import ConnectFailed
from wavesync.signalling.messages import Refusal
from wavesync.signalling.numbers import ConnectType, ErrorCode, ResultCode

SERVER = str(server().target)


class RelayedCase(SynchronousTestCase):
    """A client, a server that has parked at a relay, a mediator."""

    def begin(self, **options: Any) -> None:
        """Make the world."""
        self.memory = Memory(wall_clock=lambda: 1e9, network=lambda: "here")
        self.world, self.relay = relayed_world(memory=self.memory, **options)

    def connect(self, seconds: float = 1.0) -> Timeline:
        """Connect, say something and have it echoed."""
        talker, opening = self.world.open()
        self.world.run(seconds)
        self.assertIs(self.successResultOf(opening), talker)
        self.assertEqual(talker.heard, b"hello")
        return self.world.connector.timelines[-1]

    def failed(self) -> tuple[float, str]:
        """Connect in vain; seconds until that is told, and the sentence."""
        began = self.world.reactor.seconds()
        _, opening = self.world.open()
        while not opening.called and self.world.reactor.seconds() < began + 20:
            self.world.run(0.01)
        failure = self.failureResultOf(opening, ConnectFailed)
        took = self.world.reactor.seconds() - began
        self.world.run(0.1)
        return took, failure.getErrorMessage()

    def known(self) -> Remembered:
        """What is remembered of the server."""
        known = self.memory.recall(SERVER)
        assert known is not None
        return known

    def end(self) -> None:
        """Close; nothing is left."""
        self.world.connector.close()
        self.world.run(0.1)
        self.relay.crash()
        self.assertEqual(self.world.shut(), [])


class RaceTests(RelayedCase):
    """Everybody connects at once, directly where that works."""

    def test_no_direct_way(self) -> None:
        """Where nothing direct is heard of, the relay carries the connection without any wait."""
        self.begin()
        self.world.punching = False
        timeline = self.connect()
        self.assertEqual(timeline.path, "relay")
        self.assertEqual(timeline.server, SERVER)
        # Introduction 20 ms, connection 20, TLS 60, OPEN 60; the relay's way is 10 + 20 ms.
        self.assertLess(timeline.ms["accepted"], 175)
        self.assertEqual(self.relay.asked, [server().target])
        (entry,) = [each for each in timeline.candidates if each.kind == "relay"]
        self.assertEqual((entry.address, entry.result), ("192.0.2.9:3356", "won"))
        self.world.run(CONNECT_LIMIT)
        (udp,) = [each for each in timeline.candidates if each.kind == "udp"]
        self.assertEqual(udp.result, "failed")
        (told,) = self.world.results
        self.assertEqual((told.result, told.connect_type), (ResultCode.OK, ConnectType.RELAY))
        self.assertEqual(self.known().relays, (str(RELAY),))
        self.assertEqual(self.known().direct, "")
        self.end()

    def test_direct_way(self) -> None:
        """Where punching works it wins, although the relay is verified before it."""
        self.begin(delay=0.001)
        timeline = self.connect()
        self.assertEqual(timeline.path, "udp")
        self.assertEqual(
            {each.kind: each.result for each in timeline.candidates},
            {"udp": "won", "relay": "lost"},
        )
        (told,) = self.world.results
        self.assertEqual(told.connect_type, ConnectType.UDP)
        self.assertEqual(self.known().direct, "udp")
        self.assertEqual(self.known().relays, (str(RELAY),))
        self.end()

    def test_better_afterwards(self) -> None:
        """A direct path that is found after the relay was taken carries the next connections."""
        self.begin(told_after=0.5)
        first = self.connect(0.4)
        self.assertEqual(first.path, "relay")
        self.world.run(1)
        second = self.connect()
        self.assertEqual((second.path, second.reused), ("udp", True))
        self.assertEqual(len(self.world.requests), 1)
        self.assertEqual(len(self.relay.asked), 1)
        self.assertEqual(self.known().direct, "udp")
        self.end()

    def test_first_connection_goes_on(self) -> None:
        """The relayed connection is not touched by the better path."""
        self.begin(told_after=0.5)
        talker, opening = self.world.open()
        self.world.run(3)
        self.successResultOf(opening)
        assert talker.transport is not None
        talker.transport.write(b" again")
        self.world.run(1)
        self.assertEqual(talker.heard, b"hello again")
        self.end()

    def test_reused_relay(self) -> None:
        """Further connections go through the relay without a mediator."""
        self.begin()
        self.world.punching = False
        self.connect(4)
        second = self.connect()
        self.assertEqual((second.path, second.reused), ("relay", True))
        self.assertEqual(len(self.world.requests), 1)
        self.end()

    def test_many_at_once(self) -> None:
        """Connections that are asked for together share one introduction."""
        self.begin()
        self.world.punching = False
        talkers = [self.world.open()[0] for _ in range(20)]
        self.world.run(2)
        self.assertEqual([talker.heard for talker in talkers], [b"hello"] * 20)
        self.assertEqual(len(self.world.requests), 1)
        self.assertEqual(len(self.relay.asked), 20)
        self.end()

    def test_relay_gone(self) -> None:
        """When the relay is gone its connections end, and the next connect finds another way."""
        self.begin()
        self.world.punching = False
        talker, _ = self.world.open()
        self.world.run(4)
        self.world.punching = True
        self.relay.crash()
        self.world.run(0.1)
        self.assertTrue(talker.lost)
        self.assertEqual(self.connect().path, "udp")
        self.end()

    def test_nothing_works(self) -> None:
        """The sentence tells of the relay, too."""
        self.begin()
        self.world.punching = self.relay.has = False
        seconds, told = self.failed()
        self.assertLess(seconds, 3.0)
        self.assertIn("relay: the relay http://192.0.2.9:3356 does not have the server", told)
        self.assertIn("udp: the other side was never heard", told)
        self.assertEqual(self.world.results[0].result, ResultCode.NO_SUITABLE_PATH)
        self.end()

    def test_without_relay(self) -> None:
        """Whoever does not want relays is not relayed."""
        self.begin(paths={"udp"})
        self.world.punching = False
        _, told = self.failed()
        self.assertNotIn("relay:", told)
        self.assertEqual(self.relay.dialled, [])
        self.end()

    def test_relay_only(self) -> None:
        """Whoever wants nothing else does not punch."""
        self.begin(paths={"relay"})
        timeline = self.connect()
        self.assertEqual([each.kind for each in timeline.candidates], ["relay"])
        self.end()

    def test_no_family_in_common(self) -> None:
        """Without a family in common with the server the relay is the way."""
        self.begin(own=[("2001:db8::5", 5100)])
        self.world.punching = False
        self.assertEqual(self.connect().path, "relay")
        self.end()

    def test_given_up(self) -> None:
        """Closing in the middle of anything leaves nothing."""
        for after in (0.005, 0.05, 0.09, 0.15, 0.3, 2.0):
            self.begin()
            self.world.punching = False
            _, opening = self.world.open()
            opening.addErrback(lambda _: None)
            self.world.run(after)
            self.end()


class RememberingTests(RelayedCase):
    """What worked is tried at once the next time."""

    def test_at_once(self) -> None:
        """A relay that is known is asked while the introduction is under way."""
        self.begin()
        self.world.punching = False
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))
        timeline = self.connect()
        # Connection 20 ms, TLS 60, OPEN 60.
        self.assertLess(timeline.ms["accepted"], 155)
        self.assertEqual(self.relay.dialled, [RELAY])
        self.end()

    def test_no_mediator(self) -> None:
        """With a relay that is known no mediator is needed."""
        self.begin()
        self.world.answering = False
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))
        timeline = self.connect(0.2)
        self.assertEqual((timeline.path, timeline.server), ("relay", SERVER))
        self.world.run(5)
        self.assertEqual(self.connect().path, "relay")
        self.end()

    def test_no_mediator_no_server(self) -> None:
        """When that does not work either, the mediator's silence is what is told."""
        self.begin()
        self.world.answering = self.relay.has = False
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))
        seconds, told = self.failed()
        self.assertLess(seconds, 3.0)
        self.assertIn("cannot reach the mediator", told)
        self.end()

    def test_not_introduced(self) -> None:
        """A server that the mediator does not introduce may have been revoked: what is remembered of
        it does not count, however near its relay is, unless a list shows that it was not.
        """
        self.begin()
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))
        seconds, told = self.failed()
        self.assertIn("is not online", told)
        self.assertIn("it can be asked over UDP only", told)
        self.assertLess(seconds, 0.15)
        self.end()

    def test_not_introduced_while_it_waits(self) -> None:
        """The same where the relayed session is verified already, and waits for a direct path."""
        self.begin()
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.world.network.drop = lambda data, source, to: self.world.reactor.seconds() < 0.3
        known = Remembered(server=SERVER, relays=(str(RELAY),), direct="udp", took=0.4)
        self.memory.note(SERVER, known)
        _, told = self.failed()
        self.assertIn("is not online", told)
        self.end()

    def test_not_introduced_afterwards(self) -> None:
        """Where the relay was faster than the mediator, a newer revocation list is asked for."""
        self.begin()
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.world.network.drop = lambda data, source, to: self.world.reactor.seconds() < 0.3
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(str(RELAY),)))
        asked: list[bool] = []
        self.world.connector._attempts.on_refused = lambda: asked.append(True)
        self.assertEqual(self.connect().path, "relay")
        self.assertEqual(asked, [True])
        self.end()

    def test_moved(self) -> None:
        """A relay that was known and does not have the server any more costs nothing."""
        self.begin()
        self.world.punching = False
        old = "http://192.0.2.77:3356"
        self.memory.note(SERVER, Remembered(server=SERVER, relays=(old,)))
        self.relay.elsewhere = {old}
        self.assertEqual(self.connect().path, "relay")
        self.assertEqual([str(relay) for relay in self.relay.dialled], [old, str(RELAY)])
        self.assertEqual(self.known().relays, (old,))
        self.world.run(4)
        self.assertEqual(self.known().relays, (str(RELAY),))
        self.end()

    def test_direct_way_is_waited_for(self) -> None:
        """A direct path that worked here is waited for, although the relay is sooner."""
        self.begin(told_after=0.3)
        self.memory.note(SERVER, Remembered(server=SERVER, direct="udp", took=0.4))
        self.assertEqual(self.connect().path, "udp")
        self.end()

    def test_not_for_ever(self) -> None:
        """When it does not work this time it is waited for a moment only, and never again."""
        self.begin()
        self.world.punching = False
        self.memory.note(SERVER, Remembered(server=SERVER, direct="udp", took=0.2))
        timeline = self.connect()
        self.assertEqual(timeline.path, "relay")
        self.assertTrue(400 <= timeline.ms["authenticated"] <= 420, timeline.ms)
        self.world.run(5)
        self.assertEqual(self.known().direct, "")
        self.end()

    def test_not_tried(self) -> None:
        """Whoever asks for relays alone this time does not forget the direct way."""
        self.begin(paths={"relay"})
        self.memory.note(SERVER, Remembered(server=SERVER, direct="udp", took=0.2))
        self.assertEqual(self.connect().path, "relay")
        self.world.run(5)
        self.assertEqual(self.known().direct, "udp")
        self.end()


class ImprovingTests(RelayedCase):
    """Nobody is relayed for ever."""

    def test_improves(self) -> None:
        """When a direct path has become possible, it is found beside a connect, and then used."""
        self.begin()
        self.world.punching = False
        self.connect(4)
        self.world.punching = True
        self.assertEqual(self.connect().path, "relay")
        self.assertEqual(len(self.world.requests), 1)
        self.world.run(FIRST_PAUSE)
        self.assertEqual(self.connect().path, "relay")
        self.assertEqual(len(self.world.requests), 2)
        third = self.connect()
        self.assertEqual((third.path, third.reused), ("udp", True))
        self.assertEqual(len(self.world.requests), 2)
        self.end()

    def test_in_vain(self) -> None:
        """A search that finds nothing disturbs nothing."""
        self.begin()
        self.world.punching = False
        self.connect(FIRST_PAUSE + 1)
        self.assertEqual(self.connect(5).path, "relay")
        self.assertEqual(self.connect().path, "relay")
        self.assertEqual(len(self.world.requests), 2)
        self.end()

    def test_pauses(self) -> None:
        """The pauses grow, and only a connect makes anything happen."""
        improving = Improving()
        self.assertFalse(improving.due("a", 0.0))
        improving.relayed("a", 0.0)
        improving.relayed("a", 5.0)
        now, pause = FIRST_PAUSE, FIRST_PAUSE
        for _ in range(8):
            self.assertFalse(improving.due("a", now - 0.01))
            self.assertTrue(improving.due("a", now))
            self.assertFalse(improving.due("a", now))
            pause = min(2 * pause, LONGEST_PAUSE)
            now += pause
        self.assertEqual(pause, LONGEST_PAUSE)
        improving.improved("a")
        improving.improved("never heard of")
        self.assertFalse(improving.due("a", now))

    def test_limit(self) -> None:
        """So many servers are kept and not one more; the oldest goes."""
        improving = Improving()
        for number in range(MAX_KNOWN + 1):
            improving.relayed(str(number), 0.0)
        self.assertEqual(len(improving), MAX_KNOWN)
        self.assertFalse(improving.due("0", FIRST_PAUSE))
        self.assertTrue(improving.due("1", FIRST_PAUSE))
