"""The default congestion control: follow the bottleneck's measured rate, keep its queue short.

A model of the path (the highest recent delivery rate, the lowest recent round trip) sets pace and
window; loss alone changes neither, so random loss costs only what it loses.  Loss where there is
a queue too makes the window yield to the flows that fill that queue (see
:mod:`wavesync.udt.sharing`).  Four modes:

``STARTUP``  doubles each round trip until the delivery rate stops growing;
``DRAIN``    empties the queue that this has built;
``PROBE``    goes at the measured rate, one round trip in six to eight faster, one slower;
``RTT``      halves the flight for a moment when the lowest round trip has not been seen for long.

After the ideas of Cardwell et al., "BBR: Congestion-Based Congestion Control" (ACM Queue, 2016).
"""

import enum
import math

from wavesync.udt.congestion import (
    INITIAL_RATE,
    INITIAL_WINDOW,
    AckSample,
    CongestionControl,
    LossEvent,
)
from wavesync.udt.sharing import Sharing

__all__ = ["BottleneckControl", "Mode"]

STARTUP_GAIN = 2.0
"""Pace over measured rate while starting, at least; the window doubles in a round trip."""

STARTUP_WINDOW = 4.0
"""Window over measured bandwidth-delay product while starting, at most: the measure is of what
left two round trips ago."""

PLATEAU_GROWTH = 1.25
"""A round trip of startup in which the rate grows by less is a fruitless one."""

FRUITLESS_ROUNDS = 3
"""Fruitless round trips that end the startup."""

QUEUED = 1.25
"""Startup stops growing when round trips get longer than the path's by this ..."""

RTT_NOISE = 0.002
"""... and these seconds (meanwhile it paces by ``QUEUED_GAIN``) ..."""

QUEUED_GAIN = 0.75
"""Pace over measured rate while starting, as long as there seems to be a queue."""

DOUBTFUL_RATE = INITIAL_RATE / 8
"""Packets a second that startup does not go below once there are signs that the path is full."""

OVERFLOW = 0.2
"""... or more than this is lost for each packet delivered ..."""

MIN_OVERFLOW = 16
"""... and more packets than this; it ends when that lasts for two round trips, or with the second
fruitless one."""

DRAIN_GAIN = 0.5
"""Pace over measured rate while the queue that startup has built empties."""

DRAIN_ROUNDS = 3
"""Round trips that emptying the queue may take; in vain when others fill it."""

