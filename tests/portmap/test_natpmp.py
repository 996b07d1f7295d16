"""Tests for :mod:`wavesync.portmap.natpmp`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap import natpmp
from wavesync.portmap.words import PortMapError


class WireTests(SynchronousTestCase):
    """NAT-PMP as RFC 6886 has it, and as miniupnpd speaks it."""

    def test_requests(self) -> None:
        """Requests are as in sections 3.2 and 3.3."""
        self.assertEqual(natpmp.encode_external(), b"\0\0")
        self.assertEqual(
            natpmp.encode_map("tcp", 5000, 5001, 120).hex(), "000200001388138900000078"
        )
        self.assertEqual(natpmp.encode_map("udp", 5000, 0, 0).hex(), "000100001388000000000000")

    def test_answers(self) -> None:
        """What a real router has answered is understood."""
        self.assertEqual(
            natpmp.decode(bytes.fromhex("00800000000000022c020002")),
            natpmp.ExternalAddress(2, "44.2.0.2"),
        )
        self.assertEqual(
            natpmp.decode(bytes.fromhex("00820000000000021388138800000078")),
            natpmp.Mapped(2, "tcp", 5000, 5000, 120),
        )

    def test_refusals(self) -> None:
        """Errors have sentences, unknown ones too."""
        for code, words in (
            (2, "switched off"),
            (3, "no external"),
            (4, "no room"),
            (9, "error 9"),
        ):
            refused = natpmp.decode(bytes((0, 129, 0, code, 0, 0, 0, 7)))
            assert isinstance(refused, natpmp.Refused)
            self.assertEqual((refused.epoch, refused.opcode, refused.code), (7, 1, code))
            self.assertIn(words, refused.sentence)

    def test_other_version(self) -> None:
        """A router that speaks only PCP says so; so does one that knows no version of ours."""
        for answer in (b"\2\x80\0\1" + bytes(20), bytes((0, 128, 0, 1, 0, 0, 0, 7))):
            self.assertRaises(natpmp.NotSpoken, natpmp.decode, answer)

    def test_cut(self) -> None:
        """An answer that ends too early is none."""
        for whole in ("00800000000000022c020002", "00820000000000021388138800000078"):
            data = bytes.fromhex(whole)
            for size in range(len(data)):
                self.assertRaises(PortMapError, natpmp.decode, data[:size])

    @given(st.binary(max_size=40))
    def test_total(self, data: bytes) -> None:
        """Whatever comes is an answer or one kind of error."""
        try:
            natpmp.decode(data)
        except PortMapError:
            return
