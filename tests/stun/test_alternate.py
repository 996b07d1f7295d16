"""What a server with two addresses sends, from which of its sockets, and where to."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.stun.strategies import messages
from wavesync.interfaces import Address
from wavesync.stun.alternate import (
    CHANGE_IP,
    CHANGE_PORT,
    LOWEST_RESPONSE_PORT,
    AddressPair,
    Reply,
)
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    decode_address,
    decode_error_code,
    decode_unknown_attributes,
    decode_xor_address,
    encode_u32,
)
from wavesync.stun.binding import MAX_ANSWER
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode

SOURCE: Address = ("203.0.113.5", 40000)
PAIR = AddressPair(("192.0.2.1", 3345), ("192.0.2.2", 3346))
PAIR_IPV6 = AddressPair(("2001:db8::1", 3345), ("2001:db8::2", 3346))
TRANSACTION_ID = bytes(range(12))


def asked(*attributes: tuple[int, bytes]) -> bytes:
    """A Binding request."""
    return encode(Message(BINDING, MessageClass.REQUEST, TRANSACTION_ID, attributes))


def change(flags: int) -> tuple[int, bytes]:
    """A CHANGE-REQUEST attribute."""
    return CHANGE_REQUEST, encode_u32(flags)


class Sockets(SynchronousTestCase):
    """From where the answer comes, and what it says of that (section 6.1, table 1)."""

    def _reply(self, *attributes: tuple[int, bytes], at: Address = PAIR.primary) -> Reply:
        reply = PAIR.answer(asked(*attributes), SOURCE, at)
        assert reply is not None
        return reply

    def test_each_flag_at_each_socket(self) -> None:
        """All four sockets obey all four wishes, and name their opposite."""
        hosts, ports = ["192.0.2.1", "192.0.2.2"], [3345, 3346]
        for at in PAIR.addresses:
            other = hosts[at[0] == hosts[0]], ports[at[1] == ports[0]]
            for flags, origin in (
                (0, at),
                (CHANGE_PORT, (at[0], other[1])),
                (CHANGE_IP, (other[0], at[1])),
                (CHANGE_IP | CHANGE_PORT, other),
            ):
                reply = self._reply(change(flags), at=at)
                self.assertEqual((reply.origin, reply.destination), (origin, SOURCE))
                message = decode(reply.data)
                self.assertEqual(decode_address(message.get(RESPONSE_ORIGIN) or b""), origin)
                self.assertEqual(decode_address(message.get(OTHER_ADDRESS) or b""), other)
                self.assertEqual(PAIR.opposite(at), other)

    def test_plain_request(self) -> None:
        """Who wishes nothing is answered from where it asked, with its address."""
        reply = self._reply()
        self.assertEqual((reply.origin, reply.destination), (PAIR.primary, SOURCE))
        value = decode(reply.data).get(XOR_MAPPED_ADDRESS) or b""
        self.assertEqual(decode_xor_address(value, TRANSACTION_ID), SOURCE)

    def test_response_port(self) -> None:
        """RESPONSE-PORT changes the port the answer goes to, and nothing else."""
        for value in (b"\x9c\x41", b"\x9c\x41\0\0"):
            reply = self._reply((RESPONSE_PORT, value))
            self.assertEqual((reply.origin, reply.destination), (PAIR.primary, (SOURCE[0], 40001)))
            mapped = decode(reply.data).get(XOR_MAPPED_ADDRESS) or b""
            self.assertEqual(decode_xor_address(mapped, TRANSACTION_ID), SOURCE)

    def test_lowest_response_port(self) -> None:
        """No answer is aimed at a well-known service."""
        for port, answered in ((LOWEST_RESPONSE_PORT, True), (LOWEST_RESPONSE_PORT - 1, False)):
            request = asked((RESPONSE_PORT, port.to_bytes(2, "big")))
            self.assertEqual(PAIR.answer(request, SOURCE, PAIR.primary) is not None, answered)

    def test_refused_at_the_response_port(self) -> None:
        """Attributes that are unknown here are still refused, in one sentence for all four."""
        reply = self._reply((0x7FFF, bytes(40)), change(CHANGE_IP))
        message = decode(reply.data)
        self.assertEqual(decode_error_code(message.get(ERROR_CODE) or b"").code, 420)
        listed = decode_unknown_attributes(message.get(UNKNOWN_ATTRIBUTES) or b"")
        self.assertEqual(listed, (0x7FFF,))


class Silence(SynchronousTestCase):
    """What gets no answer."""

    def test_malformed(self) -> None:
        """Garbage, and wishes that cannot be read."""
        for data in (
            b"garbage",
            asked((CHANGE_REQUEST, b"\x06")),
            asked((RESPONSE_PORT, b"\x9c\x41\0")),
            encode(Message(2, MessageClass.REQUEST, TRANSACTION_ID)),
            encode(Message(BINDING, MessageClass.INDICATION, TRANSACTION_ID)),
        ):
            self.assertIsNone(PAIR.answer(data, SOURCE, PAIR.primary))

    def test_padding_to_another_port(self) -> None:
        """RESPONSE-PORT and PADDING exclude each other (section 7.5)."""
        request = asked((RESPONSE_PORT, b"\x9c\x41"), (PADDING, bytes(40)))
        self.assertIsNone(PAIR.answer(request, SOURCE, PAIR.primary))
        self.assertIsNotNone(PAIR.answer(asked((PADDING, bytes(40))), SOURCE, PAIR.primary))

    @settings(deadline=None)
    @given(messages, st.integers(0, 3))
    def test_never_too_long(self, message: Message, at: int) -> None:
        """Whatever comes: at most 120 bytes, to the source's host, from one of the four."""
        source = ("2001:db8::7", 40000)
        reply = PAIR_IPV6.answer(encode(message), source, PAIR_IPV6.addresses[at])
        if reply is not None:
            self.assertLessEqual(len(reply.data), MAX_ANSWER)
            self.assertIn(reply.origin, PAIR_IPV6.addresses)
            self.assertEqual(reply.destination[0], source[0])

    def test_longest(self) -> None:
        """Over IPv6, with FINGERPRINT, everything fits; PADDING is not returned."""
        request = asked(change(6), (PADDING, bytes(1000)))
        reply = PAIR_IPV6.answer(request, ("2001:db8::7", 40000), PAIR_IPV6.primary)
        assert reply is not None
        self.assertEqual(len(reply.data), 100)


class Pairs(SynchronousTestCase):
    """Which two addresses can tell a client something."""

    def test_wrong(self) -> None:
        """Two families, the same address in two spellings, the same port."""
        for primary, alternate in (
            (("192.0.2.1", 1), ("2001:db8::1", 2)),
            (("2001:db8::1", 1), ("2001:DB8:0::1", 2)),
            (("192.0.2.1", 1), ("192.0.2.2", 1)),
        ):
            self.assertRaises(ValueError, AddressPair, primary, alternate)
