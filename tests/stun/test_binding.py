"""What a Binding request is answered with, and what gets silence."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.stun import vectors
from tests.stun.strategies import messages
from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    FINGERPRINT,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    decode_error_code,
    decode_unknown_attributes,
    decode_xor_address,
    encode_address,
)
from wavesync.stun.binding import (
    KNOWN_IN_BINDING,
    MAX_ANSWER,
    MAX_UNKNOWN_LISTED,
    SHORT_REFUSAL,
    answer_binding,
    binding_response,
)
from wavesync.stun.message import (
    BINDING,
    MAX_ATTRIBUTES,
    Message,
    MessageClass,
    decode,
    encode,
    pad_message,
    unknown_required,
)

SOURCE: Address = ("198.51.100.7", 40000)
SOURCE_IPV6: Address = ("2001:db8::7", 40000)
TRANSACTION_ID = bytes(range(12))


def asked(
    *attributes: tuple[int, bytes],
    method: int = BINDING,
    message_class: MessageClass = MessageClass.REQUEST,
    fingerprint: bool = True,
) -> bytes:
    """A request's bytes."""
    message = Message(method, message_class, TRANSACTION_ID, attributes)
    return encode(message, fingerprint=fingerprint)


def answered(data: bytes, source: Address = SOURCE) -> tuple[bytes, Message]:
    """The answer to *data*, which must get one."""
    answer = binding_response(data, source)
    assert answer is not None
    return answer, decode(answer)


class Success(SynchronousTestCase):
    """Requests that are answered with the source's address."""

    def test_address(self) -> None:
        """The answer tells where the request came from, with the request's transaction id."""
        for source, size in ((SOURCE, 40), (SOURCE_IPV6, 52)):
            raw, message = answered(asked(), source)
            self.assertEqual(
                (message.message_class, message.method, message.transaction_id),
                (MessageClass.SUCCESS, BINDING, TRANSACTION_ID),
            )
            value = message.get(XOR_MAPPED_ADDRESS) or b""
            self.assertEqual(decode_xor_address(value, TRANSACTION_ID), source)
            self.assertEqual(
                [kind for kind, _ in message.attributes], [XOR_MAPPED_ADDRESS, FINGERPRINT]
            )
            self.assertEqual(len(raw), size)

    def test_fingerprint_only_if_asked(self) -> None:
        """Who sends no FINGERPRINT gets none: 32 bytes for an IPv4 source."""
        raw, message = answered(asked(fingerprint=False))
        self.assertIsNone(message.get(FINGERPRINT))
        self.assertEqual(len(raw), 32)

    def test_known_attributes(self) -> None:
        """Credentials, padding and optional attributes do not keep anybody from an answer."""
        known = [(kind, b"abcd") for kind in sorted(KNOWN_IN_BINDING - {0x0008, 0x001C})]
        _, message = answered(asked(*known, (SOFTWARE, b"x"), (0xE200, b"x")))
        self.assertIs(message.message_class, MessageClass.SUCCESS)
        _, message = answered(vectors.LONG_TERM_REQUEST)
        self.assertIs(message.message_class, MessageClass.SUCCESS)

    def test_extra(self) -> None:
        """A server of RFC 5780 can add its addresses and stays within the limit."""
        extra = tuple(
            (kind, encode_address(SOURCE_IPV6)) for kind in (RESPONSE_ORIGIN, OTHER_ADDRESS)
        )
        request = decode(asked((CHANGE_REQUEST, bytes(4))))
        answer = answer_binding(
            request, SOURCE_IPV6, known=KNOWN_IN_BINDING | {CHANGE_REQUEST}, extra=extra
        )
        assert answer is not None
        self.assertEqual(decode(answer).get(OTHER_ADDRESS), encode_address(SOURCE_IPV6))
        self.assertLessEqual(len(answer), MAX_ANSWER)

    def test_extra_limit(self) -> None:
        """Extra attributes may fill the limit and not more."""
        request = decode(asked(fingerprint=False))
        room = MAX_ANSWER - 32 - 4
        answer = answer_binding(request, SOURCE, extra=((SOFTWARE, bytes(room)),))
        self.assertEqual(len(answer or b""), MAX_ANSWER)
        self.assertRaises(
            ValueError, answer_binding, request, SOURCE, extra=((SOFTWARE, bytes(room + 1)),)
        )


