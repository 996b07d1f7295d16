"""The default congestion control: follow the bottleneck's measured rate, keep its queue short.

A model of the path (the highest recent delivery rate, the lowest recent round trip) sets pace and
window; loss alone changes neither, so random loss costs only what it loses.  Four modes:

``STARTUP``  doubles each round trip until the delivery rate stops growing;
``DRAIN``    empties the queue that this has built;
``PROBE``    goes at the measured rate, one round trip in eight a quarter faster, one slower;
``RTT``      halves the flight for a moment when the lowest round trip has not been seen for long.

After the ideas of Cardwell et al., "BBR: Congestion-Based Congestion Control" (ACM Queue, 2016).
"""

import enum
from collections import deque

from wavesync.udt.congestion import (
    INITIAL_RATE,
    INITIAL_WINDOW,
    AckSample,
    CongestionControl,
    LossEvent,
)

__all__ = ["BottleneckControl", "Mode"]

STARTUP_GAIN = 2.0
"""Pace over measured rate while starting: the flight doubles in a round trip."""

PLATEAU_GROWTH = 1.25
"""Startup goes on as long as the rate grows by this much ..."""

PLATEAU_ROUNDS = 3
"""... at least once in this many round trips."""

PROBE_GAINS = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""Pace over measured rate in the eight phases of a cycle, a round trip each."""

WINDOW_GAIN = 2.0
"""Window over bandwidth-delay product; the second one covers what a repair holds up."""

ACK_ALLOWANCE = 0.03
"""Seconds of sending that the window has on top: ACKs come every 10 ms and may be late."""

RATE_ROUNDS = 10
"""Round trips that a delivery rate is remembered."""

RTT_LIFETIME = 10.0
"""Seconds that a lowest round trip is remembered before the path is emptied to measure again."""

RTT_PROBE = 0.2
"""Seconds that mode ``RTT`` lasts, or one round trip if that is longer."""

MIN_WINDOW = 16
"""Packets; never fewer in flight."""

MIN_RATE = 20.0
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
        "_full_rate",
        "_full_rounds",
        "_lost_in_phase",
        "_phase",
        "_phase_start",
        "_rates",
        "_recovering",
        "_round",
        "_round_end",
        "_rtt_seen",
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
        self._rates: deque[tuple[int, float]] = deque()  # (round, rate), rates falling
        self._round = 0
        self._round_end = 0
        self._full_rate = 0.0
        self._full_rounds = 0
        self._phase = 0
        self._phase_start = 0.0
        self._lost_in_phase = 0
        self._recovering = False

    def on_ack(self, sample: AckSample) -> None:
        """Update the model, change the mode if it is time, set pace and window."""
        self._recovering = False
        new_round = sample.prior_delivered >= self._round_end
        if new_round:
            self._round += 1
            self._round_end = sample.delivered
        self._note_rate(sample)
        stale = self._note_rtt(sample)
        if new_round and self.mode is Mode.STARTUP and not sample.app_limited:
            self._look_for_plateau()
        self._change_mode(sample, stale)
        self._steer()

    def _note_rate(self, sample: AckSample) -> None:
        """Keep the highest delivery rate of the last rounds."""
        rate = sample.delivery_rate
        if rate is None or (sample.app_limited and rate < self.bandwidth):
            return
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((self._round, rate))
        while rates[0][0] < self._round - RATE_ROUNDS:
            rates.popleft()
        self.bandwidth = rates[0][1]

    def _note_rtt(self, sample: AckSample) -> bool:
        """Keep the lowest round trip; tell whether it is too old."""
        if sample.rtt is None:
            return False
        stale = self.min_rtt > 0 and sample.now > self._rtt_seen + RTT_LIFETIME
        if not self.min_rtt or sample.rtt <= self.min_rtt or stale:
            self.min_rtt = max(sample.rtt, 1e-5)
            self._rtt_seen = sample.now
        return stale

    def _look_for_plateau(self) -> None:
        """Count the rounds without growth."""
        if self.bandwidth >= self._full_rate * PLATEAU_GROWTH:
            self._full_rate = self.bandwidth
            self._full_rounds = 0
        else:
            self._full_rounds += 1

    def _change_mode(self, sample: AckSample, stale: bool) -> None:
        elapsed = sample.now - self._phase_start
        flight = self.bandwidth * self.min_rtt
        if self.mode is Mode.STARTUP:
            if self._full_rounds >= PLATEAU_ROUNDS:
                self._enter(Mode.DRAIN, sample.now)
        elif self.mode is Mode.DRAIN:
            if sample.in_flight <= flight or elapsed > 2 * self.min_rtt:
                self._enter(Mode.PROBE, sample.now)
        elif self.mode is Mode.RTT:
            if elapsed > max(RTT_PROBE, self.min_rtt):
                self._enter(Mode.PROBE, sample.now)
        elif stale:
            self._enter(Mode.RTT, sample.now)
        else:
            self._turn_cycle(sample, elapsed, flight)

    def _turn_cycle(self, sample: AckSample, elapsed: float, flight: float) -> None:
        """Go to the next phase after a round trip; sooner or later where a phase has done its work."""
        gain = PROBE_GAINS[self._phase]
        done = elapsed >= self.min_rtt
        if gain < 1 and sample.in_flight <= flight:
            done = True
        if done:
            self._phase = (self._phase + 1) % len(PROBE_GAINS)
            self._phase_start = sample.now
            self._lost_in_phase = 0

    def _enter(self, mode: Mode, now: float) -> None:
        self.mode = mode
        self._phase = 2
        self._phase_start = now
        self._lost_in_phase = 0

    def _steer(self) -> None:
        """Turn model and mode into pace and window."""
        if not self.bandwidth or not self.min_rtt:
            return
        flight = self.bandwidth * self.min_rtt
        gain = {
            Mode.STARTUP: STARTUP_GAIN,
            Mode.DRAIN: 1 / STARTUP_GAIN,
            Mode.PROBE: PROBE_GAINS[self._phase],
            Mode.RTT: 1.0,
        }[self.mode]
        self.rate = max(MIN_RATE, self.bandwidth * gain)
        window = WINDOW_GAIN * flight + self.bandwidth * ACK_ALLOWANCE
        if self.mode is Mode.STARTUP:
            self.rate = max(self.rate, INITIAL_RATE)
            window = max(window, INITIAL_WINDOW)
        elif self.mode is Mode.RTT:
            window = flight / 2
        self.window = max(MIN_WINDOW, window)

    def on_loss(self, loss: LossEvent) -> None:
        """Remember it; the delivery rate tells what matters about it."""
        self._lost_in_phase += loss.lost

    def on_timeout(self, now: float) -> None:
        """Send only a little until something is heard again; the model stays."""
        self._recovering = True
        self.window = MIN_WINDOW
