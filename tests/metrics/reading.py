"""What a scrape holds, and what expressions of PromQL ask of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape", "complaints"]

_OWN = {"job", "instance"}
"""The labels that Prometheus itself puts on every series."""

_SELECTOR = re.compile(r"\b(up|process_\w+|wavesync_\w+)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_BY = re.compile(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of ``/metrics``.

    :ivar values: the values by name and labels.
    :ivar families: names of families, as ``# TYPE`` gives them.
    """

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]
    families: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Scrape":
        """Read it."""
        families = list(text_string_to_metric_families(text))
        values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
        return cls(values, tuple(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)))

    def value(self, name: str, **labels: str) -> float:
        """One of the values."""
        return self.values[name, frozenset(labels.items())]


def _labels(scrapes: list[Scrape], name: str) -> Iterator[dict[str, str]]:
    for scrape in scrapes:
        for found, labels in scrape.values:
            if found == name:
                yield dict(labels)


def complaints(expression: str, scrapes: list[Scrape]) -> list[str]:
    """Tell which series, labels and labels' values an expression names that are in no scrape."""
    wrong = []
    known: set[str] = {"le"} if "_bucket" in expression else set()
    for name, matchers in _SELECTOR.findall(expression):
        if name == "up":
            continue
        series = list(_labels(scrapes, name))
        if not series:
            wrong.append(f"no series {name}")
            continue
        known.update(series[0])
        for label, how, text in _MATCHER.findall(matchers):
            if label in _OWN:
                continue
            there = {each.get(label) for each in series}
            wanted = text.split("|") if how in ("=~", "!~") else [text]
            wrong += [f"{name} has no {label}={each!r}" for each in wanted if each not in there]
    for labels in _BY.findall(expression):
        named = {each.strip() for each in labels.split(",")}
        wrong += [f"nothing has the label {each}" for each in sorted(named - known - _OWN)]
    if not _SELECTOR.search(expression):
        wrong.append("no series is named")
    return wrong
