"""A download of ours on a slow line, alone and beside a real TCP connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.bottleneck import Waits
from tests.lab.case import LabCase
from tests.lab.congestion_table import Cell, goals_missed, table
from tests.lab.sharing import OURS, TCP, Alone, Course, Road, Together

_DELAY = 0.01  # one way of each site, seconds
_ROUND_TRIP = 4 * _DELAY
_RATE = 10  # Mbit/s
_QUEUE = 2  # bandwidth-delay products; TCP alone fills all of it
_COURSE = Course(alone=2.0, settle=1.5, together=3.0)
_LEAST_ALONE = 0.6  # of the line, start-up included
_LEAST_PART = 0.25  # of what both get; `python -m tests.lab.congestion` has the real figures
_LONGEST_WAIT = 1.5  # round trips
_ATTEMPTS = 4  # two seconds without enough of a processor look like a queue of others


class CongestionTests(LabCase):
    """The default congestion control with real packets, real NATs and the kernel's TCP."""

    def test_beside_tcp(self) -> None:
        """A download fills a slow line, keeps it usable for others, and neither gives way to TCP nor stops it."""
        lab = self.lab(*Road.settings(_DELAY))
        road = Road(lab, delay=_DELAY)
        road.line.set(rate=_RATE, queue=_QUEUE)
        for _ in range(_ATTEMPTS):
            alone, together = road.run(OURS, TCP, _COURSE)
            print(
                f"\nalone {alone.used:.0%} of {_RATE} Mbit/s, pings wait {alone.later.median / _ROUND_TRIP:.2f}"
                f" (half), {alone.later.high / _ROUND_TRIP:.2f} (95 %) round trips, with start-up"
                f" {alone.waits.high / _ROUND_TRIP:.2f};"
                f" then {together.first:.0%} beside {together.second:.0%} of TCP"
            )
            swift = alone.later.high < _LONGEST_WAIT * _ROUND_TRIP
            if swift and alone.used > _LEAST_ALONE and together.second_part > _LEAST_PART:
                break
        bytes_sent, packets = road.line.sent()
        self.assertLess(bytes_sent / packets, 1500, "the line carried bundles")
        self.assertGreater(alone.later.count, 5)
        self.assertGreater(alone.used, _LEAST_ALONE)
        self.assertLess(alone.later.high, _LONGEST_WAIT * _ROUND_TRIP)
        self.assertGreater(together.second_part, _LEAST_PART, "TCP is starved")
        self.assertGreater(1 - together.second_part, _LEAST_PART, "ours is starved")
        self.assertLess(together.used, 1.2, "no line is that fast")


def _cell(first: str, *, loss: float = 0.0, used: float, high: float, part: float) -> Cell:
    """Make a cell of a line with a round trip of 0.1 s; the second flow gets *part* of all of it."""
    waits = Waits(0.0, high, 10)
    alone = Alone(used, waits, waits, 0.2, 0.3)
    return Cell(10.0, loss, first, alone, Together(1 - part, part, waits, 0.5))


class TableTests(SynchronousTestCase):
    """What is said of the figures."""

    def test_missed(self) -> None:
        """Every goal that is missed is named, and none that is just met."""
        met = _cell(OURS, used=0.9, high=0.1, part=0.4)
        self.assertEqual(goals_missed(met, 0.1), [])
        missed = goals_missed(_cell(OURS, used=0.89, high=0.11, part=0.39), 0.1)
        self.assertEqual(
            [miss.rpartition(": ")[2] for miss in missed], ["alone", "queue", "the smaller part"]
        )
        beside = [_cell(TCP, used=0.2, high=0.2, part=part) for part in (0.64, 0.66)]
        self.assertEqual([len(goals_missed(cell, 0.1)) for cell in beside], [0, 1])
        lossy = _cell(TCP, loss=0.01, used=0.03, high=0.0, part=0.97)
        self.assertEqual(goals_missed(lossy, 0.1), [])

    def test_table(self) -> None:
        """A line is a row, what misses its goal is bold, and a goal missed is counted."""
        cells = [
            _cell(TCP, used=0.93, high=0.2, part=0.66),
            _cell(OURS, used=0.95, high=0.05, part=0.5),
        ]
        text = table(cells, algorithm="cubic", round_trip=0.1, queue=2, machine="a machine")
        rows = [line for line in text.splitlines() if line.startswith("| 10 ")]
        self.assertEqual(len(rows), 1)
        self.assertEqual(
            [word for word in rows[0].split(" | ") if "**" in word], ["**34 %**"], rows[0]
        )
        self.assertIn("Goals missed: 1.", text)
