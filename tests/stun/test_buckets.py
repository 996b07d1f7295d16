"""Buckets: how often a source may ask, who counts as one source, how many are remembered."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.stun.buckets import MAX_SOURCES, Bucket, SourceBuckets, source_key


class Rates(SynchronousTestCase):
    """How often a source may ask."""

    def test_burst_and_rate(self) -> None:
        """A source may ask a burst at once, then as often as the rate lets it."""
        buckets = SourceBuckets(rate=2, burst=3)
        self.assertEqual([buckets.allow("192.0.2.1", 0.0) for _ in range(4)], [True] * 3 + [False])
        self.assertFalse(buckets.allow("192.0.2.1", 0.49))
        self.assertTrue(buckets.allow("192.0.2.1", 0.5))
        self.assertFalse(buckets.allow("192.0.2.1", 0.5))

    def test_never_more_than_burst(self) -> None:
        """A long silence saves up one burst and not more."""
        buckets = SourceBuckets(rate=2, burst=3)
        buckets.allow("192.0.2.1", 0.0)
        self.assertEqual([buckets.allow("192.0.2.1", 1e6) for _ in range(4)], [True] * 3 + [False])

    def test_cost(self) -> None:
        """A dear request takes more; one that is refused takes nothing."""
        buckets = SourceBuckets(rate=0, burst=5)
        self.assertTrue(buckets.allow("192.0.2.1", 0.0, cost=3))
        self.assertFalse(buckets.allow("192.0.2.1", 0.0, cost=3))
        self.assertTrue(buckets.allow("192.0.2.1", 0.0, cost=2))

    def test_refused_does_not_starve(self) -> None:
        """A source that keeps asking too fast still gets its rate."""
        buckets = SourceBuckets(rate=1, burst=1)
        allowed = sum(buckets.allow("192.0.2.1", tick / 10) for tick in range(101))
        self.assertIn(allowed, (10, 11))

    def test_backward_clock(self) -> None:
        """A time before the last one gives no tokens and takes none away."""
        buckets = SourceBuckets(rate=1, burst=2)
        self.assertTrue(buckets.allow("192.0.2.1", 10.0))
        self.assertTrue(buckets.allow("192.0.2.1", 5.0))
        self.assertFalse(buckets.allow("192.0.2.1", 10.5))
        self.assertTrue(buckets.allow("192.0.2.1", 11.0))

    def test_parameters(self) -> None:
        """Buckets that could hold nothing are our own mistake."""
        self.assertRaises(ValueError, SourceBuckets, -1, 1)
        self.assertRaises(ValueError, SourceBuckets, 1, 0)
        self.assertRaises(ValueError, SourceBuckets, 1, 1, 0)


class Sources(SynchronousTestCase):
    """Who counts as one source."""

    def test_apart(self) -> None:
        """One source's asking does not count against another's."""
        buckets = SourceBuckets(rate=0, burst=1)
        for host in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
            self.assertTrue(buckets.allow(host, 0.0))
            self.assertFalse(buckets.allow(host, 0.0))

    def test_keys(self) -> None:
        """An IPv6 source is its /64, an IPv4 one its address however written."""
        self.assertEqual(source_key("2001:db8::1"), source_key("2001:db8::ffff:1:2:3"))
        self.assertNotEqual(source_key("2001:db8::1"), source_key("2001:db8:0:1::1"))
        self.assertEqual(source_key("fe80::1%eth0"), source_key("fe80::2"))
        self.assertEqual(source_key("::ffff:192.0.2.1"), source_key("192.0.2.1"))
        self.assertNotEqual(source_key("192.0.2.1"), source_key("192.0.2.2"))

    def test_no_address(self) -> None:
        """What is no address still counts as itself."""
        self.assertEqual(source_key("a name"), source_key("a name"))
        self.assertNotEqual(source_key("a name"), source_key("1:\0"))

    def test_limit(self) -> None:
        """As many sources as the limit are remembered, then the longest unheard is forgotten."""
        buckets = SourceBuckets(rate=0, burst=1, max_sources=2)
        self.assertTrue(buckets.allow("192.0.2.1", 0.0))
        self.assertTrue(buckets.allow("192.0.2.2", 0.0))
        self.assertFalse(buckets.allow("192.0.2.1", 0.0))
        self.assertEqual(len(buckets), 2)
        self.assertTrue(buckets.allow("192.0.2.3", 0.0))
        self.assertEqual(len(buckets), 2)
        self.assertFalse(buckets.allow("192.0.2.1", 0.0))
        self.assertTrue(buckets.allow("192.0.2.2", 0.0))

    def test_default_limit(self) -> None:
        """A flood of forged sources fills no more than the limit."""
        buckets = SourceBuckets(rate=1, burst=1)
        for number in range(MAX_SOURCES + 1):
            buckets.allow(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        self.assertEqual(len(buckets), MAX_SOURCES)


class ManyAtOnce(SynchronousTestCase):
    """Several sources charged together, as for a batch of datagrams."""

    def test_all(self) -> None:
        """Each is charged for as many as it sent, exactly up to what it may send."""
        one, other = map(source_key, ("192.0.2.1", "192.0.2.2"))
        buckets = SourceBuckets(rate=1, burst=4)
        self.assertTrue(buckets.allow_all({one: 4, other: 3}, 0.0))
        self.assertFalse(buckets.allow("192.0.2.1", 0.0))
        self.assertTrue(buckets.allow("192.0.2.2", 0.0))
        self.assertTrue(buckets.allow_all({one: 2, other: 2}, 2.0))
        self.assertFalse(buckets.allow_all({one: 1}, 1.0))

    def test_none(self) -> None:
        """Where one of them has sent too much, none is charged."""
        one, other = map(source_key, ("192.0.2.1", "192.0.2.2"))
        buckets = SourceBuckets(rate=0, burst=4)
        self.assertFalse(buckets.allow_all({one: 4, other: 5}, 0.0))
        self.assertEqual(len(buckets), 0)
        self.assertTrue(buckets.allow_all({one: 4, other: 4}, 0.0))

    def test_limit(self) -> None:
        """No more sources are remembered than the limit."""
        buckets = SourceBuckets(rate=0, burst=4, max_sources=2)
        self.assertTrue(buckets.allow_all({bytes((n,)) * 4: 1 for n in range(5)}, 0.0))
        self.assertEqual(len(buckets), 2)


class OneBucket(SynchronousTestCase):
    """The bucket of a holder that is known."""

    def test_burst_and_rate(self) -> None:
        """It is full at first, fills at its rate, and holds no more than its burst."""
        bucket = Bucket(rate=2, burst=3)
        self.assertEqual([bucket.allow(100.0) for _ in range(4)], [True] * 3 + [False])
        self.assertFalse(bucket.allow(100.49))
        self.assertTrue(bucket.allow(100.5))
        self.assertFalse(bucket.allow(99.0))
        self.assertFalse(bucket.allow(1000.0, 3.5))
        self.assertTrue(bucket.allow(1000.0, 3.0))
        self.assertFalse(bucket.allow(1000.0, 0.5))
