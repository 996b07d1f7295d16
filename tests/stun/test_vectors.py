"""The messages printed in RFC 5769 and RFC 8489 are read as the RFCs say."""

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from tests.stun import vectors
from wavesync.stun.attributes import (
    FINGERPRINT,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    REALM,
    SOFTWARE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    decode_text,
    decode_xor_address,
)
from wavesync.stun.message import (
    BINDING,
    Message,
    MessageClass,
    check_integrity,
    decode,
    encode,
    is_stun,
)


class PrintedMessages(SynchronousTestCase):
    """Each printed message: attributes, addresses, integrity, fingerprint."""

    def test_request(self) -> None:
        """RFC 5769 section 2.1: the request's attributes are found, padding of spaces is taken."""
        message = decode(vectors.REQUEST)
        self.assertEqual(
            (message.method, message.message_class, message.transaction_id.hex()),
            (BINDING, MessageClass.REQUEST, "b7e7a701bc34d686fa87dfae"),
        )
        self.assertEqual(
            message.attributes,
            (
                (SOFTWARE, b"STUN test client"),
                (0x0024, bytes.fromhex("6e0001ff")),
                (0x8029, bytes.fromhex("932ff9b151263b36")),
                (USERNAME, b"evtj:h6vY"),
                (MESSAGE_INTEGRITY, bytes.fromhex("9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2")),
                (FINGERPRINT, bytes.fromhex("e57a3bcf")),
            ),
        )
        self.assertTrue(check_integrity(message, vectors.SHORT_TERM_KEY))

    def test_responses(self) -> None:
        """RFC 5769 sections 2.2 and 2.3: both responses tell the printed address."""
        for raw, host in (
            (vectors.RESPONSE_IPV4, "192.0.2.1"),
            (vectors.RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677"),
        ):
            message = decode(raw)
            self.assertIs(message.message_class, MessageClass.SUCCESS)
            self.assertEqual(message.get(SOFTWARE), b"test vector")
            value = message.get(XOR_MAPPED_ADDRESS) or b""
            self.assertEqual(decode_xor_address(value, message.transaction_id), (host, 32853))
            self.assertTrue(check_integrity(message, vectors.SHORT_TERM_KEY))

    def test_long_term_request(self) -> None:
        """RFC 5769 section 2.4: a request with long-term credentials and no FINGERPRINT."""
        message = decode(vectors.LONG_TERM_REQUEST)
        self.assertEqual(decode_text(message.get(USERNAME) or b"", 508), vectors.USERNAME)
        self.assertEqual(message.get(NONCE), b"f//499k954d6OL34oL9FSTvy64sA")
        self.assertEqual(message.get(REALM), b"example.org")
        self.assertTrue(check_integrity(message, vectors.LONG_TERM_KEY))

    def test_sha256_request(self) -> None:
        """RFC 8489 appendix B.1: MESSAGE-INTEGRITY-SHA256 with a SHA-256 long-term key."""
        message = decode(vectors.SHA256_REQUEST)
        userhash = hashlib.sha256(f"{vectors.USERNAME}:{vectors.REALM}".encode()).digest()
        self.assertEqual(message.get(USERHASH), userhash)
        self.assertTrue(check_integrity(message, vectors.SHA256_KEY))

    def test_sha256_request_is_written(self) -> None:
        """Writing the attributes of RFC 8489 appendix B.1 with its key gives its very bytes."""
        decoded = decode(vectors.SHA256_REQUEST)
        attributes = tuple(
            pair for pair in decoded.attributes if pair[0] != MESSAGE_INTEGRITY_SHA256
        )
        message = Message(BINDING, MessageClass.REQUEST, decoded.transaction_id, attributes)
        self.assertEqual(
            encode(message, integrity_key=vectors.SHA256_KEY, fingerprint=False),
            vectors.SHA256_REQUEST,
        )

    def test_wrong_key(self) -> None:
        """No printed message passes under a key that is not its own."""
        for raw in vectors.ALL:
            self.assertFalse(check_integrity(decode(raw), b"another key"))

    def test_told_as_stun(self) -> None:
        """The printed messages are told from other traffic as STUN."""
        for raw in vectors.ALL:
            self.assertTrue(is_stun(raw))
            self.assertTrue(is_stun(memoryview(raw)))
