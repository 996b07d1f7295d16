"""Tests of :mod:`wavesync.client.recent`: what is kept of the last connects."""

import fcntl
import json
import os
import stat
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.recent import (
    MAX_FILE,
    MAX_RECORDS,
    MAX_WAITING,
    SETTLE,
    Recent,
    Record,
    Recording,
)
from wavesync.client.report import MAX_CONNECTIONS, Timeline
from wavesync.errors import ConnectFailed

NOW = 1_795_000_000.0


class RecentTests(SynchronousTestCase):
    """After a connect that went wrong, a person can see what was tried."""

    def setUp(self) -> None:
        """Make a program's recording in a file that does not exist yet."""
        self.path = Path(self.mktemp())
        self.recent = Recent(self.path)
        self.clock = Clock()
        self.clock.advance(500)
        self.recording = Recording(self.clock, self.recent, wall_clock=lambda: NOW)

    def timeline(self, target: str = "srv") -> Timeline:
        """A connect that has an id."""
        timeline = Timeline(target, self.clock.seconds)
        timeline.known_as(f"{len(target):032x}")
        return timeline

    def test_written_later(self) -> None:
        """A connect is written a second after its end, with what came of it meanwhile."""
        timeline = self.timeline()
        connecting: Deferred[str] = Deferred()
        kept = self.recording.keep(connecting, timeline)
        self.clock.advance(3)
        connecting.callback("done")
        self.assertEqual(self.successResultOf(kept), "done")
        self.clock.advance(SETTLE - 0.01)
        self.assertEqual(self.recent.load(), [])
        timeline.mark("first_byte")
        self.clock.advance(0.01)
        (record,) = self.recent.load()
        self.assertEqual(record.at, NOW - 3 - SETTLE)
        self.assertEqual(record.report["ms"]["first_byte"], 3990.0)
        self.assertEqual(record.ids, [timeline.connection_id])
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_failed(self) -> None:
        """A connect that failed is kept, and fails for whoever waits."""
        failing: Deferred[str] = fail(ConnectFailed("no path works"))
        self.failureResultOf(self.recording.keep(failing, self.timeline()), ConnectFailed)
        self.successResultOf(self.recording.flush())
        self.assertEqual(len(self.recent.load()), 1)

    def test_two_programs(self) -> None:
        """Programs that end at the same time take nothing from each other."""
        other = Recording(self.clock, Recent(self.path), wall_clock=lambda: NOW)
        for number in range(5):
            self.recording.keep(succeed(None), self.timeline(f"mine {number}"))
            other.keep(succeed(None), self.timeline(f"theirs {number}"))
            self.clock.advance(SETTLE)
        self.assertEqual(len(self.recent.load()), 10)

    def test_locked(self) -> None:
        """While another program writes, this one waits a moment; for one that hangs, not for ever."""
        self.recent.add([Record(1.0, {})])
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.recording.keep(succeed(None), self.timeline())
        flushed = self.recording.flush()
        self.assertNoResult(flushed)
        fcntl.flock(lock, fcntl.LOCK_UN)
        self.clock.advance(0.02)
        self.successResultOf(flushed)
        self.assertEqual(len(self.recent.load()), 2)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.recording.keep(succeed(None), self.timeline())
        flushed = self.recording.flush()
        self.clock.pump([0.02] * 30)
        self.successResultOf(flushed)
        os.close(lock)
        self.assertEqual(len(self.recent.load()), 2)
        with self.recent._locked() as free:
            self.assertTrue(free)
            self.assertFalse(Recent(self.path).add([Record(1.0, {})]))
        self.assertTrue(Recent(self.path).add([Record(1.0, {})]))

    def test_limits(self) -> None:
        """The newest are kept, as many as there may be, in a file of bounded size."""
        self.recent.add([Record(float(each), {}) for each in range(MAX_RECORDS)])
        self.assertEqual(len(self.recent.load()), MAX_RECORDS)
        self.recent.add([Record(99.0, {})])
        found = self.recent.load()
        self.assertEqual((len(found), found[0].at, found[-1].at), (MAX_RECORDS, 1.0, 99.0))
        self.assertEqual(len(json.loads(self.path.read_bytes())), MAX_RECORDS)
        self.recent.add([Record(100.0, {"much": "x" * (MAX_FILE // 3)})] * 4)
        self.assertLessEqual(self.path.stat().st_size, MAX_FILE)
        self.assertEqual(self.recent.load()[-1].at, 100.0)
        for _ in range(MAX_WAITING + 1):
            self.recording.keep(succeed(None), self.timeline())
        self.assertEqual(len(self.recording._waiting), MAX_WAITING)

    def test_damaged(self) -> None:
        """A file that is no such file, or no place for one, is no reason to fail."""
        self.path.write_text("{]")
        self.assertEqual(self.recent.load(), [])
        self.assertTrue(self.recent.add([Record(1.0, {"connections": 3})]))
        self.assertEqual(self.recent.load()[0].ids, [])
        nowhere = Recent(self.path / "no" / "place")
        self.assertTrue(nowhere.add([Record(1.0, {})]))

    def test_many_ids(self) -> None:
        """A connect that begins anew many times tells its last ids."""
        timeline = Timeline("srv", self.clock.seconds)
        self.assertEqual(timeline.connection_id, "")
        for each in range(MAX_CONNECTIONS + 1):
            timeline.known_as(str(each))
        self.assertEqual(len(timeline.connections), MAX_CONNECTIONS)
        self.assertEqual(timeline.connection_id, str(MAX_CONNECTIONS))
        json.loads(timeline.as_line())
