"""Tests for wavesync.doctor.findings."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.findings import (
    MAX_ENTRIES,
    MAX_FINDINGS,
    MAX_TEXT,
    Dependence,
    Family,
    Findings,
    FindingsError,
    Lifetime,
    Place,
    Trial,
    decode_findings,
    encode_findings,
)


class FindingsTests(SynchronousTestCase):
    """Findings travel as JSON, and nothing else is taken for them."""

    def test_round_trip(self) -> None:
        """What one end has found the other one reads."""
        found = Findings(
            ipv4=Family(
                mapped="1.1.1.1",
                mapping=Dependence.ADDRESS_DEPENDENT,
                lifetime=Lifetime(30.0, None),
                unknown={"filtering": "It was not looked for."},
            ),
            mediators=(Place(name="m:1", host="m", udp=Trial(works=True, ms=1.5)),),
        )
        self.assertEqual(decode_findings(encode_findings(found)), found)

    def test_fields_of_later_versions(self) -> None:
        """What a newer peer tells besides is left out."""
        self.assertEqual(decode_findings(b'{"colour":"red"}'), Findings())
        self.assertRaises(FindingsError, decode_findings, b'{"version":2}')

    def test_limits(self) -> None:
        """A peer cannot have much kept or shown."""
        text = "x" * MAX_TEXT
        for good, bad in (
            ({"network": text}, {"network": text + "x"}),
            ({"forwarded": ["a"] * MAX_ENTRIES}, {"forwarded": ["a"] * (MAX_ENTRIES + 1)}),
            ({"network": "plain"}, {"network": "\x1b[2J"}),
            ({"at": 1.0}, {"at": "noon"}),
        ):
            decode_findings(msgspec.json.encode(good))
            self.assertRaises(FindingsError, decode_findings, msgspec.json.encode(bad))
        padded = b"{}" + b" " * (MAX_FINDINGS - 2)
        self.assertEqual(decode_findings(padded), Findings())
        self.assertRaises(FindingsError, decode_findings, padded + b" ")

    def test_nested(self) -> None:
        """Deep nesting ends as any other nonsense."""
        deep = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
        self.assertRaises(FindingsError, decode_findings, deep)

    @given(st.binary(max_size=200))
    def test_total(self, data: bytes) -> None:
        """Whatever comes, there is one kind of error."""
        try:
            decode_findings(data)
        except FindingsError:
            return

    def test_clock_error(self) -> None:
        """One mediator that lies does not move the clock's error."""

        def of(*errors: float | None) -> float | None:
            places = (Place(name="m", host="m", clock_error=error) for error in errors)
            return Findings(mediators=tuple(places)).clock_error

        self.assertIsNone(of(None))
        self.assertEqual(of(1.0, None, 5000.0, 0.5), 1.0)