class Refusals(SynchronousTestCase):
    """Requests that are answered with 420."""

    def test_unknown(self) -> None:
        """Attributes that must be understood and are not are listed."""
        request = asked((0x7FFF, bytes(40)), (CHANGE_REQUEST, bytes(4)), (0x8000, b""))
        raw, message = answered(request)
        self.assertIs(message.message_class, MessageClass.ERROR)
        error = decode_error_code(message.get(ERROR_CODE) or b"")
        self.assertEqual(error, (420, "Unknown Attribute"))
        listed = decode_unknown_attributes(message.get(UNKNOWN_ATTRIBUTES) or b"")
        self.assertEqual(listed, (0x7FFF, CHANGE_REQUEST))
        self.assertLessEqual(len(raw), len(request))

    def test_no_longer_than_the_request(self) -> None:
        """Room decides: with the reason phrase, without it, or, for a longer list, silence."""
        found: dict[int | str, str] = {}
        for size in range(0, 48, 4):
            request = asked((0x7FFF, bytes(size)))
            answer = binding_response(request, SOURCE)
            if answer is None:
                found[size] = "silence"
                continue
            self.assertLessEqual(len(answer), max(len(request), SHORT_REFUSAL))
            found[size] = decode_error_code(decode(answer).get(ERROR_CODE) or b"").reason
        self.assertEqual(
            [found[size] for size in (0, 8, 12, 28, 32)],
            ["", "", "", "", "Unknown Attribute"],
        )
        for count, answered in ((2, True), (3, False)):
            request = asked(*((0x7000 + number, b"") for number in range(count)))
            answer = binding_response(request, SOURCE)
            self.assertEqual(answer is not None, answered)
            self.assertLessEqual(len(answer or b""), SHORT_REFUSAL)

    def test_change_request(self) -> None:
        """A server with one address says so, even where the request is as short as can be."""
        for fingerprint in (True, False):
            request = asked((CHANGE_REQUEST, bytes(4)), fingerprint=fingerprint)
            raw, message = answered(request)
            error = decode_error_code(message.get(ERROR_CODE) or b"")
            self.assertEqual(error.code, 420)
            listed = decode_unknown_attributes(message.get(UNKNOWN_ATTRIBUTES) or b"")
            self.assertEqual(listed, (CHANGE_REQUEST,))
            self.assertLessEqual(len(raw), SHORT_REFUSAL)

    def test_refusals_multiply_less(self) -> None:
        """A forger gets less out of any refusal than out of the plainest success."""
        request = asked(fingerprint=False)
        gain = len(answered(request)[0]) / len(request)
        for count in range(1, MAX_ATTRIBUTES):
            for fingerprint in (True, False):
                attributes = ((0x7000 + number, b"") for number in range(count))
                refused = asked(*attributes, fingerprint=fingerprint)
                answer = binding_response(refused, SOURCE) or b""
                self.assertLess(len(answer) / len(refused), gain)

    def test_limit_of_the_list(self) -> None:
        """A request full of unknown attributes has so many listed that the answer stays short."""
        for count in (MAX_UNKNOWN_LISTED, MAX_UNKNOWN_LISTED + 1, MAX_ATTRIBUTES - 1):
            request = asked(*((0x7000 + number, b"") for number in range(count)))
            raw, message = answered(request)
            listed = decode_unknown_attributes(message.get(UNKNOWN_ATTRIBUTES) or b"")
            self.assertEqual(
                listed,
                tuple(0x7000 + number for number in range(min(count, MAX_UNKNOWN_LISTED))),
            )
            self.assertLessEqual(len(raw), MAX_ANSWER)

    def test_printed_request(self) -> None:
        """The request of RFC 5769 needs PRIORITY understood, which Binding for anybody does not."""
        _, message = answered(vectors.REQUEST)
        listed = decode_unknown_attributes(message.get(UNKNOWN_ATTRIBUTES) or b"")
        self.assertEqual(listed, (0x0024,))


class Silence(SynchronousTestCase):
    """What gets no answer."""

    def test_not_a_request(self) -> None:
        """Indications, responses and other methods get none."""
        for message_class in (MessageClass.INDICATION, MessageClass.SUCCESS, MessageClass.ERROR):
            self.assertIsNone(binding_response(asked(message_class=message_class), SOURCE))
            self.assertIsNone(
                binding_response(asked((0x7FFF, bytes(40)), message_class=message_class), SOURCE)
            )
        self.assertIsNone(binding_response(asked(method=2), SOURCE))

    def test_malformed(self) -> None:
        """Garbage, a message cut short and a wrong FINGERPRINT get none."""
        good = asked((USERNAME, b"me"))
        for data in (b"", b"garbage", good[:-4], good[:-1] + bytes([good[-1] ^ 1])):
            self.assertIsNone(binding_response(data, SOURCE))

    @given(messages, st.binary(max_size=60), st.integers(0, 300))
    def test_never_too_long(self, message: Message, junk: bytes, size: int) -> None:
        """Whatever comes, an answer is at most 120 bytes, and a long one no refusal."""
        for data in (encode(message), encode(message) + junk, junk, encode(message)[:size]):
            answer = binding_response(data, SOURCE_IPV6)
            if answer is None:
                continue
            self.assertLessEqual(len(answer), MAX_ANSWER)
            if decode(answer).message_class is not MessageClass.SUCCESS:
                self.assertLessEqual(len(answer), max(len(data), SHORT_REFUSAL))
                self.assertTrue(unknown_required(decode(data), KNOWN_IN_BINDING))

    def test_padded(self) -> None:
        """A request padded to a packet's size is answered as shortly as any."""
        request = pad_message(Message(BINDING, MessageClass.REQUEST, TRANSACTION_ID), 1200)
        self.assertIsNotNone(request.get(PADDING))
        raw, _ = answered(encode(request))
        self.assertEqual(len(raw), 40)
