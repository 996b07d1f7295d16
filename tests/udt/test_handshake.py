"""Tests for L{wavesync.udt.handshake}."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    HANDSHAKE_SIZE,
    MIN_MSS,
    REFUSED,
    REQUEST,
    Agreement,
    Handshake,
    HandshakeError,
    Offer,
    agree,
    decode_handshake,
    is_handshake,
    wire_ip,
)

HEAD = "800000000000000000000000"
LOCAL = "0100007f000000000000000000000000"
# Captured from libudt 4.11 on loopback: 127.0.0.1:9211 connects to 127.0.0.1:9201.
REQUEST_1 = HEAD + "00000000" + "0000000400000001" + "70ca6a0c000005dc00002000" + "00000001"
REQUEST_1 += "19332452" + "00000000" + LOCAL
CHALLENGE = HEAD + "19332452" + "0000000400000001" + "70ca6a0c000005dc00002000" + "00000001"
CHALLENGE += "19332452" + "60bd04e3" + LOCAL
REQUEST_2 = HEAD + "00000000" + "0000000400000001" + "70ca6a0c000005dc00002000" + "ffffffff"
REQUEST_2 += "19332452" + "60bd04e3" + LOCAL
ANSWERED = HEAD + "19332452" + "0000000400000001" + "70ca6a0c000005dc00002000" + "ffffffff"
ANSWERED += "0e90d462" + "60bd04e3" + LOCAL
# A rendezvous at 127.0.0.1, and the final answer as libudt writes it.
CALLING = HEAD + "00000000" + "0000000400000001" + "06ef3fe9000005dc00002000" + "00000000"
CALLING += "29ce28fd" + "00000000" + LOCAL
FINISHED = HEAD + "00001092" + "0000000000000000" + "5f85d584000005dc00006400" + "fffffffe"
FINISHED += "0bc1798a" + "00000000" + "00" * 16
VECTORS = [REQUEST_1, CHALLENGE, REQUEST_2, ANSWERED, CALLING, FINISHED]

WORD = st.integers(0, 2**32 - 1)
HANDSHAKES = st.builds(
    Handshake,
    request=st.integers(-(2**31), 2**31 - 1),
    socket_id=st.integers(1, 2**32 - 1),
    isn=st.integers(0, 2**31 - 1),
    mss=WORD,
    window=WORD,
    cookie=WORD,
    destination=WORD,
    peer_ip=st.binary(min_size=16, max_size=16),
    version=WORD,
    socket_type=WORD,
    timestamp=WORD,
)


class CodecTests(SynchronousTestCase):
    """Handshakes as bytes."""

    def test_captured(self) -> None:
        """What libudt sends is read, and written again, byte for byte."""
        for text in VECTORS:
            with self.subTest(text):
                datagram = bytes.fromhex(text)
                self.assertEqual(len(datagram), HANDSHAKE_SIZE)
                self.assertEqual(decode_handshake(datagram).encode(), datagram)

    def test_fields(self) -> None:
        """Each field of a captured answer is where it belongs."""
        answer = decode_handshake(bytes.fromhex(ANSWERED))
        self.assertEqual(
            answer,
            Handshake(
                request=ANSWER,
                socket_id=244372578,
                isn=1892313612,
                mss=1500,
                window=8192,
                cookie=0x60BD04E3,
                destination=422782034,
                peer_ip=bytes.fromhex(LOCAL),
                timestamp=0,
            ),
        )
        self.assertFalse(answer.wavesync)

    def test_request_types(self) -> None:
        """Request types are signed numbers."""
        found = [decode_handshake(bytes.fromhex(text)).request for text in VECTORS]
        self.assertEqual(found, [REQUEST, REQUEST, ANSWER, ANSWER, CALL, FINAL])

    def test_offer(self) -> None:
        """Our own first request differs from libudt's in nothing but the mark."""
        ours = Offer(422782034, 1892313612).handshake(REQUEST, "127.0.0.1").encode()
        self.assertEqual(ours[:8] + bytes(4) + ours[12:], bytes.fromhex(REQUEST_1))
        self.assertTrue(decode_handshake(ours).wavesync)

    def test_replied(self) -> None:
        """A reply keeps the peer's fields, changes those asked for, and is marked as ours."""
        request = decode_handshake(bytes.fromhex(REQUEST_2))
        reply = request.replied(request=REFUSED)
        self.assertEqual((reply.request, reply.cookie), (1002, request.cookie))
        self.assertTrue(reply.wavesync)

    @given(HANDSHAKES)
    def test_round_trip(self, packet: Handshake) -> None:
        """Every handshake survives being written and read."""
        self.assertEqual(decode_handshake(packet.encode()), packet)
        self.assertTrue(is_handshake(packet.encode()))

    @given(st.binary(max_size=100))
    def test_total(self, data: bytes) -> None:
        """Any bytes give a handshake or the one error."""
        try:
            decode_handshake(data)
        except HandshakeError:
            return
        self.fail("random bytes were taken for a handshake")

    @given(st.binary(min_size=60, max_size=62))
    def test_total_with_header(self, rest: bytes) -> None:
        """The same for bytes that begin like one."""
        try:
            packet = decode_handshake(b"\x80\x00" + rest)
        except HandshakeError:
            return
        self.assertEqual(packet.encode()[8:], (b"\x80\x00" + rest)[8:])

    def test_sizes(self) -> None:
        """A handshake has 64 bytes, not one more or less (libudt ignores others, too)."""
        whole = bytes.fromhex(REQUEST_1)
        for datagram in (whole[:-1], whole + b"\0", b"", whole[:16]):
            self.assertRaises(HandshakeError, decode_handshake, datagram)

    def test_bad_values(self) -> None:
        """A 32-bit sequence number and socket id 0 are refused."""
        for packet in (Handshake(REQUEST, 1, 2**31), Handshake(REQUEST, 0, 1)):
            self.assertRaises(HandshakeError, decode_handshake, packet.encode())

    def test_not_handshakes(self) -> None:
        """Data, keep-alives and short packets are told from handshakes by the header."""
        for data in (bytes(64), b"\x80\x01" + bytes(62), b"\x80\x00", b""):
            self.assertFalse(is_handshake(data))


