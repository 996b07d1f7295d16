"""Templates for answers to Binding requests: the same bytes as the long way gives, or nothing."""

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.stun.fuzz import mutants
from wavesync.interfaces import Address
from wavesync.stun.attributes import SOFTWARE
from wavesync.stun.binding import binding_response
from wavesync.stun.message import BINDING, Message, MessageClass, encode
from wavesync.stun.quick import PLAIN_SIZE, quick_answer

SOURCES: tuple[Address, ...] = (
    ("192.0.2.1", 1),
    ("255.255.255.255", 65535),
    ("0.0.0.0", 0),
    ("2001:db8::1", 40000),
    ("::ffff:192.0.2.1", 3),
)


def request(*attributes: tuple[int, bytes], fingerprint: bool = False) -> bytes:
    """A Binding request with a transaction id of its own."""
    message = Message(BINDING, MessageClass.REQUEST, os.urandom(12), attributes)
    return encode(message, fingerprint=fingerprint)


class QuickTests(SynchronousTestCase):
    """What a client gets that sends the plainest of requests."""

    def test_same(self) -> None:
        """A plain request is answered as ever, with FINGERPRINT if it has one."""
        for source in SOURCES:
            for fingerprint in (False, True):
                for _ in range(20):
                    data = request(fingerprint=fingerprint)
                    answer = quick_answer(data, source)
                    self.assertIsNotNone(answer)
                    self.assertEqual(answer, binding_response(data, source))

    def test_not_plain(self) -> None:
        """Whatever has another attribute is left to who understands attributes."""
        self.assertIsNone(quick_answer(request((SOFTWARE, b"")), SOURCES[0]))
        self.assertIsNone(quick_answer(request((SOFTWARE, b"1234")), SOURCES[0]))

    def test_damaged(self) -> None:
        """Each bit of a request that is turned is seen, but for those of the transaction id."""
        for fingerprint in (False, True):
            good = request(fingerprint=fingerprint)
            for bit in range(len(good) * 8):
                data = bytearray(good)
                data[bit // 8] ^= 1 << bit % 8
                answer = quick_answer(bytes(data), SOURCES[0])
                if not fingerprint and 8 <= bit // 8 < PLAIN_SIZE:
                    self.assertEqual(answer, binding_response(bytes(data), SOURCES[0]))
                else:
                    self.assertIsNone(answer, bit)
            for size in range(len(good)):
                if size != PLAIN_SIZE or not fingerprint:
                    self.assertIsNone(quick_answer(good[:size], SOURCES[0]))
            self.assertIsNone(quick_answer(good + b"\0", SOURCES[0]))

    def test_fuzz(self) -> None:
        """Of bad input nothing is answered otherwise than the long way does it."""
        for data in mutants(5000):
            for source in (SOURCES[0], SOURCES[3]):
                answer = quick_answer(data, source)
                if answer is not None:
                    self.assertEqual(answer, binding_response(data, source))
