"""The fuzz target finds nothing in our reader, and does find bugs planted in others."""

import itertools
import struct
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.stun.fuzz import MAX_FINDINGS, fuzz, mutants
from wavesync.stun.attributes import FINGERPRINT, StunError
from wavesync.stun.message import Message, MessageClass, decode, is_stun

COUNT = 20_000
"""Inputs of one test run."""


def careless(data: bytes) -> Message:
    """A reader that unpacks a FINGERPRINT without looking how long it is: ``struct.error``."""
    offset = 20
    while is_stun(data) and offset < len(data):
        kind, size = struct.unpack_from("!HH", data, offset)
        if kind == FINGERPRINT and offset + 4 + size <= len(data):
            struct.unpack("!I", data[offset + 4 : offset + 4 + size])
        offset += 4 + size + -size % 4
    return decode(data)


def lenient(data: bytes) -> Message:
    """A reader that takes an attribute going past the end for one that ends there."""
    try:
        return decode(data)
    except StunError:
        if not is_stun(data):
            raise
    found, offset = [], 20
    while offset < len(data):
        kind, size = struct.unpack_from("!HH", data, offset)
        found.append((kind, data[offset + 4 : offset + 4 + size]))
        offset += 4 + size + -size % 4
    return Message(1, MessageClass.REQUEST, data[8:20], tuple(found), data)


def believing(data: bytes) -> Message:
    """Our reader, but a wrong FINGERPRINT is let pass."""
    try:
        return decode(data)
    except StunError:
        if is_stun(data) and data[-8:-4] == struct.pack("!HH", FINGERPRINT, 4):
            cut = struct.pack("!H", len(data) - 28)
            return replace(decode(data[:2] + cut + data[4:-8]), raw=data)
        raise


class Fuzzing(SynchronousTestCase):
    """The fuzz target."""

    def test_nothing_found(self) -> None:
        """A fixed number of mutated messages finds no fault in what is installed."""
        self.assertEqual(fuzz(COUNT), [])

    def test_planted(self) -> None:
        """Planted bugs are reported, each by the fault it makes, with inputs to repeat it."""
        for reader, kind in (
            (careless, struct.error),
            (lenient, StunError),
            (believing, StunError),
        ):
            findings = fuzz(COUNT, reader)
            self.assertEqual(len(findings), MAX_FINDINGS, reader)
            self.assertIn(kind, {type(finding.error) for finding in findings})

    def test_repeatable(self) -> None:
        """The same inputs come every time, and a larger count begins with the smaller one's."""
        first = list(mutants(200))
        self.assertEqual(first, list(itertools.islice(mutants(1000), 200)))
        self.assertNotEqual(first, list(mutants(200, seed=1)))

    def test_worthwhile(self) -> None:
        """A good part of the inputs is read as messages, the others are refused for all reasons."""
        taken, reasons = 0, set()
        for data in mutants(3000):
            try:
                decode(data)
            except StunError as error:
                reasons.add(str(error))
            else:
                taken += 1
        self.assertGreater(taken, 300)
        self.assertEqual(
            reasons,
            {
                "The bytes do not begin with a STUN header that fits them.",
                "An attribute goes past the end of the message.",
                "FINGERPRINT is not the last attribute.",
                "FINGERPRINT is not 4 bytes long.",
                "FINGERPRINT is wrong.",
            },
        )