PROBE_GAINS = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Pace over measured rate in the eight phases of a cycle, about a round trip each; the first is
more or less than this, as :class:`~wavesync.udt.sharing.Sharing` says."""

SKIPPED = 3
"""Fewer phases than this are left out of a cycle, lest flows go on to probe together."""

CROWDED = 1.1
"""Others keep a queue when no round trip of a whole cycle is shorter than the path's by this, and
:data:`ACK_ALLOWANCE` (which waits there, too)."""

CROWD_GAIN = 1.25
"""Pace over measured rate, but for the slow phase, where others keep a queue: there the window
decides."""

WINDOW_GAIN = 2.0
"""Window over bandwidth-delay product; the second one covers what a repair holds up."""

ACK_ALLOWANCE = 0.012
"""Seconds of sending that the window has on top: ACKs come every 10 ms and may be late."""

MIN_SENDING = 0.03
"""Seconds of sending that the window has room for in any case.  libudt acknowledges what comes 10 ms or
more after its last ACK; when nothing does, since the window is full, it is silent for 100 ms, and each
such pause would make the path seem slower.  So these are the 10 ms, at the pace of the largest probe,
with all the credit that a late timer gives, and a little more."""

RTT_SAMPLES = 8
"""Round trips whose lowest tells whether there is a queue now."""

MIN_RTT = 1e-5
"""Seconds; no round trip is taken for shorter."""

RATE_ROUNDS = 10
"""Round trips that a delivery rate is remembered."""

RTT_LIFETIME = 5.0
"""Seconds that a lowest round trip is remembered before the path is emptied to measure again."""

SAME_RTT = 1.005
"""A round trip that exceeds the lowest by no more than this factor shows that it still holds."""

RTT_PROBE = 0.2
"""Seconds that mode ``RTT`` lasts, and a round trip."""

MIN_WINDOW = 4
"""Packets; never fewer in flight."""

MIN_RATE = 4.0
"""Packets a second; never slower."""


class Mode(enum.Enum):
    """What the strategy is doing; see the module."""

    STARTUP = 1
    DRAIN = 2
    PROBE = 3
    RTT = 4


class BottleneckControl(CongestionControl):
    """See the module; starts in ``STARTUP``.

    :ivar mode: what it is doing.
    :ivar bandwidth: highest recent delivery rate, packets a second; 0 before the first sample.
    :ivar min_rtt: lowest recent round trip, seconds; 0 before the first sample.
    """

    __slots__ = (
        "_cycle_rtt",
        "_delivered",
        "_fruitless",
        "_full",
        "_full_rate",
        "_last_pace",
        "_last_rtts",
        "_lost",
        "_pace",
        "_phase",
        "_phase_start",
        "_rates",
        "_round",
        "_round_delivered",
        "_round_limited",
        "_round_rtt",
        "_round_start",
        "_rtt_seen",
        "_saw_queue",
        "_sharing",
        "bandwidth",
        "min_rtt",
        "mode",
    )

    def __init__(self) -> None:
        """Begin knowing nothing."""
        super().__init__()
        self.mode = Mode.STARTUP
        self.bandwidth = 0.0
        self.min_rtt = 0.0
        self._rtt_seen = 0.0
        # Lists, as an empty deque takes ten times the memory; both stay short.
        self._rates: list[tuple[int, float]] = []  # (round, rate), rates falling
        # A round trip: from one packet's acknowledgement to that of the next one sent then.
        self._round = 0
        self._round_start: float | None = None
        self._round_delivered = 0
        self._round_limited = False
        self._round_rtt = math.inf
        self._sharing = Sharing()
        self._cycle_rtt = math.inf  # the lowest round trip of this cycle
        self._last_rtts: list[float] = [0.0]
        self._delivered = 0
        self._lost = 0  # in this round
        self._saw_queue = False  # in this round
        self._full_rate = 0.0
        self._pace = math.inf  # highest of this round; then of the one before
        self._last_pace = math.inf
        self._fruitless = 0
        self._full = False  # the last round trip of startup showed a queue
        self._phase = 0
        self._phase_start = 0.0

    def on_ack(self, sample: AckSample) -> None:
        """Update the model, change the mode if it is time, set pace and window."""
        stale = self._note_rtt(sample)
        if self.mode is Mode.STARTUP:
            queued = self._queued
            self._saw_queue |= queued
            if not (sample.app_limited or self._full or queued):
                self.window += max(0, sample.delivered - self._delivered)
        self._delivered = sample.delivered
        self._round_limited |= sample.app_limited
        if not sample.exact:
            self._start_round(sample)
        elif sample.prior_delivered >= self._round_delivered:
            self._end_round(sample)
            self._start_round(sample)
        self._change_mode(sample, stale)
        self._steer()
        self._pace = max(self._pace, self.rate)

    def _note_rtt(self, sample: AckSample) -> bool:
        """Keep the lowest round trip; tell whether it is too old."""
        if sample.rtt is None:
            return False
        self._last_rtts.append(sample.rtt)
        if len(self._last_rtts) > RTT_SAMPLES:
            del self._last_rtts[0]
        self._round_rtt = min(self._round_rtt, sample.rtt)
        self._cycle_rtt = min(self._cycle_rtt, sample.rtt)
        stale = self.min_rtt > 0 and sample.now > self._rtt_seen + RTT_LIFETIME
        if not self.min_rtt or sample.rtt <= self.min_rtt or stale:
            self.min_rtt = max(sample.rtt, MIN_RTT)
            self._rtt_seen = sample.now
        elif sample.rtt <= SAME_RTT * self.min_rtt:
            self._rtt_seen = sample.now
        return stale

    def _start_round(self, sample: AckSample) -> None:
        self._round += 1
        self._round_start = sample.now
        self._round_delivered = sample.delivered
        self._round_limited = False
        self._round_rtt = math.inf
        self._lost = 0
        self._saw_queue = False
        self._last_pace, self._pace = self._pace, self.rate

    def _end_round(self, sample: AckSample) -> None:
        """Measure the delivery rate of the round, and keep the highest of the last ones."""
        if self._round_start is None or sample.now <= self._round_start:
            return
        gained = sample.delivered - self._round_delivered
        # Behind a hole arrives what is not known yet: a round that begins then seems to deliver
        # more than it does.  But what it delivers left in the round before, at that one's pace.
        rate = min(gained / (sample.now - self._round_start), self._last_pace)
        if self._round_limited and rate < self.bandwidth:
            return
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((self._round, rate))
        while rates[0][0] < self._round - RATE_ROUNDS:
            del rates[0]
        self.bandwidth = rates[0][1]
        if self.bandwidth >= self._full_rate * PLATEAU_GROWTH:
            self._full_rate = self.bandwidth
            self._fruitless = 0
        else:
            self._fruitless += 1
        was_full = self._full
        self._full = self._saw_queue or self._lost > max(gained * OVERFLOW, MIN_OVERFLOW)
        if self._full and (was_full or self._fruitless == FRUITLESS_ROUNDS - 1):
            self._fruitless = FRUITLESS_ROUNDS
        flight = self.bandwidth * self.min_rtt
        floor = max(flight + self.bandwidth * ACK_ALLOWANCE, self.bandwidth * MIN_SENDING)
        queued = self._shows_queue(self._round_rtt)
        self._sharing.end_round(gained, self._lost, queued, flight, floor, self.window)

    def _shows_queue(self, rtt: float) -> bool:
        return rtt > QUEUED * self.min_rtt + RTT_NOISE

    @property
    def _queued(self) -> bool:
        """Whether packets wait at the bottleneck now."""
        return self._shows_queue(min(self._last_rtts))

    def _change_mode(self, sample: AckSample, stale: bool) -> None:
        elapsed = sample.now - self._phase_start
        emptied = sample.in_flight <= self.bandwidth * self.min_rtt
        if self.mode is Mode.STARTUP:
            if self._fruitless >= FRUITLESS_ROUNDS:
                self._enter(Mode.DRAIN, sample.now)
        elif self.mode is Mode.DRAIN:
            if emptied or elapsed > DRAIN_ROUNDS * self.min_rtt:
                self._enter(Mode.PROBE, sample.now)
        elif self.mode is Mode.RTT:
            if elapsed > RTT_PROBE + self.min_rtt:
                self._enter(Mode.PROBE, sample.now)
        elif stale:
            self._enter(Mode.RTT, sample.now)
        elif self._phase_is_over(elapsed, emptied):
            self._next_phase(sample.now)

    def _phase_is_over(self, elapsed: float, emptied: bool) -> bool:
        """Phases last a round trip; the slow one until the queue is empty, within bounds."""
        if PROBE_GAINS[self._phase] < 1:
            return emptied or elapsed >= DRAIN_ROUNDS * self.min_rtt
        return elapsed >= self.min_rtt

    def _next_phase(self, now: float) -> None:
        self._phase = (self._phase + 1) % len(PROBE_GAINS)
        self._phase_start = now
        if self._phase == 0:
            self._sharing.crowded = self._cycle_rtt > CROWDED * self.min_rtt + ACK_ALLOWANCE
            self._cycle_rtt = math.inf
        elif self._phase == 2:
            self._phase += self._delivered % SKIPPED

    def _enter(self, mode: Mode, now: float) -> None:
        """Change the mode; flows that do so together go on in different phases, lest they probe together."""
        self.mode = mode
        self._phase = 2 + self._delivered % (len(PROBE_GAINS) - 2)
        self._phase_start = now
        self._sharing.crowded = False
        self._cycle_rtt = math.inf

    def _steer(self) -> None:
        """Turn model and mode into pace and window."""
        if not self.bandwidth or not self.min_rtt:
            return
        flight = self.bandwidth * self.min_rtt
        if self.mode is Mode.STARTUP:
            self.window = min(self.window, max(INITIAL_WINDOW, STARTUP_WINDOW * flight))
            gain = QUEUED_GAIN if self._queued else STARTUP_GAIN
            full = self._full or self._queued or self._fruitless
            self.rate = max(DOUBTFUL_RATE if full else INITIAL_RATE, gain * self.bandwidth)
            return
        sharing = self._sharing
        headroom = (WINDOW_GAIN - 1) * flight + self.bandwidth * ACK_ALLOWANCE
        gain = PROBE_GAINS[self._phase]
        if self.mode is not Mode.PROBE:
            gain = DRAIN_GAIN if self.mode is Mode.DRAIN else 1.0
        elif gain > 1:
            gain = 1 + (gain - 1) * sharing.probe(flight)
        if sharing.crowded and sharing.peaceful:
            gain = max(gain, CROWD_GAIN) if gain >= 1 else gain
            headroom = sharing.headroom(flight) + self.bandwidth * ACK_ALLOWANCE
        self.rate = max(MIN_RATE, gain * self.bandwidth)
        window = max(flight + headroom, self.bandwidth * MIN_SENDING)
        window = flight / 2 if self.mode is Mode.RTT else min(window, sharing.cap)
        self.window = max(MIN_WINDOW, window)

    def on_loss(self, loss: LossEvent) -> None:
        """Count it; the delivery rate tells what matters about it."""
        self._lost += loss.lost

    def on_timeout(self, now: float) -> None:
        """Send only a little until something is heard again; the model stays."""
        self.window = MIN_WINDOW
