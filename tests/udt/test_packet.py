"""Tests for :mod:`wavesync.udt.packet`, against packets that libudt 4.11 sent."""

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.pcap import VECTORS, read_capture
from wavesync.udt.packet import (
    EMPTY_BODY,
    Acknowledgement,
    ControlPacket,
    ControlType,
    DataPacket,
    PacketError,
    Position,
    decode_acknowledgement,
    decode_loss_list,
    decode_packet,
    encode_acknowledgement,
    encode_control,
    encode_loss_list,
    encode_nak,
    payload_size,
)

_KINDS = {"KEEPALIVE": ControlType.KEEP_ALIVE}
_POSITIONS = {
    "first": Position.FIRST,
    "mid": Position.MIDDLE,
    "last": Position.LAST,
    "solo": Position.ONLY,
}
_NUMBERS = st.integers(0, 0x7FFF_FFFF)
_WORDS = st.integers(0, 0xFFFF_FFFF)


def _vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((VECTORS / "vectors.json").read_text())
    return vectors


class VectorTests(SynchronousTestCase):
    """Packets taken apart by hand come apart the same way here."""

    def test_headers(self) -> None:
        """Every field of every header in the vectors is found, and encodes to the same bytes."""
        vectors = _vectors()
        self.assertEqual(len(vectors), 30)
        for vector in vectors:
            raw, fields = bytes.fromhex(vector["hex"]), vector["decoded"]
            packet = decode_packet(raw)
            self.assertEqual(packet.encode(), raw, vector["name"])
            self.assertEqual(packet.timestamp, fields["ts"])
            self.assertEqual(packet.destination, fields["dst"])
            if isinstance(packet, DataPacket):
                self.assertEqual(packet.sequence, fields["seq"])
                self.assertEqual(packet.message, fields["msg"])
                self.assertEqual(packet.position, _POSITIONS[fields["ff"]])
                self.assertEqual(packet.in_order, bool(fields["order"]))
            else:
                kind = fields["kind"]
                self.assertEqual(packet.kind, _KINDS.get(kind) or ControlType[kind])
                self.assertEqual(packet.info, fields["info"])
                self.assertEqual(len(packet.body), fields["clen"])

    def test_acknowledgements(self) -> None:
        """Light, short and full ACKs are told apart by length and have all their words."""
        seen = set()
        for vector in _vectors():
            fields = vector["decoded"]
            if fields["kind"] != "ACK":
                continue
            seen.add(fields["ackkind"])
            packet = decode_packet(bytes.fromhex(vector["hex"]))
            assert isinstance(packet, ControlPacket)
            ack = decode_acknowledgement(packet.body)
            expected = Acknowledgement(
                fields["ack"],
                fields.get("rtt_us"),
                fields.get("rttvar_us"),
                fields.get("bufavail_pkts"),
                fields.get("rcv_rate_pps"),
                fields.get("bw_pps"),
            )
            self.assertEqual(ack, expected)
            self.assertEqual(encode_acknowledgement(ack), packet.body)
            self.assertEqual(
                encode_control(ControlType.ACK, packet.destination, packet.info, packet.body),
                bytes.fromhex(vector["hex"]),
            )
        self.assertEqual(seen, {"light", "short", "full"})

    def test_naks(self) -> None:
        """Single losses and ranges are found and written as libudt does."""
        seen = 0
        for vector in _vectors():
            fields = vector["decoded"]
            if fields["kind"] != "NAK":
                continue
            seen += 1
            packet = decode_packet(bytes.fromhex(vector["hex"]))
            assert isinstance(packet, ControlPacket)
            losses = [
                tuple(loss) if isinstance(loss, list) else (loss, loss) for loss in fields["loss"]
            ]
            self.assertEqual(decode_loss_list(packet.body), losses)
            self.assertEqual(encode_nak(packet.destination, losses), bytes.fromhex(vector["hex"]))
        self.assertEqual(seen, 2)


class CaptureTests(SynchronousTestCase):
    """Everything libudt was seen to send is understood."""

    def test_every_packet_encodes_to_itself(self) -> None:
        """All packets of all captures decode, and encode to the same bytes."""
        count = 0
        bodies = 0
        for path in sorted(VECTORS.glob("*.pcap")):
            for datagram in read_capture(path.stem):
                if len(datagram.payload) < 16:
                    continue
                packet = decode_packet(datagram.payload)
                self.assertEqual(packet.encode(), datagram.payload)
                count += 1
                if isinstance(packet, ControlPacket) and datagram.whole:
                    bodies += self._check_body(packet)
        self.assertGreater(count, 2600)
        self.assertGreater(bodies, 100)

    def _check_body(self, packet: ControlPacket) -> int:
        """Check that an ACK's or NAK's body encodes to itself."""
        if packet.kind == ControlType.ACK and len(packet.body) in (4, 16, 24):
            ack = decode_acknowledgement(packet.body)
            self.assertEqual(encode_acknowledgement(ack), packet.body)
            return 1
        if packet.kind == ControlType.NAK:
            try:
                losses = decode_loss_list(packet.body)
            except PacketError:
                return 0  # probes.pcap holds broken ones
            self.assertEqual(encode_loss_list(losses), packet.body)
            return 1
        return 0


