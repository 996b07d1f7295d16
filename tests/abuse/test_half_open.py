"""Half-open handshakes by the thousand; ``python -m tests.abuse half-open`` does it by the 100,000."""

from twisted.trial.unittest import SynchronousTestCase

from tests.abuse.half_open import Result, attack
from wavesync.session.server import MAX_PENDING
from wavesync.udt.listening import MAX_HALF_OPEN

_MAX_GROWN = 4 << 20
"""Bytes that the second half of an attack may add; 1,000 sessions that stay would be 25 MB."""


class HalfOpenTests(SynchronousTestCase):
    """A thousand sources that begin handshakes and never end them take little, and for a while."""

    def check(self, name: str, number: int) -> Result:
        """A good client is served in the middle; nothing is left in the end."""
        result = attack(name, number)
        self.assertTrue(result.served)
        self.assertEqual(+result.left, {})
        self.assertLess(result.grown, _MAX_GROWN)
        self.assertLessEqual(result.most["pending sessions"], MAX_PENDING)
        self.assertLessEqual(result.most["half-open"], MAX_HALF_OPEN)
        return result

    def test_without_cookies(self) -> None:
        """Whoever shows no cookie has nothing kept, and gets no more than he has sent."""
        result = self.check("request", 4000)
        self.assertEqual(+result.most, {})
        self.assertLessEqual(result.worst, 0)
        self.assertEqual(result.answered, result.sent)

    def test_with_cookies(self) -> None:
        """Whoever shows one has a place for some seconds: there are so many, all are used."""
        result = self.check("cookie", 1200)
        self.assertEqual(result.most["pending sessions"], MAX_PENDING)
        self.assertEqual(result.most["half-open"], MAX_HALF_OPEN)
        # A place does not stay in a table for longer than its connection: but for its last words.
        self.assertLess(result.most["links"], 1200)

    def test_over_tcp(self) -> None:
        """TLS that stops in the middle of the first message is ended for newer ones."""
        result = self.check("tcp", 1200)
        self.assertEqual(result.most["pending sessions"], MAX_PENDING)
