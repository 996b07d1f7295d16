"""Tests for :mod:`wavesync.udt.turns`."""

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wavesync.udt.turns import LATE, Turns

reactor: Any = _reactor


class Waiting:
    """A member that waits for an answer until a time, and notes if it has waited in vain."""

    def __init__(self, due: float | None) -> None:
        self.scheduled: float | None = None
        self.due = due
        self.turns: list[float] = []
        self.in_vain = False

    def turn(self, now: float) -> None:
        """Look at the time."""
        self.turns.append(now)
        if self.due is not None and now >= self.due:
            self.in_vain = True
            self.due = None

    def deadline(self, now: float) -> float | None:
        """Until when it waits."""
        return self.due


class FineTurnsTests(TestCase):
    """What is due within a millisecond or two has its turn then."""

    def test_fine(self) -> Deferred[None]:
        """Twenty turns half a millisecond apart take less than twenty milliseconds at best."""
        turns = Turns(reactor)
        self.addCleanup(turns.stop)
        enough: Deferred[None] = Deferred()

        class Often(Waiting):
            def deadline(self, now: float) -> float | None:
                if len(self.turns) < 1000:
                    return now + 0.0005
                if not enough.called:
                    enough.callback(None)
                return None

        member = Often(None)
        turns.touch(member)

        def check(_: None) -> None:
            spans = [b - a for a, b in zip(member.turns, member.turns[20:], strict=False)]
            self.assertGreaterEqual(min(spans), 0.0099)
            self.assertLess(min(spans), 0.018)

        return enough.addCallback(check)

    def test_stopped(self) -> Deferred[None]:
        """No turn comes behind the end, and nothing is left on the reactor."""
        turns = Turns(reactor)
        member = Waiting(reactor.seconds() + 0.0015)
        turns.touch(member)

        def stop() -> None:
            turns.stop()
            member.turns.clear()

        reactor.callLater(0, stop)
        return deferLater(reactor, 0.01).addCallback(lambda _: self.assertEqual(member.turns, []))


class TurnsTests(SynchronousTestCase):
    """Who is due has a turn, but not before what may have come was read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.member = Waiting(1.0)
        self.turns.touch(self.member)
        self.clock.advance(0)

    def answer(self) -> None:
        """What the member waits for is read."""
        self.turns.hold()
        self.member.due = None
        self.turns.touch(self.member)
        self.turns.run()

    def test_in_time(self) -> None:
        """A timer that is hardly late is taken at its word."""
        self.clock.advance(1.0 + LATE / 2)
        self.assertTrue(self.member.in_vain)

    def test_late(self) -> None:
        """After a pause of the whole process, what came meanwhile is read before time is called."""
        self.clock.callLater(1.5, self.answer)  # the reactor reads when the timers have run
        self.clock.advance(1.5)
        self.assertFalse(self.member.in_vain)
        self.assertEqual(self.member.turns, [0.0, 1.5])

    def test_late_in_vain(self) -> None:
        """If nothing has come, time is called then."""
        self.clock.advance(1.5)
        self.assertTrue(self.member.in_vain)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_due_while_reading(self) -> None:
        """What is read in several pieces is read whole before anybody's time is called."""
        other = Waiting(None)
        self.clock.rightNow = 1.5  # the timer did not run yet
        self.turns.hold()
        self.turns.touch(other)
        self.turns.run()
        self.assertEqual(other.turns, [1.5])
        self.assertFalse(self.member.in_vain)
        self.clock.callLater(0, self.answer)
        self.clock.advance(0)
        self.assertFalse(self.member.in_vain)