class BrokenTests(SynchronousTestCase):
    """Anything a peer can send is decoded or refused, and nothing else happens."""

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_total(self, data: bytes) -> None:
        """Any bytes are a packet or a :class:`PacketError`; bodies too."""
        try:
            packet = decode_packet(data)
        except PacketError:
            self.assertLess(len(data), 16)
            return
        self.assertEqual(packet.encode(), data)
        for decode in (decode_acknowledgement, decode_loss_list):
            with contextlib.suppress(PacketError):
                decode(data[16:])

    def test_header_limit(self) -> None:
        """16 bytes are a header, 15 are not."""
        self.assertRaises(PacketError, decode_packet, bytes(15))
        self.assertEqual(decode_packet(bytes(16)), DataPacket(0, 0, 0, b"", Position.MIDDLE))

    def test_acknowledgement_lengths(self) -> None:
        """Bodies of 4, 16 .. 23 and 24 or more bytes are ACKs; others are not."""
        for size, words in ((4, 1), (16, 4), (20, 4), (24, 6), (28, 6)):
            ack = decode_acknowledgement(bytes(size))
            self.assertEqual(
                6
                - [ack.rtt, ack.rtt_variance, ack.free, ack.arrival_rate, ack.capacity].count(None),
                words,
            )
        for size in (0, 1, 3, 5, 8, 12, 15):
            self.assertRaises(PacketError, decode_acknowledgement, bytes(size))

    def test_acknowledgement_number_has_31_bits(self) -> None:
        """An ACK point with the top bit set is nonsense."""
        self.assertRaises(PacketError, decode_acknowledgement, b"\x80\0\0\0")

    def test_broken_loss_lists(self) -> None:
        """No words, half words, dangling, doubled and backward ranges are refused."""
        for body in ("", "000000", "80000005", "8000000580000007", "8000000700000005"):
            self.assertRaises(PacketError, decode_loss_list, bytes.fromhex(body))

    def test_range_across_the_wrap(self) -> None:
        """A range may end after 0x7FFFFFFF."""
        body = encode_loss_list([(0x7FFF_FFFE, 1)])
        self.assertEqual(body.hex(), "fffffffe00000001")
        self.assertEqual(decode_loss_list(body), [(0x7FFF_FFFE, 1)])


class EncodingTests(SynchronousTestCase):
    """What we send is what we mean."""

    @settings(deadline=None)
    @given(st.lists(st.tuples(_NUMBERS, st.integers(0, 10000)), min_size=1))
    def test_loss_lists(self, losses: list[tuple[int, int]]) -> None:
        """Any list of ranges is read back as it was written."""
        ranges = [(first, first + more & 0x7FFF_FFFF) for first, more in losses]
        self.assertEqual(decode_loss_list(encode_loss_list(ranges)), ranges)

    @settings(deadline=None)
    @given(_NUMBERS, st.tuples(_WORDS, _WORDS, _WORDS, _WORDS, _WORDS))
    def test_full_acknowledgement(self, sequence: int, words: tuple[int, ...]) -> None:
        """All words of a full ACK are read back."""
        ack = Acknowledgement(sequence, *words)
        self.assertEqual(decode_acknowledgement(encode_acknowledgement(ack)), ack)

    def test_empty_controls_have_20_bytes(self) -> None:
        """A control packet without a body carries one zero word, as libudt's do."""
        packet = encode_control(ControlType.SHUTDOWN, 7)
        self.assertEqual(packet.hex(), "80050000000000000000000000000007" + EMPTY_BODY.hex())

    def test_user_defined_subtype(self) -> None:
        """The subtype of a user-defined packet is in the low half of the first word."""
        packet = ControlPacket(ControlType.USER_DEFINED, 9, subtype=0x1234)
        self.assertEqual(decode_packet(packet.encode()), packet)
        self.assertEqual(packet.encode()[:4].hex(), "ffff1234")

    def test_payload_size(self) -> None:
        """The MSS counts the IP and UDP headers and ours."""
        self.assertEqual(payload_size(1500), 1456)
