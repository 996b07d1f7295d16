"""A download of ours on a slow line, alone and beside a real TCP connection."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.sharing import OURS, TCP, Course, Road

_DELAY = 0.01  # one way of each site, seconds
_ROUND_TRIP = 4 * _DELAY
_RATE = 10  # Mbit/s
_QUEUE = 2  # bandwidth-delay products; TCP alone fills all of it
_COURSE = Course(alone=2.0, settle=1.5, together=3.0)
_LEAST_ALONE = 0.6  # of the line, start-up included
_LEAST_PART = 0.15  # of what both get; `python -m tests.lab.congestion` has the real figures
_LONGEST_WAIT = 1.5  # round trips


class CongestionTests(LabCase):
    """The default congestion control with real packets, real NATs and the kernel's TCP."""

    def test_beside_tcp(self) -> None:
        """A download fills a slow line, keeps it usable for others, and neither gives way to TCP nor stops it."""
        lab = self.lab(*Road.settings(_DELAY))
        road = Road(lab, delay=_DELAY)
        road.line.set(rate=_RATE, queue=_QUEUE)
        alone, together = road.run(OURS, TCP, _COURSE)
        bytes_sent, packets = road.line.sent()
        print(
            f"\nalone {alone.used:.0%} of {_RATE} Mbit/s, pings wait {alone.later.median / _ROUND_TRIP:.2f}"
            f" (half), {alone.later.high / _ROUND_TRIP:.2f} (95 %) round trips, with start-up"
            f" {alone.waits.high / _ROUND_TRIP:.2f};"
            f" then {together.first:.0%} beside {together.second:.0%} of TCP"
        )
        self.assertLess(bytes_sent / packets, 1500, "the line carried bundles")
        self.assertGreater(alone.later.count, 5)
        self.assertGreater(alone.used, _LEAST_ALONE)
        self.assertLess(alone.later.high, _LONGEST_WAIT * _ROUND_TRIP)
        self.assertGreater(together.second_part, _LEAST_PART, "TCP is starved")
        self.assertGreater(1 - together.second_part, _LEAST_PART, "ours is starved")
        self.assertLess(together.used, 1.2, "no line is that fast")
