"""Tests for :mod:`wavesync.signalling.stream_opening`."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    OpenStream,
    SignallingError,
    StreamAnswer,
    StreamRequested,
    covered,
)
from wavesync.signalling.numbers import (
    MAX_OPEN_STREAM_SIZE,
    MAX_STREAM_MESSAGE,
    Attribute,
    Method,
)
from wavesync.stun.attributes import FINGERPRINT
from wavesync.stun.message import Message, MessageClass, decode, encode

TRANSACTION = bytes(range(12))
CONNECTION = "00112233445566778899aabbccddeeff"
V4: Address = ("192.0.2.7", 4000)
V6: Address = ("2001:db8::7", 4001)


class MessageTests(SynchronousTestCase):
    """What is written is what is read."""

    def request(self) -> bytes:
        """A client's request."""
        return OpenStream(CONNECTION, server().target, 0.25).encode(TRANSACTION, prover(client()))

    def test_open_stream(self) -> None:
        """The client's request, with a proof for this purpose alone."""
        message = decode(self.request())
        self.assertEqual(OpenStream.decode(message), OpenStream(CONNECTION, server().target, 0.25))
        found = covered(message)
        assert found is not None
        checked = check_proof(
            found[0],
            purpose="open-stream",
            audience=AUDIENCE,
            message=found[1],
            role=Role.CLIENT,
            now=NOW,
            nonce_ok=None,
        )
        self.assertEqual(checked.peer.name, "alice")

    def test_whole_system(self) -> None:
        """It names the server that was chosen; a system is not enough."""
        whole = replace(server().target, server=None)
        raw = OpenStream(CONNECTION, whole).encode(TRANSACTION, prover(client()))
        self.assertRaises(SignallingError, OpenStream.decode, decode(raw))

    def padded(self, size: int) -> Message:
        """The request filled up to so many bytes."""
        message = decode(self.request())
        attributes = tuple(pair for pair in message.attributes if pair[0] != FINGERPRINT)
        room = size - len(message.raw) - 4
        attributes += ((Attribute.PADDING, bytes(room)),)
        return decode(encode(replace(message, attributes=attributes, raw=b"")))

    def test_longest(self) -> None:
        """So many bytes and not one word more."""
        message = self.padded(MAX_OPEN_STREAM_SIZE)
        self.assertEqual(len(message.raw), MAX_OPEN_STREAM_SIZE)
        OpenStream.decode(message)
        longer = self.padded(MAX_OPEN_STREAM_SIZE + 4)
        self.assertRaises(SignallingError, OpenStream.decode, longer)

    def test_answer(self) -> None:
        """The mediator's answer; addresses that nobody may be aimed at are left out."""
        for answer in (StreamAnswer((V4,), 0.05), StreamAnswer((V6,)), StreamAnswer(())):
            self.assertEqual(StreamAnswer.decode(decode(answer.encode(TRANSACTION))), answer)
        local = StreamAnswer((("127.0.0.1", 9),)).encode(TRANSACTION)
        self.assertEqual(StreamAnswer.decode(decode(local)), StreamAnswer(()))
        kept = StreamAnswer.decode(decode(local), allow_loopback=True)
        self.assertEqual(kept.observed, (("127.0.0.1", 9),))

    def test_requested(self) -> None:
        """What the server is told; it fits the leg whatever the client sent."""
        told = StreamRequested(CONNECTION, self.request(), (V4,), 0.05)
        raw = told.encode(TRANSACTION)
        self.assertEqual(StreamRequested.decode(decode(raw)), told)
        longest = replace(told, request=bytes(MAX_OPEN_STREAM_SIZE), observed=(V4, V6))
        self.assertLess(len(longest.encode(TRANSACTION)), MAX_STREAM_MESSAGE)

    def test_other_messages(self) -> None:
        """Nothing else is taken for one of them."""
        for message_class in MessageClass:
            other = decode(encode(Message(Method.CONNECT, message_class, TRANSACTION)))
            for kind in (OpenStream, StreamAnswer, StreamRequested):
                self.assertRaises(SignallingError, kind.decode, other)
