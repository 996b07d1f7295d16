"""Mutated input for everything that reads a peer's bytes: a small fuzzer that repeats itself.

A :class:`Target` says what is read, from which good inputs the bad ones are made, and what a refusal
looks like.  The same target, count and seed give the same inputs.
"""

import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["MAX_FINDINGS", "Finding", "Planted", "Report", "Target", "fuzz", "mutants", "planted"]

Reader = Callable[[bytes], object]
Mend = Callable[[bytearray, random.Random], bytes]

SEED = 2026
MAX_FINDINGS = 5
MAX_CHANGES = 3
_MENDED = 0.8
_UNCHANGED = 0.01

_BYTES = (0, 1, 0x7F, 0x80, 0xFF)
_SHORTS = (0, 1, 3, 4, 20, 0x7FFF, 0x8000, 0xFFFF)
_WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Planted(Exception):
    """The fault of a reader in which a bug was planted."""


@dataclass(frozen=True)
class Target:
    """Something that reads a peer's bytes.

    :ivar name: for people.
    :ivar seeds: gives good inputs.
    :ivar read: reads one input; any exception but *refusal* is a bug.
    :ivar refusal: what it raises for bad ones.
    :ivar reasons: pieces of sentences of refusals, each of which inputs must lead to.
    :ivar count: inputs in a test run.
    :ivar careless: the same with a bug, where planting one by *reasons* is not possible.
    :ivar mend: makes most inputs look right from outside, so that more than a checksum is tested.
    :ivar longest: bytes.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    read: Reader
    refusal: type[Exception] | tuple[type[Exception], ...] = ()
    reasons: tuple[str, ...] = ()
    count: int = 2000
    careless: Reader | None = None
    mend: Mend | None = None
    longest: int = 4096


class Finding(NamedTuple):
    """An input that something went wrong on.

    :ivar data: the input.
    :ivar error: what was raised.
    """

    data: bytes
    error: Exception


@dataclass
class Report:
    """What came of a run.

    :ivar count: inputs tried.
    :ivar accepted: inputs that were read.
    :ivar refusals: sentences of refusals, and how often each was given.
    :ivar first: number of the first input that led to each.
    :ivar findings: bugs, at most :data:`MAX_FINDINGS`.
    """

    count: int = 0
    accepted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def reached(self, reason: str) -> int | None:
        """Number of the first input that was refused for *reason*; None where none was."""
        return min((at for text, at in self.first.items() if reason in text), default=None)


def _change(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Change *data* in one of the ways that have broken parsers before."""
    place = chance.randrange(len(data) + 1)
    match chance.randrange(10):
        case 0 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 1 if place < len(data):
            data[place] = chance.choice(_BYTES)
        case 2:
            del data[place:]
        case 3:
            del data[place : place + chance.randrange(1, 9)]
        case 4:
            data[place:place] = chance.randbytes(chance.randrange(1, 9))
        case 5:
            other = chance.choice(seeds)
            data[place:] = other[chance.randrange(len(other) + 1) :]
        case 6 if len(data) >= 2:
            place = chance.randrange(len(data) - 1)
            data[place : place + 2] = struct.pack("!H", chance.choice(_SHORTS))
        case 7 if len(data) >= 4:
            place = 4 * chance.randrange(len(data) // 4)
            data[place : place + 4] = struct.pack("!I", chance.choice(_WORDS))
        case 8:
            data += data[place:] or b"\0"
        case _:
            piece = data[place : place + chance.randrange(1, 65)]
            place = chance.randrange(len(data) + 1)
            data[place:place] = piece


def mutants(target: Target, count: int, seed: int = SEED) -> Iterator[bytes]:
    """Give *count* inputs: good ones with one to a few changes, and a few good ones."""
    chance = random.Random(f"{target.name} {seed}")
    seeds = target.seeds()
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        if chance.random() < _UNCHANGED:
            yield bytes(data)
            continue
        for _ in range(chance.randint(1, MAX_CHANGES)):
            _change(data, chance, seeds)
            del data[target.longest :]
        if target.mend is not None and chance.random() < _MENDED:
            yield target.mend(data, chance)[: target.longest]
        else:
            yield bytes(data)


def fuzz(target: Target, count: int, seed: int = SEED, *, read: Reader | None = None) -> Report:
    """Try *count* inputs.

    :param read: read by this instead.
    """
    report = Report()
    reader = read if read is not None else target.read
    for number, data in enumerate(mutants(target, count, seed)):
        report.count += 1
        try:
            reader(data)
        except target.refusal as error:
            sentence = str(error)
            report.refusals[sentence] += 1
            report.first.setdefault(sentence, number)
        except Exception as error:
            report.findings.append(Finding(data, error))
            if len(report.findings) == MAX_FINDINGS:
                break
        else:
            report.accepted += 1
    return report


def planted(target: Target, reason: str) -> Reader:
    """Give the target's reader without one check: what the check keeps out breaks it."""

    def read(data: bytes) -> object:
        try:
            return target.read(data)
        except target.refusal as error:
            if reason in str(error):
                raise Planted(reason) from None
            raise

    return read
