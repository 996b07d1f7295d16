"""Tests for :mod:`wavesync.udt.sequence`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.sequence import (
    FIRST_MESSAGE,
    LAST_MESSAGE,
    MODULUS,
    extend,
    next_message,
    span,
    to_wire,
)


class SequenceTests(SynchronousTestCase):
    """Numbers that wrap on the wire never wrap inside."""

    @settings(deadline=None)
    @given(st.integers(-(2**40), 2**40), st.integers(-(2**30), 2**30 - 1))
    def test_round_trip(self, near: int, distance: int) -> None:
        """Any number within half the range of the reference is found again from its wire form."""
        self.assertEqual(extend(to_wire(near + distance), near), near + distance)

    def test_across_the_wrap(self) -> None:
        """0 is one more than 0x7FFFFFFF."""
        self.assertEqual(extend(0, 0x7FFF_FFFF), MODULUS)
        self.assertEqual(extend(0x7FFF_FFFF, MODULUS), MODULUS - 1)

    def test_span(self) -> None:
        """Inclusive lengths count across the wrap."""
        self.assertEqual(span(5, 5), 1)
        self.assertEqual(span(0x7FFF_FFFE, 1), 4)

    def test_messages_skip_zero(self) -> None:
        """Message numbers go back to 1, as libudt's do, and never reach 29 ones."""
        self.assertEqual(next_message(FIRST_MESSAGE), FIRST_MESSAGE + 1)
        self.assertEqual(next_message(LAST_MESSAGE - 1), LAST_MESSAGE)
        self.assertEqual(next_message(LAST_MESSAGE), FIRST_MESSAGE)
