"""Tests for :mod:`wavesync.signalling.relay_lines`."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.errors import SignallingError
from wavesync.signalling.relay_lines import (
    MAX_LINE,
    MAX_LINES,
    MAX_SAID,
    Idle,
    Line,
    LineReader,
    Move,
    Open,
    Ping,
    Pong,
    Ready,
)

ID = "0123456789abcdef" * 2

LINES: list[tuple[bytes, Line]] = [
    (b"PING\n", Ping()),
    (b"PONG\n", Pong()),
    (b"MOVE\n", Move()),
    (b"READY\n", Ready()),
    (b"IDLE 7 0\n", Idle(7, 0)),
    (b"IDLE 65535 65535\n", Idle(MAX_SAID, MAX_SAID)),
    (f"OPEN {ID} alice 192.0.2.7 4711\n".encode(), Open(ID, "alice", ("192.0.2.7", 4711))),
    (f"OPEN {ID} a.b-c 2001:db8::7 1\n".encode(), Open(ID, "a.b-c", ("2001:db8::7", 1))),
]


class LineTests(SynchronousTestCase):
    """Both sides read what the other writes, and nothing else."""

    def test_every_line(self) -> None:
        """Each line is written and read as the text says."""
        for data, line in LINES:
            self.assertEqual(line.encode(), data)
            self.assertEqual(LineReader().feed(data), [line])

    def test_byte_by_byte(self) -> None:
        """However a stream is cut, the same lines come."""
        reader = LineReader()
        found = []
        for byte in b"PING\nIDLE 9 3\nMOVE\nREADY\nraw\n":
            found += reader.feed(bytes([byte]))
        self.assertEqual(found, [Ping(), Idle(9, 3), Move(), Ready()])
        self.assertEqual(reader.rest, b"raw\n")

    def test_raw_bytes(self) -> None:
        """Behind OPEN and READY all is left as it is, even what looks like a line."""
        for last in (LINES[3][0], LINES[6][0]):
            reader = LineReader()
            self.assertEqual(len(reader.feed(b"PING\n" + last + b"PING\n\x16\x03")), 2)
            self.assertTrue(reader.over)
            self.assertEqual(reader.feed(b"more"), [])
            self.assertEqual(reader.rest, b"PING\n\x16\x03more")

    def test_refused(self) -> None:
        """What is no line ends the stream."""
        for bad in (
            b"\n",
            b"ping\n",
            b"PING \n",
            b"PING\r\n",
            b"IDLE 7\n",
            b"IDLE 7 0 0\n",
            b"IDLE -1 0\n",
            b"IDLE 07 0\n",
            b"IDLE 65536 0\n",
            "IDLE \u0664 0\n".encode(),
            b"OPEN x alice 192.0.2.7 1\n",
            f"OPEN {ID} Alice 192.0.2.7 1\n".encode(),
            f"OPEN {ID} alice relay.example 1\n".encode(),
            f"OPEN {ID} alice fe80::1%eth0 1\n".encode(),
            f"OPEN {ID} alice 192.0.2.7 65536\n".encode(),
        ):
            self.assertRaises(SignallingError, LineReader().feed, bad)

    def test_longest(self) -> None:
        """A line of 256 bytes would be read; one that is longer is not waited for."""
        reader = LineReader()
        self.assertEqual(reader.feed(b"P" * (MAX_LINE - 1)), [])
        self.assertIn("unknown", str(self.assertRaises(SignallingError, reader.feed, b"\n")))
        error = self.assertRaises(SignallingError, LineReader().feed, b"P" * MAX_LINE + b"\n")
        self.assertIn("too long", str(error))
        error = self.assertRaises(SignallingError, LineReader().feed, b"P" * MAX_LINE)
        self.assertIn("too long", str(error))

    def test_many(self) -> None:
        """So many lines may come at once, and not one more: nobody has to read all of a flood."""
        many = b"PING\n" * MAX_LINES
        self.assertEqual(len(LineReader().feed(many)), MAX_LINES)
        error = self.assertRaises(SignallingError, LineReader().feed, many + b"PING\n")
        self.assertIn("too many lines", str(error))

    def test_longest_open(self) -> None:
        """The longest OPEN there can be fits a line."""
        host = "2001:db80:1111:2222:3333:4444:5555:6666"
        line = Open(ID, "a" * 63, (host, 65535))
        self.assertLessEqual(len(line.encode()), MAX_LINE)
        self.assertEqual(LineReader().feed(line.encode()), [line])

    @given(st.binary(max_size=600) | st.text("PINGOE 0123\n", max_size=600).map(str.encode))
    def test_total(self, data: bytes) -> None:
        """Any bytes are lines or one exception."""
        with contextlib.suppress(SignallingError):
            LineReader().feed(data)
