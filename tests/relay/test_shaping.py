"""Tests for :mod:`wavesync.relay.shaping`, and that joins keep to it with real bytes."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.relay.join_support import Far, Legs, receive, send, until
from wavesync.relay.joining import join
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.shaping import MAX_GRAIN, MIN_GRAIN, Bucket, Shaper


class BucketTests(SynchronousTestCase):
    """A bucket says how long to wait."""

    def test_burst(self) -> None:
        """A tenth of a second's worth may go at once, the next byte waits."""
        bucket = Bucket(1_000_000.0, 5.0)
        self.assertEqual(bucket.take(100_000, 5.0), 0.0)
        self.assertAlmostEqual(bucket.take(1, 5.0), 1e-6)

    def test_rate(self) -> None:
        """Whoever waits as told gets the rate, whatever he takes at a time."""
        for size in (100, 5000, 400_000):
            bucket = Bucket(1_000_000.0, 0.0)
            now = total = 0.0
            while now < 10.0:
                total += size
                now += bucket.take(size, now)
            self.assertApproximates(total / now, 1_000_000.0, 50_000.0)

    def test_nothing_saved_up(self) -> None:
        """An hour of silence gives no more than the burst."""
        bucket = Bucket(1_000_000.0, 0.0)
        bucket.take(100_000, 0.0)
        self.assertEqual(bucket.take(100_000, 3600.0), 0.0)
        self.assertTrue(bucket.take(1000, 3600.0) > 0.0)

    def test_turns(self) -> None:
        """Two who take from one bucket get the same, though one came first."""
        bucket = Bucket(1_000_000.0, 0.0)
        wake = {"first": 0.0, "second": 0.0}
        got = {"first": 0, "second": 0}
        while min(wake.values()) < 10.0:
            who = min(wake, key=lambda name: (wake[name], name))
            got[who] += 20_000
            wake[who] += bucket.take(20_000, wake[who])
        self.assertApproximates(got["first"] / got["second"], 1.0, 0.05)
        self.assertApproximates(sum(got.values()), 10_000_000, 300_000)

    def test_clock_goes_back(self) -> None:
        """A clock that was set back gives nobody tokens, and takes none."""
        bucket = Bucket(1000.0, 100.0)
        bucket.take(int(bucket.grain), 100.0)
        self.assertApproximates(bucket.take(1000, 50.0), 1.0, 0.2)

    def test_grain(self) -> None:
        """What a turn may take fits the rate, within limits."""
        grains = [Bucket(rate, 0.0).grain for rate in (1.0, 1e6, 1e12)]
        self.assertEqual(grains, [MIN_GRAIN, 20_000, MAX_GRAIN])

    def test_full(self) -> None:
        """A bucket that nobody takes from can be forgotten; one in debt cannot."""
        bucket = Bucket(1000.0, 0.0)
        self.assertTrue(bucket.full(0.0))
        bucket.take(bucket.grain + 1, 0.0)
        self.assertFalse(bucket.full(1.0))
        self.assertTrue(bucket.full(5.0))


class ShaperTests(SynchronousTestCase):
    """A pair keeps to several limits."""

    def test_slowest(self) -> None:
        """The longest wait counts, and all pay."""
        for slow_first in (True, False):
            fast, slow = Bucket(1e6, 0.0), Bucket(1e5, 0.0)
            shaper = Shaper([slow, fast] if slow_first else [fast, slow])
            self.assertEqual(shaper.grain, slow.grain)
            wait = shaper.take(110_000, 0.0)
            self.assertAlmostEqual(wait, 1.0)
            self.assertAlmostEqual(fast.take(0, 0.0), 0.01)

    def test_no_limit(self) -> None:
        """Without buckets nobody waits."""
        self.assertEqual(Shaper([]).take(1 << 40, 0.0), 0.0)


class ShapedJoinTests(TestCase):
    """Real bytes go as fast as they may, and no faster."""

    RATE = 2_000_000.0

    def setUp(self) -> None:
        self.legs = Legs(self.addCleanup)

    async def pair(self, shaper: Shaper, *, kernel: bool, tls: bool) -> tuple[Any, Far, Far]:
        """Join two legs."""
        plumbing = Plumbing(kernel=kernel)
        self.addCleanup(plumbing.pipes.close)
        client, far_client = await self.legs.make(tls=tls)
        server, far_server = await self.legs.make()
        made = join(reactor, client, server, shaper=shaper, plumbing=plumbing)
        return made, far_client, far_server

    async def rate(self, *, kernel: bool = True, tls: bool = False) -> None:
        """A second's worth takes a second, less the burst."""
        bucket = Bucket(self.RATE, reactor.seconds())
        pair, client, server = await self.pair(Shaper([bucket]), kernel=kernel, tls=tls)
        sending = Deferred.fromCoroutine(send(client, bytes(1_000_000)))
        start = reactor.seconds()
        await receive(server, 1_000_000)
        took = reactor.seconds() - start
        await sending
        # Never faster; slower only by what this machine is late.
        self.assertTrue(took >= 0.9 * (1_000_000 / self.RATE - 0.1), f"it took {took} s")
        self.assertTrue(took < 3.0, f"it took {took} s")
        pair.abort("enough")
        await pair.over

    def test_kernel(self) -> Deferred[None]:
        """Joined in the kernel."""
        return Deferred.fromCoroutine(self.rate())

    def test_copying(self) -> Deferred[None]:
        """Copied by us."""
        return Deferred.fromCoroutine(self.rate(kernel=False))

    def test_tls(self) -> Deferred[None]:
        """Over TLS."""
        return Deferred.fromCoroutine(self.rate(tls=True))

    async def test_shared(self) -> None:
        """Pairs of one system share its rate evenly, even where one of them came late."""
        bucket = Bucket(self.RATE, reactor.seconds())
        pairs = []
        ends = []
        for _ in range(3):
            made, client, server = await self.pair(Shaper([bucket]), kernel=True, tls=False)
            pairs.append(made)
            for work in (send(client, bytes(1 << 24)), receive(server, 1 << 24)):
                ends.append(Deferred.fromCoroutine(work))
                ends[-1].addErrback(lambda _: None)
        start, before = reactor.seconds(), sum(pair.up for pair in pairs)
        begun = [pair.up for pair in pairs]
        await until(lambda: sum(pair.up for pair in pairs) - before > 1_000_000)
        took = reactor.seconds() - start
        got = [pair.up - first for pair, first in zip(pairs, begun, strict=True)]
        self.assertTrue(sum(got) <= self.RATE * (took + 0.2), f"{got} in {took} s")
        self.assertTrue(max(got) <= 1.3 * min(got) + 100_000, f"{got} in {took} s")
        for pair in pairs:
            pair.abort("enough")
            await pair.over
        for end in ends:
            await end

    async def test_end_while_resting(self) -> None:
        """A pair that rests can be ended, and its timer goes with it."""
        bucket = Bucket(1000.0, reactor.seconds())
        pair, client, _ = await self.pair(Shaper([bucket]), kernel=True, tls=False)
        await send(client, bytes(100_000))
        await until(lambda: pair.up)
        pair.abort("enough")
        self.assertEqual(await pair.over, "enough")
