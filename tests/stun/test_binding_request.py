"""A Binding request and its outcomes, on a clock that the tests turn."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import WavesyncError
from wavesync.interfaces import Address
from wavesync.stun.attributes import (
    ERROR_CODE,
    MAPPED_ADDRESS,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
    encode_address,
    encode_error_code,
    encode_xor_address,
)
from wavesync.stun.binding import binding_response
from wavesync.stun.binding_request import BindingFailed, BindingRequest, numeric
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode

SERVER: Address = ("192.0.2.1", 3478)
SELF: Address = ("198.51.100.7", 40000)
TRANSACTION_ID = bytes(range(12))


class Outcomes(SynchronousTestCase):
    """What one request can end with."""

    def setUp(self) -> None:
        """A request has been sent once."""
        self.request = BindingRequest(SERVER, TRANSACTION_ID, 0.0)
        self.sent = self.request.datagrams(0.0)

    def answer(self, *attributes: tuple[int, bytes], error: bool = False) -> None:
        """The server answers with *attributes*."""
        message_class = MessageClass.ERROR if error else MessageClass.SUCCESS
        message = Message(BINDING, message_class, TRANSACTION_ID, attributes)
        self.request.datagram_received(encode(message), SERVER, 0.1)

    def test_address(self) -> None:
        """The server's answer is the address, and nothing is sent or waited for any more."""
        answer = binding_response(self.sent[0], SELF)
        assert answer is not None
        self.request.datagram_received(answer, SERVER, 0.1)
        self.assertEqual(self.request.outcome, SELF)
        self.assertIsNone(self.request.deadline())
        self.assertEqual(self.request.datagrams(99.0), [])

    def test_request(self) -> None:
        """The request is a Binding request of 28 bytes with a FINGERPRINT."""
        self.assertEqual([len(data) for data in self.sent], [28])
        message = decode(self.sent[0])
        self.assertEqual(
            (message.method, message.message_class, message.transaction_id),
            (BINDING, MessageClass.REQUEST, TRANSACTION_ID),
        )

    def test_old_server(self) -> None:
        """MAPPED-ADDRESS does where there is no XOR-MAPPED-ADDRESS, and only there."""
        wrong = ("10.0.0.1", 1)
        self.answer(
            (MAPPED_ADDRESS, encode_address(wrong)),
            (XOR_MAPPED_ADDRESS, encode_xor_address(SELF, TRANSACTION_ID)),
        )
        self.assertEqual(self.request.outcome, SELF)
        self.setUp()
        self.answer((SOFTWARE, b"old"), (MAPPED_ADDRESS, encode_address(SELF)))
        self.assertEqual(self.request.outcome, SELF)

    def test_useless_answers(self) -> None:
        """An answer without a readable address, or with something unknown, ends it in a sentence."""
        good = (XOR_MAPPED_ADDRESS, encode_xor_address(SELF, TRANSACTION_ID))
        for attributes in ((), ((XOR_MAPPED_ADDRESS, b"xx"),), (good, (0x7FFF, b""))):
            self.setUp()
            self.answer(*attributes)
            self.assertIsInstance(self.request.outcome, BindingFailed)
            self.assertIn("192.0.2.1 port 3478", str(self.request.outcome))

    def test_refused(self) -> None:
        """An error answer ends it and its code is told; a broken one ends it too."""
        self.answer((ERROR_CODE, encode_error_code(420, "no")), error=True)
        self.assertIn("error 420", str(self.request.outcome))
        self.setUp()
        self.answer(error=True)
        self.assertIsInstance(self.request.outcome, BindingFailed)

    def test_dropped(self) -> None:
        """Garbage, and an answer from elsewhere, change nothing."""
        answer = binding_response(self.sent[0], SELF) or b""
        self.request.datagram_received(b"garbage", SERVER, 0.1)
        self.request.datagram_received(answer[:-1], SERVER, 0.1)
        self.request.datagram_received(answer, ("192.0.2.2", 3478), 0.1)
        self.assertIsNone(self.request.outcome)
        self.request.datagram_received(answer, SERVER, 0.1)
        self.assertEqual(self.request.outcome, SELF)

    def test_silence(self) -> None:
        """A silent server is asked seven times and given up with a sentence."""
        sent = 1
        while (deadline := self.request.deadline()) is not None:
            self.request.timer(deadline)
            sent += len(self.request.datagrams(deadline))
        self.assertEqual(sent, 7)
        self.assertIn("did not answer within 39.5 seconds", str(self.request.outcome))

    def test_first_outcome_stays(self) -> None:
        """What fails after the answer does not change it."""
        self.request.datagram_received(binding_response(self.sent[0], SELF) or b"", SERVER, 0.1)
        self.request.fail("is not listening.")
        self.request.timer(1000.0)
        self.assertEqual(self.request.outcome, SELF)

    def test_answer_after_failure(self) -> None:
        """An answer that comes after it was given up does not change that either."""
        self.request.fail("is not listening.")
        self.request.datagram_received(binding_response(self.sent[0], SELF) or b"", SERVER, 0.1)
        self.assertIsInstance(self.request.outcome, BindingFailed)

    def test_stream(self) -> None:
        """Over a stream it is sent once and the wait can be set."""
        request = BindingRequest(SERVER, TRANSACTION_ID, 0.0, stream=True, timeout=2.0)
        self.assertEqual(len(request.datagrams(0.0)), 1)
        self.assertEqual(request.deadline(), 2.0)
        request.timer(2.0)
        self.assertIn("within 2 seconds", str(request.outcome))


class Numeric(SynchronousTestCase):
    """Addresses in one spelling."""

    def test_spelling(self) -> None:
        """Any spelling of an IPv6 address is the one that sockets use."""
        self.assertEqual(numeric(("2001:DB8:0::1", 1)), ("2001:db8::1", 1))
        self.assertEqual(numeric(("192.0.2.1", 1)), ("192.0.2.1", 1))

    def test_name(self) -> None:
        """A name is refused with a sentence for people."""
        for host in ("localhost", "", "a:b", "\0"):
            error = self.assertRaises(BindingFailed, numeric, (host, 1))
            self.assertIsInstance(error, WavesyncError)
            self.assertIn("not a numeric address", str(error))
