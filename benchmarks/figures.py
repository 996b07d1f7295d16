"""What a figure is: ours, the peer's, their ratio, and what the ratio has to be."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.samples import Samples, ratios

__all__ = ["Bar", "Row", "absolute", "compared", "line", "plain"]

Row = dict[str, Any]
"""One judged figure, ready for JSON; see :func:`compared`."""

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """What a ratio has to be.

    :ivar must: the least that counts as done.
    :ivar goal: what is hoped for.
    :ivar higher: whether more is better.
    """

    must: float
    goal: float
    higher: bool = True

    def __post_init__(self) -> None:
        if (self.goal < self.must) if self.higher else (self.goal > self.must):
            raise ValueError("a goal is not easier than what must be")

    def judge(self, value: float) -> Row:
        """Tell of a ratio whether it is what it must be, and what is hoped for."""
        sign = 1 if self.higher else -1
        return {
            "must": self.must,
            "goal": self.goal,
            "better": "higher" if self.higher else "lower",
            "reached": sign * value >= sign * self.must,
            "goal_reached": sign * value >= sign * self.goal,
        }


def rounded(value: float) -> float:
    """Keep four digits that count."""
    return float(f"{value:.{_DIGITS}g}")


def _side(name: str, values: Sequence[float]) -> Row:
    return {
        name: rounded(statistics.median(values)),
        f"{name}_range": [rounded(min(values)), rounded(max(values))],
    }


def compared(
    what: str, unit: str, name: str, ours: Samples, peers: Samples, bar: Bar, *, peer: str
) -> Row:
    """Judge ours against a peer's, by the median of the rounds' ratios.

    :param what: what was measured, for people.
    :param unit: of ours and the peer's.
    :param name: of the value in the samples.
    :param bar: what the ratio has to be.
    :param peer: the peer's name.
    :return: ``what``, ``unit``, ``ours`` and ``peer`` (medians), ``ratio``, each of these three with
        its ``_range`` from least to most, ``peer_name``, ``must``, ``goal``, ``better`` (``higher``
        or ``lower``), ``reached`` and ``goal_reached``.
    """
    each = ratios(ours, peers, name)
    return {
        "what": what,
        "unit": unit,
        "peer_name": peer,
        **_side("ours", [sample[name] for sample in ours]),
        **_side("peer", [sample[name] for sample in peers]),
        **_side("ratio", each),
        **bar.judge(statistics.median(each)),
    }


def absolute(
    what: str,
    unit: str,
    name: str,
    ours: Samples,
    bar: Bar,
    *,
    peers: Samples | None = None,
    peer: str = "",
) -> Row:
    """Judge ours as it is; a peer's, if there is one, only stands beside it.

    Parameters and result as for :func:`compared`; ``ratio`` is ours.
    """
    values = [sample[name] for sample in ours]
    beside = _side("peer", [sample[name] for sample in peers]) if peers else {"peer": None}
    return {
        "what": what,
        "unit": unit,
        "peer_name": peer,
        **_side("ours", values),
        **beside,
        **_side("ratio", values),
        **bar.judge(statistics.median(values)),
    }


def plain(samples: Samples) -> dict[str, float]:
    """Give the medians of all values of a kind, by name."""
    return {
        name: rounded(statistics.median(sample[name] for sample in samples)) for name in samples[0]
    }


def line(rows: Sequence[Row], *, runs: int, settings: Mapping[str, Any], **more: Any) -> Row:
    """Put judged figures together as what one benchmark gives.

    :param rows: the first is what the benchmark is about; the others stand in ``also``.
    :param runs: of each kind.
    :param settings: how it was measured.
    :param more: anything else worth keeping.
    """
    first, *others = rows
    also = {"also": others} if others else {}
    return {**first, **also, **more, "runs": runs, "settings": dict(settings)}
