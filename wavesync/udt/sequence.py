"""Numbers that wrap: 31-bit sequence numbers and ACK numbers, 29-bit message numbers.

Inside a connection every number is a plain growing integer ("extended"), so that comparing and
subtracting need no care; the modulus appears only where a number enters or leaves the wire.
"""

__all__ = [
    "FIRST_MESSAGE",
    "LAST_MESSAGE",
    "MODULUS",
    "SEQUENCE_MASK",
    "extend",
    "next_message",
    "span",
    "to_wire",
]

SEQUENCE_MASK = 0x7FFF_FFFF
"""Bits of a sequence number on the wire; 0x7FFFFFFF is followed by 0."""

MODULUS = SEQUENCE_MASK + 1
"""How many sequence numbers there are."""

FIRST_MESSAGE = 1
"""The first message number of a connection, and the one after :data:`LAST_MESSAGE`."""

LAST_MESSAGE = 0x1FFF_FFFE
"""The highest message number (29 bits, all ones excluded, as libudt counts)."""

_HALF = MODULUS // 2


def extend(number: int, near: int) -> int:
    """Find the extended number that a wire number stands for.

    :param number: 0 .. 0x7FFFFFFF, as received.
    :param near: an extended number less than 2**30 away from the answer.
    :returns: the extended number congruent to *number* that is closest to *near*; may be negative
        when *near* is small.
    """
    return near + ((number - near + _HALF) & SEQUENCE_MASK) - _HALF


def to_wire(number: int) -> int:
    """Cut an extended number down to its 31 bits on the wire."""
    return number & SEQUENCE_MASK


def span(first: int, last: int) -> int:
    """Count the numbers from *first* to *last*, both on the wire, inclusive and modulo 2**31."""
    return ((last - first) & SEQUENCE_MASK) + 1


def next_message(number: int) -> int:
    """Give the message number after *number*."""
    return FIRST_MESSAGE if number >= LAST_MESSAGE else number + 1
