"""Retransmission, matching and giving up, on a clock that the tests turn."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.interfaces import Address
from wavesync.stun.message import BINDING, Message, MessageClass, StunError, encode
from wavesync.stun.transactions import (
    MAX_TRANSACTIONS,
    Answer,
    TimedOut,
    Transactions,
    TransactionsFull,
)

SERVER: Address = ("192.0.2.1", 3478)
OTHER: Address = ("192.0.2.2", 3478)


def numbered(number: int) -> bytes:
    """A transaction id."""
    return number.to_bytes(12, "big")


def request(number: int = 1) -> bytes:
    """A Binding request."""
    return encode(Message(BINDING, MessageClass.REQUEST, numbered(number)))


def response(
    number: int = 1, message_class: MessageClass = MessageClass.SUCCESS, method: int = BINDING
) -> Message:
    """A response to it."""
    return Message(method, message_class, numbered(number))


def play(transactions: Transactions, now: float) -> tuple[list[float], list[TimedOut]]:
    """Turn the clock from deadline to deadline until nothing waits.

    :returns: when something was sent, and what timed out.
    """
    sent, over = [], []
    while True:
        sent += [now] * len(transactions.due(now))
        over += transactions.timed_out(now)
        deadline = transactions.deadline()
        if deadline is None:
            return sent, over
        assert deadline > now
        now = deadline


class Retransmission(SynchronousTestCase):
    """When a request is sent, and when it is given up."""

    def test_default_times(self) -> None:
        """The times are those of RFC 8489 section 6.2.1: 0 to 31.5 s, given up at 39.5 s."""
        transactions = Transactions()
        transactions.start(request(), SERVER, 100.0)
        sent, over = play(transactions, 100.0)
        self.assertEqual([time - 100.0 for time in sent], [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(over, [TimedOut(numbered(1), SERVER, 39.5)])

    def test_other_parameters(self) -> None:
        """RTO, Rc and Rm can be set."""
        transactions = Transactions(rto=0.25, rc=3, rm=4)
        transactions.start(request(), SERVER, 0.0)
        sent, over = play(transactions, 0.0)
        self.assertEqual(sent, [0.0, 0.25, 0.75])
        self.assertEqual([item.elapsed for item in over], [1.75])

    def test_stream(self) -> None:
        """Over a stream a request is sent once and given up after Ti = 39.5 s."""
        transactions = Transactions()
        transactions.start(request(), SERVER, 5.0, stream=True)
        sent, over = play(transactions, 5.0)
        self.assertEqual((sent, [item.elapsed for item in over]), ([5.0], [39.5]))

    def test_stream_timeout_is_settable(self) -> None:
        """Ti can be set."""
        transactions = Transactions(ti=3.0)
        transactions.start(request(), SERVER, 0.0, stream=True)
        self.assertEqual([item.elapsed for item in play(transactions, 0.0)[1]], [3.0])

    def test_same_bytes(self) -> None:
        """What is sent again is the same request to the same place."""
        transactions = Transactions()
        transactions.start(request(), SERVER, 0.0)
        self.assertEqual(transactions.due(0.0), [(request(), SERVER)])
        self.assertEqual(transactions.due(0.4), [])
        self.assertEqual(transactions.due(0.5), [(request(), SERVER)])

    def test_late_timer(self) -> None:
        """After a pause of the machine a request is sent once, not as often as it was missed."""
        transactions = Transactions()
        transactions.start(request(), SERVER, 0.0)
        transactions.due(0.0)
        self.assertEqual(len(transactions.due(1000.0)), 1)
        self.assertEqual(transactions.timed_out(1000.0), [])
        self.assertEqual(transactions.deadline(), 1001.0)

    def test_parameters_are_checked(self) -> None:
        """Parameters that are not positive are our own mistake."""
        self.assertRaises(ValueError, Transactions, rto=0)
        self.assertRaises(ValueError, Transactions, rc=0)
        self.assertRaises(ValueError, Transactions, rm=0)
        self.assertRaises(ValueError, Transactions, ti=0)
        self.assertRaises(ValueError, Transactions, limit=0)


class Matching(SynchronousTestCase):
    """Which response ends which transaction."""

    def setUp(self) -> None:
        """One request is on its way."""
        self.transactions = Transactions()
        self.transactions.start(request(), SERVER, 10.0)
        self.transactions.due(10.0)

    def test_answer(self) -> None:
        """A response ends the transaction and tells how long it took."""
        for message_class in (MessageClass.SUCCESS, MessageClass.ERROR):
            self.setUp()
            message = response(1, message_class)
            self.assertEqual(
                self.transactions.receive(message, SERVER, 10.25),
                Answer(numbered(1), SERVER, message, 1, 0.25),
            )
            self.assertIsNone(self.transactions.deadline())
            self.assertEqual(len(self.transactions), 0)

    def test_only_once(self) -> None:
        """The answer to a retransmission finds the transaction over."""
        self.assertIsNotNone(self.transactions.receive(response(), SERVER, 10.1))
        self.assertIsNone(self.transactions.receive(response(), SERVER, 10.2))

    def test_sendings(self) -> None:
        """After a retransmission the answer says that it measures no round trip."""
        self.transactions.due(10.5)
        answer = self.transactions.receive(response(), SERVER, 10.6)
        assert answer is not None
        self.assertEqual(answer.sendings, 2)

    def test_does_not_match(self) -> None:
        """Another id, source, port or method, and what is no response, leave it waiting."""
        for message, source in (
            (response(2), SERVER),
            (response(), OTHER),
            (response(), (SERVER[0], 3479)),
            (response(method=2), SERVER),
            (response(message_class=MessageClass.REQUEST), SERVER),
            (response(message_class=MessageClass.INDICATION), SERVER),
        ):
            self.assertIsNone(self.transactions.receive(message, source, 10.1))
        self.assertEqual(len(self.transactions), 1)

    def test_not_yet_sent(self) -> None:
        """A response that comes before the request was ever sent is nobody's."""
        self.transactions.start(request(2), SERVER, 10.0)
        self.assertIsNone(self.transactions.receive(response(2), SERVER, 10.0))

    def test_not_accepted(self) -> None:
        """A response that is not accepted counts as if it had never come."""
        good = Message(BINDING, MessageClass.SUCCESS, numbered(2), ((0x8022, b"good"),))
        self.transactions.start(request(2), SERVER, 10.0, accept=lambda message: message == good)
        self.transactions.due(10.0)
        self.assertIsNone(self.transactions.receive(response(2), SERVER, 10.1))
        self.assertIsNotNone(self.transactions.receive(good, SERVER, 10.2))

    def test_several_destinations(self) -> None:
        """One request asked at two servers makes two transactions."""
        self.transactions.start(request(), OTHER, 10.0)
        self.assertEqual(self.transactions.due(10.0), [(request(), OTHER)])
        self.assertIsNotNone(self.transactions.receive(response(), OTHER, 10.1))
        self.assertIsNotNone(self.transactions.receive(response(), SERVER, 10.2))

    def test_cancel(self) -> None:
        """A cancelled transaction is sent no more and answered no more."""
        self.transactions.cancel(numbered(1), SERVER)
        self.transactions.cancel(numbered(1), SERVER)
        self.assertEqual(self.transactions.due(99.0), [])
        self.assertIsNone(self.transactions.receive(response(), SERVER, 99.0))
        self.assertIsNone(self.transactions.deadline())


class Starting(SynchronousTestCase):
    """What can be started."""

    def test_limit(self) -> None:
        """As many as the limit may wait; one more is refused until one has ended."""
        for transactions, limit in (
            (Transactions(), MAX_TRANSACTIONS),
            (Transactions(limit=2), 2),
        ):
            for number in range(limit):
                transactions.start(request(number), SERVER, 0.0)
            self.assertRaises(TransactionsFull, transactions.start, request(limit), SERVER, 0.0)
            transactions.cancel(numbered(0), SERVER)
            transactions.start(request(limit), SERVER, 0.0)

    def test_running_already(self) -> None:
        """The same request to the same place is one transaction."""
        transactions = Transactions()
        transactions.start(request(), SERVER, 0.0)
        self.assertRaises(ValueError, transactions.start, request(), SERVER, 0.0)

    def test_no_request(self) -> None:
        """Only a request can be started."""
        indication = encode(Message(BINDING, MessageClass.INDICATION, bytes(12)))
        self.assertRaises(ValueError, Transactions().start, indication, SERVER, 0.0)
        self.assertRaises(StunError, Transactions().start, b"nonsense", SERVER, 0.0)
