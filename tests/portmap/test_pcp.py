"""Tests for :mod:`wavesync.portmap.pcp`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.portmap import pcp
from wavesync.portmap.words import PortMapError

_NONCE = bytes.fromhex("531e54a9de6e20a2563f60af")
_MAPPED = (
    "028100000000007800000002000000000000000000000000"
    "531e54a9de6e20a2563f60af110000001770177000000000000000000000ffff2c020002"
)
_PINHOLE = (
    "028100000000007800000002000000000000000000000000"
    "531e54a9de6e20a2563f60af060000001770177026000002000000010000000000000002"
)
_ANNOUNCED = "028000000000000000000002000000000000000000000000"


class WireTests(SynchronousTestCase):
    """PCP as RFC 6887 has it, and as miniupnpd speaks it."""

    def test_requests(self) -> None:
        """Requests are as in sections 7.1 and 11.1; IPv4 addresses are mapped into IPv6."""
        own = "00000000000000000000ffffc0a80202"
        self.assertEqual(
            pcp.encode_announce("192.168.2.2").hex(),
            "0200000000000000" + own,
        )
        self.assertEqual(
            pcp.encode_map("192.168.2.2", _NONCE, "udp", 6000, 6001, 120).hex(),
            "0201000000000078" + own + _NONCE.hex() + "1100000017701771"
            "00000000000000000000ffff00000000",
        )
        six = pcp.encode_map("2600::5", _NONCE, "tcp", 6000, 6000, 0)
        self.assertEqual(six[8:24].hex(), "26000000000000000000000000000005")
        self.assertEqual((six[36], six[44:]), (6, bytes(16)))

    def test_answers(self) -> None:
        """What a real router has answered is understood."""
        self.assertEqual(pcp.decode(bytes.fromhex(_ANNOUNCED)), pcp.Announced(2))
        self.assertEqual(
            pcp.decode(bytes.fromhex(_MAPPED)),
            pcp.Mapped(2, _NONCE, "udp", 6000, 6000, "44.2.0.2", 120),
        )
        self.assertEqual(
            pcp.decode(bytes.fromhex(_PINHOLE)),
            pcp.Mapped(2, _NONCE, "tcp", 6000, 6000, "2600:2:0:1::2", 120),
        )

    def test_refusals(self) -> None:
        """Errors have sentences, unknown ones too, and name the request that they are for."""
        for code, words in ((2, "switched off"), (12, "another router"), (99, "error 99")):
            data = bytearray(bytes.fromhex(_MAPPED))
            data[3] = code
            refused = pcp.decode(bytes(data))
            assert isinstance(refused, pcp.Refused)
            self.assertEqual((refused.epoch, refused.opcode, refused.nonce), (2, 1, _NONCE))
            self.assertIn(words, refused.sentence)

    def test_other_version(self) -> None:
        """A router that speaks only NAT-PMP answers in its own version, or with error 1."""
        for answer in (
            bytes((0, 128, 0, 1, 0, 0, 0, 7)),
            bytes.fromhex(_ANNOUNCED[:6] + "01" + _ANNOUNCED[8:]),
        ):
            self.assertRaises(pcp.NotSpoken, pcp.decode, answer)

    def test_lengths(self) -> None:
        """Cut answers, and ones of 1104 bytes or more, are none; options up to 1100 are passed over."""
        whole = bytes.fromhex(_MAPPED)
        for size in range(len(whole)):
            self.assertRaises(PortMapError, pcp.decode, whole[:size])
        pcp.decode(whole.ljust(pcp.MAX_SIZE, b"\0"))
        self.assertRaises(PortMapError, pcp.decode, whole.ljust(pcp.MAX_SIZE + 4, b"\0"))
        self.assertRaises(PortMapError, pcp.decode, whole + b"\0")

    def test_other_protocol(self) -> None:
        """A mapping of neither TCP nor UDP, and an answer to another request, is nonsense."""
        for at, value in ((36, 132), (1, 0x82), (1, 0x01)):
            data = bytearray(bytes.fromhex(_MAPPED))
            data[at] = value
            self.assertRaises(PortMapError, pcp.decode, bytes(data))

    @given(st.binary(max_size=80), st.booleans())
    def test_total(self, data: bytes, ours: bool) -> None:
        """Whatever comes is an answer or one kind of error."""
        try:
            pcp.decode(b"\2\x81" + data if ours else data)
        except PortMapError:
            return
