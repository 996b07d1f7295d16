"""Runs of several kinds in turn, so that a machine that changes its mind changes it for all of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Sample", "Samples", "interleave", "median", "ratios"]

Sample = Mapping[str, float]
"""What one run gave, by name."""

Samples = Sequence[Sample]
"""What all runs of a kind gave, in order."""


def interleave(
    kinds: Mapping[str, Callable[[], Sample]],
    runs: int,
    told: Callable[[str, Sample], None] | None = None,
) -> dict[str, list[Sample]]:
    """Run each kind once, then each again, and so on: A B A B.

    :param kinds: by name.
    :param runs: of each, 1 or more.
    :param told: called with the kind and its sample after each run.
    :raises ValueError: no runs, no figures.
    """
    if runs < 1:
        raise ValueError("a figure needs at least one run")
    taken: dict[str, list[Sample]] = {name: [] for name in kinds}
    for _ in range(runs):
        for name, run in kinds.items():
            sample = run()
            taken[name].append(sample)
            if told is not None:
                told(name, sample)
    return taken


def median(samples: Samples, name: str) -> float:
    """Give the median of one value of all runs."""
    return statistics.median(sample[name] for sample in samples)


def ratios(ours: Samples, peers: Samples, name: str) -> list[float]:
    """Divide ours by the peer's, round by round, for the two ran one after the other."""
    return [one[name] / other[name] for one, other in zip(ours, peers, strict=True)]
