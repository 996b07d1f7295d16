"""Collects one scrape: families of figures whose labels are from fixed sets."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from wavesync.histogram import Histogram

__all__ = ["OTHER", "Families", "closed"]

OTHER = "other"
"""The label of whatever is not in a fixed set."""

K = TypeVar("K")


def closed(
    counts: Mapping[K, float], words: Mapping[K, str], other: str = OTHER
) -> dict[str, float]:
    """Give counts under words of a fixed set: all of them, every time, so that no series is missing
    before its first event, and none comes up that nobody has thought of.

    :param words: the word for each key; several keys may share one.
    :param other: the word under which all other keys are counted.
    """
    found = dict.fromkeys((*words.values(), other), 0.0)
    for key, count in counts.items():
        found[words.get(key, other)] += count
    return found


class Families:
    """The families of one service's scrape.

    :param prefix: what all names begin with.
    :ivar metrics: the families so far.
    """

    def __init__(self, prefix: str) -> None:
        self.metrics: list[Metric] = []
        self._prefix = prefix

    def gauge(self, name: str, text: str, value: float) -> None:
        """Add what goes up and down."""
        self.metrics.append(GaugeMetricFamily(self._prefix + name, text, value=value))

    def gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        """Add one for each value of a label."""
        family = GaugeMetricFamily(self._prefix + name, text, labels=[label])
        for word, value in values.items():
            family.add_metric([word], value)
        self.metrics.append(family)

    def counter(self, name: str, text: str, value: float) -> None:
        """Add what only goes up; ``_total`` is put behind the name."""
        self.metrics.append(CounterMetricFamily(self._prefix + name, text, value=value))

    def counters(
        self,
        name: str,
        text: str,
        labels: str | tuple[str, str],
        values: Mapping[str, float] | Mapping[tuple[str, str], float],
    ) -> None:
        """Add one for each value of a label, or of two."""
        names = (labels,) if isinstance(labels, str) else labels
        family = CounterMetricFamily(self._prefix + name, text, labels=names)
        for words, value in values.items():
            family.add_metric((words,) if isinstance(words, str) else words, value)
        self.metrics.append(family)

    def histograms(
        self, name: str, text: str, label: str, values: Iterable[tuple[str, Histogram]]
    ) -> None:
        """Add one for each value of a label."""
        family = HistogramMetricFamily(self._prefix + name, text, labels=[label])
        for word, histogram in values:
            below, buckets = 0, []
            bounds = (*map(repr, histogram.bounds), "+Inf")
            for bound, count in zip(bounds, histogram.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric([word], buckets, histogram.sum)
        self.metrics.append(family)
