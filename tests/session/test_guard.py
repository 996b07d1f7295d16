"""Tests for :mod:`wavesync.session.guard`."""

from twisted.trial.unittest import SynchronousTestCase

from tests.session.core_pair import Pair, frames
from wavesync.session.core import CONTROL
from wavesync.session.frames import Ack, Ping, encode
from wavesync.session.guard import Guard, Guards


class Session:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def guard(self, on: bool) -> None:
        """Note it."""
        self.told.append("guarded" if on else "alone")

    def watch(self, on: bool) -> None:
        """Note it."""
        self.told.append("watch" if on else "rest")

    def fell_silent(self) -> None:
        """Note it."""
        self.told.append("dead")


class GuardTests(SynchronousTestCase):
    """The control session of a path watches for all sessions over it."""

    def setUp(self) -> None:
        self.guard = Guard()
        self.keeper, self.one, self.two = Session(), Session(), Session()

    def test_earlier_and_later(self) -> None:
        """It does not matter who was there first."""
        self.guard.join(self.one)
        self.assertEqual(self.one.told, [])
        self.guard.hold(self.keeper)
        self.guard.join(self.two)
        self.assertEqual((self.one.told, self.two.told), (["guarded"], ["guarded"]))
        self.assertEqual(self.keeper.told, ["watch", "watch"])

    def test_nobody_left(self) -> None:
        """A control session that nobody relies on rests."""
        self.guard.hold(self.keeper)
        self.assertEqual(self.keeper.told, ["rest"])
        self.guard.join(self.one)
        self.guard.leave(self.one)
        self.guard.leave(self.two)
        self.assertEqual(self.keeper.told[:3], ["rest", "watch", "rest"])
        self.assertEqual(self.one.told, ["guarded"])

    def test_dead(self) -> None:
        """What it finds dead is dead for all; those that are over are not told."""
        for session in (self.one, self.two):
            self.guard.join(session)
        self.guard.hold(self.keeper)
        self.guard.leave(self.two)
        self.guard.release(self.keeper, silent=True)
        self.assertEqual((self.one.told, self.two.told), (["guarded", "dead"], ["guarded"]))

    def test_over(self) -> None:
        """When it ends otherwise, the others look after themselves."""
        self.guard.join(self.one)
        self.guard.hold(self.keeper)
        self.guard.release(self.keeper, silent=False)
        self.assertEqual(self.one.told, ["guarded", "alone"])
        self.guard.join(self.two)
        self.assertEqual(self.two.told, [])

    def test_newer(self) -> None:
        """The end of one that was replaced means nothing."""
        self.guard.join(self.one)
        self.guard.hold(self.keeper)
        newer = Session()
        self.guard.hold(newer)
        self.guard.release(self.keeper, silent=True)
        self.assertEqual(self.one.told, ["guarded", "guarded"])

    def test_paths(self) -> None:
        """A server keeps one for each path, as long as it has sessions."""
        guards = Guards()
        self.assertIs(guards.get("a"), guards.get("a"))
        guards.get("a").join(self.one)
        guards.tidy("a")
        self.assertEqual(len(guards), 1)
        guards.get("a").leave(self.one)
        guards.tidy("a")
        guards.tidy("a")
        self.assertEqual(len(guards), 0)


class CoreTests(SynchronousTestCase):
    """What that means for a session's silence."""

    def test_guarded(self) -> None:
        """A guarded session asks after fifteen seconds of silence; without its guard at once."""
        pair = Pair()
        pair.open()
        pair.client.liveness.guard(True)
        self.assertEqual(pair.client.deadline(), 115.0)
        pair.client.liveness.guard(False)
        self.assertEqual(pair.client.deadline(), 102.0)
        pair.client.timer(110.0)
        self.assertEqual([type(frame) for frame in frames(pair.client.data_to_send())], [Ping])
        self.assertEqual(pair.client.deadline(), 116.0)

    def test_watching(self) -> None:
        """A control session on which others rely finds a dead peer within eight seconds."""
        pair = Pair()
        pair.open(CONTROL)
        pair.client.liveness.watch(True)
        pair.client.receive(encode(Ack(0)), 101.0)
        pair.client.timer(103.0)
        self.assertEqual([type(frame) for frame in frames(pair.client.data_to_send())], [Ping])
        pair.client.timer(109.0)
        self.assertTrue(pair.client.over)
