"""Tests for :mod:`wavesync.signalling.asking`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker, NoAnswer
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode
from wavesync.stun.transactions import Transactions

THERE: Address = ("192.0.2.1", 3345)


def request(number: int = 1) -> bytes:
    """A Binding request with that transaction id."""
    return encode(Message(BINDING, MessageClass.REQUEST, number.to_bytes(12, "big")))


def answer(number: int = 1) -> Message:
    """The answer to it."""
    return decode(encode(Message(BINDING, MessageClass.SUCCESS, number.to_bytes(12, "big"))))


class AskerTests(SynchronousTestCase):
    """Every request ends: with its answer, or with a word that none came."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[bytes, Address]] = []
        self.asker = Asker(
            self.clock, lambda data, to: self.sent.append((data, to)), Transactions(rto=1, rc=3)
        )

    def test_answered(self) -> None:
        """The answer arrives where it was asked for, and no timer stays."""
        asked = self.asker.ask(request(), THERE)
        self.assertEqual(self.sent, [(request(), THERE)])
        self.assertTrue(self.asker.receive(answer(), THERE))
        self.assertEqual(self.successResultOf(asked).message, answer())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sent_again_until_given_up(self) -> None:
        """Silence is met with repeats, then with an error."""
        asked = self.asker.ask(request(), THERE)
        self.clock.pump([0.5] * 6)
        self.assertEqual(len(self.sent), 3)
        self.assertNoResult(asked)
        self.clock.pump([1] * 17)
        self.failureResultOf(asked, NoAnswer)
        self.assertEqual(len(self.sent), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stream_sends_once(self) -> None:
        """Over a byte stream a request is not repeated."""
        asked = self.asker.ask(request(), THERE, stream=True)
        self.clock.advance(39)
        self.assertEqual(len(self.sent), 1)
        self.assertNoResult(asked)
        self.clock.advance(1)
        self.failureResultOf(asked, NoAnswer)

    def test_not_ours(self) -> None:
        """What answers nothing is left to others."""
        asked = self.asker.ask(request(), THERE)
        self.assertFalse(self.asker.receive(answer(2), THERE))
        self.assertFalse(self.asker.receive(answer(), ("192.0.2.2", 3345)))
        self.assertNoResult(asked)
        self.asker.stop("over")
        self.failureResultOf(asked, NoAnswer)

    def test_unbelieved(self) -> None:
        """An answer that fails its check is as if it had not come."""
        asked = self.asker.ask(request(), THERE, accept=lambda message: False)
        self.assertFalse(self.asker.receive(answer(), THERE))
        self.assertNoResult(asked)
        asked.cancel()
        self.failureResultOf(asked)

    def test_cancelled(self) -> None:
        """A request nobody waits for is not sent again."""
        asked = self.asker.ask(request(), THERE)
        asked.cancel()
        self.failureResultOf(asked)
        self.clock.advance(5)
        self.assertEqual(len(self.sent), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopping tells everybody who waits and leaves no timer."""
        asked = [self.asker.ask(request(number), THERE) for number in range(3)]
        self.asker.stop("the agent is stopping")
        for each in asked:
            self.assertEqual(
                self.failureResultOf(each, NoAnswer).getErrorMessage(), "the agent is stopping"
            )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full(self) -> None:
        """One request too many is an error of that request alone."""
        asker = Asker(self.clock, lambda data, to: None, Transactions(limit=1))
        first = asker.ask(request(1), THERE)
        self.failureResultOf(asker.ask(request(2), THERE), NoAnswer)
        self.assertNoResult(first)
        asker.stop("over")
        self.failureResultOf(first)
