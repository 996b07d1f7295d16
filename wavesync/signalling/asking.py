"""Asking over STUN from Twisted: a Deferred for each request, one timer for all of them."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.stun.message import Message
from wavesync.stun.transactions import Answer, Transactions, TransactionsFull

__all__ = ["Asker", "NoAnswer"]


class NoAnswer(ConnectFailed):
    """A request was sent as often as it may be, and nothing came back."""


class Asker:
    """The shell around :class:`~wavesync.stun.transactions.Transactions`.

    :param clock: gives the time and the one timer.
    :param send: sends a request's bytes to an address; must not raise.
    :param transactions: the core, with its times and limits.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[bytes, Address], None],
        transactions: Transactions | None = None,
    ) -> None:
        self._clock = clock
        self._send = send
        self._core = transactions if transactions is not None else Transactions()
        self._waiting: dict[tuple[bytes, Address], Deferred[Answer]] = {}
        self._timer: IDelayedCall | None = None

    def ask(
        self,
        request: bytes,
        destination: Address,
        *,
        stream: bool = False,
        accept: Callable[[Message], bool] | None = None,
    ) -> Deferred[Answer]:
        """Send *request*, again while nothing comes, and wait for its answer.

        :param stream: the way to *destination* is a byte stream: send once.
        :param accept: tells whether a matching answer is to be believed.
        :returns: fires with the answer, success or error; fails with :class:`NoAnswer`.
            Cancelling it forgets the request.
        """
        now = self._clock.seconds()
        try:
            transaction_id = self._core.start(
                request, destination, now, stream=stream, accept=accept
            )
        except TransactionsFull as error:
            return fail(NoAnswer(str(error)))
        key = (transaction_id, destination)

        def forget(_: object) -> None:
            self._core.cancel(transaction_id, destination)
            self._waiting.pop(key, None)
            self._turn()

        waiting: Deferred[Answer] = Deferred(forget)
        self._waiting[key] = waiting
        self._turn()
        return waiting

    def tell(self, indication: bytes, destination: Address) -> None:
        """Send *indication*, which nobody answers, once."""
        self._send(indication, destination)

    def receive(self, message: Message, source: Address) -> bool:
        """Take a message that arrived.

        :returns: whether it answered a request; otherwise it is for somebody else.
        """
        answer = self._core.receive(message, source, self._clock.seconds())
        if answer is None:
            return False
        waiting = self._waiting.pop((answer.transaction_id, source))
        self._turn()
        waiting.callback(answer)
        return True

    def stop(self, why: str) -> None:
        """Fail everything that waits, with that sentence; nothing is left running."""
        waiting, self._waiting = self._waiting, {}
        for (transaction_id, destination), deferred in waiting.items():
            self._core.cancel(transaction_id, destination)
            deferred.errback(NoAnswer(why))
        self._turn()

    def _turn(self) -> None:
        """Send what is due, report what is over, set the timer."""
        now = self._clock.seconds()
        for request, destination in self._core.due(now):
            self._send(request, destination)
        over = self._core.timed_out(now)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        deadline = self._core.deadline()
        self._timer = (
            None
            if deadline is None
            else self._clock.callLater(max(0.0, deadline - now), self._turn)
        )
        for end in over:
            waiting = self._waiting.pop((end.transaction_id, end.destination), None)
            if waiting is not None:
                waiting.errback(NoAnswer("no answer came"))
