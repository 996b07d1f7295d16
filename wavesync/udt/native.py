"""UDT's own congestion control: AIMD of the sending period, as libudt 4.11 has it.

Kept for comparison and for fairness with libudt's flows.  One deviation: without a measured
delivery rate slow start ends at the window divided by the round trip, not at libudt's inverted
figure (which starves a connection that loses something in its first window).
"""

import math
from collections.abc import Callable

from wavesync.udt.congestion import AckSample, CongestionControl, LossEvent

__all__ = ["NativeControl"]

SYN = 0.01
"""Seconds; the rate is looked at no more often than this."""

INITIAL_WINDOW = 16
"""Packets in flight at the start."""

MIN_RATE = 16.0
"""Packets a second; never slower."""

MAX_RATE = 1e6
"""Packets a second at the start: a period of 1 us."""

_DECREASE = 1.125
_MAX_DECREASES = 5


class NativeControl(CongestionControl):
    """Slow start to a loss or the peer's window, then +1 packet a SYN and -11 % an event.

    :param mss: bytes of a full IP packet.
    :param peer_window: packets; slow start ends there.
    :param random: gives numbers 0 <= x < 1 (spreads decreases within one congestion period).
    """

    __slots__ = (
        "_average_naks",
        "_capacity",
        "_decreases",
        "_delivery",
        "_last_decrease_next",
        "_last_decrease_period",
        "_last_update",
        "_loss_since_update",
        "_mss",
        "_nak_count",
        "_peer_window",
        "_pending",
        "_period",
        "_random",
        "_random_step",
        "_rtt",
        "_slow_start",
    )

    def __init__(self, mss: int, peer_window: int, random: Callable[[], float]) -> None:
        """Begin in slow start."""
        super().__init__()
        self.window = INITIAL_WINDOW
        self.rate = MAX_RATE
        self._mss = mss
        self._peer_window = peer_window
        self._random = random
        self._slow_start = True
        self._period = 1 / MAX_RATE
        self._rtt = 0.1
        self._delivery = 0.0
        self._capacity = 0.0
        self._pending = 0
        self._last_update = -math.inf
        self._loss_since_update = False
        self._last_decrease_period = 1 / MAX_RATE
        self._last_decrease_next = -1
        self._nak_count = 0
        self._average_naks = 1
        self._decreases = 0
        self._random_step = 1

    def on_ack(self, sample: AckSample) -> None:
        """Grow, at most once a SYN; deliveries in between are kept for the next time."""
        if sample.rtt is not None:
            self._rtt += (sample.rtt - self._rtt) / 8
        if sample.arrival_rate > 0:
            self._delivery += (sample.arrival_rate - self._delivery) / (8 if self._delivery else 1)
        if sample.capacity > 0:
            self._capacity += (sample.capacity - self._capacity) / (8 if self._capacity else 1)
        self._pending += sample.acknowledged
        if not self._pending or sample.now - self._last_update < SYN:
            return
        self._last_update = sample.now
        acknowledged, self._pending = self._pending, 0
        if self._slow_start:
            self.window += acknowledged + 1
            if self.window > self._peer_window:
                self._leave_slow_start()
            return
        self.window = self._delivery * (self._rtt + SYN) + 16 if self._delivery else self.window
        if self._loss_since_update:
            self._loss_since_update = False
            return
        self._increase()

    def _increase(self) -> None:
        """Shorten the period by a step that depends on the capacity left."""
        spare = self._capacity - 1 / self._period
        if self._period > self._last_decrease_period:
            spare = min(spare, self._capacity / 9)
        step = 0.01
        if spare > 0:
            bits = spare * self._mss * 8
            step = max(step, 10 ** math.ceil(math.log10(bits)) * 1.5e-6 / self._mss)
        self._set_period(self._period * SYN / (self._period * step + SYN))

    def on_loss(self, loss: LossEvent) -> None:
        """End slow start, or lengthen the period by an eighth."""
        self._loss_since_update = True
        if self._slow_start:
            self._leave_slow_start()
            return
        if loss.first > self._last_decrease_next:
            self._last_decrease_period = self._period
            self._set_period(self._period * _DECREASE)
            self._average_naks = math.ceil(0.875 * self._average_naks + 0.125 * self._nak_count)
            self._nak_count = 1
            self._decreases = 1
            self._random_step = 1 + int(self._random() * max(1, self._average_naks))
            self._last_decrease_next = loss.next - 1
            return
        self._nak_count += 1
        if self._decreases <= _MAX_DECREASES and self._nak_count % self._random_step == 0:
            self._decreases += 1
            self._set_period(self._period * _DECREASE)
            self._last_decrease_next = loss.next - 1

    def on_timeout(self, now: float) -> None:
        """End slow start; otherwise libudt changes nothing."""
        if self._slow_start:
            self._leave_slow_start()

    def _leave_slow_start(self) -> None:
        self._slow_start = False
        rate = self._delivery or self.window / (self._rtt + SYN)
        self._set_period(1 / rate)

    def _set_period(self, period: float) -> None:
        self._period = min(max(period, 1 / MAX_RATE), 1 / MIN_RATE)
        self.rate = 1 / self._period