class AddressTests(SynchronousTestCase):
    """The oddly ordered address field."""

    def test_ipv4(self) -> None:
        """An IPv4 address is reversed, the rest is 0."""
        self.assertEqual(wire_ip("127.0.0.1").hex(), LOCAL)
        self.assertEqual(wire_ip("10.77.0.2")[:4].hex(), "02004d0a")

    def test_ipv6(self) -> None:
        """Each group of four bytes of an IPv6 address is reversed; a scope is left out."""
        self.assertEqual(wire_ip("::1").hex(), "0" * 24 + "01000000")
        self.assertEqual(wire_ip("fe80::1%eth0"), wire_ip("fe80::1"))

    def test_name(self) -> None:
        """What is no address gives zeros: nobody checks the field."""
        self.assertEqual(wire_ip("example.org"), bytes(16))


class AgreementTests(SynchronousTestCase):
    """What two offers come to."""

    offer = Offer(5, 100, 1400, 1000)

    def agreed(self, **peer: Any) -> Agreement:
        """:return: what we agree on with a peer that offers these values."""
        return agree(self.offer, Handshake(ANSWER, 9, 7, **peer), send_isn=100, receive_isn=7)

    def test_smaller(self) -> None:
        """A peer that offers less gets less."""
        agreed = self.agreed(mss=1300, window=500)
        self.assertEqual((agreed.mss, agreed.receive_mss, agreed.peer_window), (1300, 1300, 500))

    def test_larger(self) -> None:
        """A peer that offers more gets no more than we offered."""
        agreed = self.agreed(mss=9000, window=2**31)
        self.assertEqual((agreed.mss, agreed.receive_mss, agreed.peer_window), (1400, 1400, 1000))

    def test_limits(self) -> None:
        """The smallest packets and window that UDT allows are taken, smaller ones are not."""
        self.assertEqual(self.agreed(mss=MIN_MSS, window=2).mss, MIN_MSS)
        self.assertRaises(HandshakeError, self.agreed, mss=MIN_MSS - 1, window=2)
        self.assertRaises(HandshakeError, self.agreed, mss=MIN_MSS, window=1)
