"""Tests for :mod:`wavesync.histogram` and :mod:`wavesync.metrics.families`."""

from prometheus_client.core import Metric
from twisted.trial.unittest import SynchronousTestCase

from wavesync.histogram import LONGEST, Histogram
from wavesync.metrics.families import OTHER, Families, closed


def samples(metric: Metric) -> dict[tuple[str, ...], float]:
    """The values of a family, by name and labels."""
    return {(each.name, *each.labels.values()): each.value for each in metric.samples}


class HistogramTests(SynchronousTestCase):
    """Durations by how long they were."""

    def test_classes(self) -> None:
        """A bound belongs to the class below it; what is beyond all bounds to the last one."""
        histogram = Histogram((0.1, 1.0))
        for seconds in (0.0, 0.1, 0.1001, 1.0, 1.1):
            histogram.observe(seconds)
        self.assertEqual(histogram.counts, [2, 2, 1])
        self.assertAlmostEqual(histogram.sum, 2.3001)

    def test_nonsense(self) -> None:
        """What a peer says that cannot be does not spoil the sum."""
        histogram = Histogram((0.1, 1.0))
        for seconds in (LONGEST, LONGEST + 1, 4294967.295, -1.0):
            histogram.observe(seconds)
        self.assertEqual(histogram.counts, [1, 0, 3])
        self.assertEqual(histogram.sum, 3 * LONGEST)


class ClosedTests(SynchronousTestCase):
    """Labels from fixed sets."""

    def test_all_words(self) -> None:
        """Every word is there from the beginning, with what has no word in one place."""
        words = {1: "one", 2: "two", 20: "two"}
        self.assertEqual(closed({}, words), {"one": 0, "two": 0, OTHER: 0})
        counts = {2: 5, 20: 1, 7: 2, 8: 3}
        self.assertEqual(closed(counts, words), {"one": 0, "two": 6, OTHER: 5})


class FamiliesTests(SynchronousTestCase):
    """One scrape."""

    def test_kinds(self) -> None:
        """Names have the prefix, counters end in ``_total``, histograms add up."""
        families = Families("x_")
        families.gauge("now", "How many.", 3)
        families.gauges("some", "How many.", "path", {"tcp": 1, "udp": 2})
        families.counter("ever", "How many.", 4)
        families.counters("each", "How many.", ("path", "outcome"), {("tcp", "ok"): 5})
        histogram = Histogram((0.1, 1.0))
        for seconds in (0.05, 0.5, 0.6, 2.0):
            histogram.observe(seconds)
        families.histograms("seconds", "How long.", "path", [("tcp", histogram)])
        now, some, ever, each, seconds_family = map(samples, families.metrics)
        self.assertEqual(now, {("x_now",): 3})
        self.assertEqual(some, {("x_some", "tcp"): 1, ("x_some", "udp"): 2})
        self.assertEqual(ever, {("x_ever_total",): 4})
        self.assertEqual(each, {("x_each_total", "tcp", "ok"): 5})
        self.assertEqual(
            seconds_family,
            {
                ("x_seconds_bucket", "tcp", "0.1"): 1,
                ("x_seconds_bucket", "tcp", "1.0"): 3,
                ("x_seconds_bucket", "tcp", "+Inf"): 4,
                ("x_seconds_count", "tcp"): 4,
                ("x_seconds_sum", "tcp"): 3.15,
            },
        )
