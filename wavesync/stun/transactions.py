"""Client transactions: send, send again, match the answer, give up (RFC 8489 section 6.2).

Sans-I/O.  A shell hands ``now`` in and after each stimulus sends what :meth:`Transactions.due`
gives, reports what :meth:`Transactions.timed_out` gives and sets its timer to
:meth:`Transactions.deadline`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wavesync.interfaces import Address
from wavesync.stun.message import Message, MessageClass, decode

__all__ = [
    "DEFAULT_RC",
    "DEFAULT_RM",
    "DEFAULT_RTO",
    "DEFAULT_TI",
    "MAX_TRANSACTIONS",
    "Answer",
    "TimedOut",
    "Transactions",
    "TransactionsFull",
]

DEFAULT_RTO = 0.5
"""Seconds from the first sending to the second; each further wait is twice as long."""

DEFAULT_RC = 7
"""Sendings of one request in all."""

DEFAULT_RM = 16
"""The wait after the last sending, in RTOs."""

DEFAULT_TI = 39.5
"""Seconds to wait for an answer on a stream, where nothing is sent twice (section 6.2.2)."""

MAX_TRANSACTIONS = 256
"""Most requests waiting for their answers at one time."""


class TransactionsFull(Exception):
    """So many requests are waiting for their answers that no more can be started."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to a request of ours.

    :ivar transaction_id: the request's.
    :ivar destination: where the request went and the response came from.
    :ivar message: the response, success or error.
    :ivar sendings: how often the request had been sent.  Where it is 1, *elapsed* measures the
        round trip.
    :ivar elapsed: seconds since the request was started.
    """

    transaction_id: bytes
    destination: Address
    message: Message
    sendings: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A request of ours that nobody answered.

    :ivar transaction_id: the request's.
    :ivar destination: where it went.
    :ivar elapsed: seconds since the request was started.
    """

    transaction_id: bytes
    destination: Address
    elapsed: float


@dataclass(slots=True)
class _Pending:
    request: bytes
    method: int
    started: float
    stream: bool
    accept: Callable[[Message], bool] | None
    sendings: int = 0
    next_at: float = 0.0


class Transactions:
    """The requests of one client that wait for their answers.

    :param rto: seconds from the first sending to the second.
    :param rc: sendings in all.
    :param rm: wait after the last, in RTOs.
    :param ti: seconds to wait on a stream.
    :param limit: most transactions at one time.
    """

    def __init__(
        self,
        *,
        rto: float = DEFAULT_RTO,
        rc: int = DEFAULT_RC,
        rm: float = DEFAULT_RM,
        ti: float = DEFAULT_TI,
        limit: int = MAX_TRANSACTIONS,
    ) -> None:
        if rto <= 0 or rc < 1 or rm <= 0 or ti <= 0 or limit < 1:
            raise ValueError("The parameters of STUN transactions must be positive.")
        self._rto = rto
        self._rc = rc
        self._rm = rm
        self._ti = ti
        self._limit = limit
        self._pending: dict[tuple[bytes, Address], _Pending] = {}

    def __len__(self) -> int:
        """How many requests wait for their answers."""
        return len(self._pending)

    def start(
        self,
        request: bytes,
        destination: Address,
        now: float,
        *,
        stream: bool = False,
        accept: Callable[[Message], bool] | None = None,
    ) -> bytes:
        """Take *request*; the next :meth:`due` gives it for its first sending.

        The same request may go to several destinations, each a transaction of its own.

        :param stream: it goes over a byte stream: sent once, answered within *ti*.
        :param accept: looks at a response that matches otherwise; if it returns false, the
            response is treated as if it had never come (a wrong MESSAGE-INTEGRITY, RFC 8489
            section 9.1.4).
        :returns: the transaction id.
        :raises ValueError: *request* is not a STUN request, or waits for *destination* already.
        :raises TransactionsFull: the limit is reached.
        """
        message = decode(request)
        if message.message_class is not MessageClass.REQUEST:
            raise ValueError("Only a request makes a transaction.")
        key = (message.transaction_id, destination)
        if key in self._pending:
            raise ValueError("This transaction is running already.")
        if len(self._pending) >= self._limit:
            raise TransactionsFull(f"{self._limit} STUN requests wait for answers already.")
        self._pending[key] = _Pending(request, message.method, now, stream, accept, next_at=now)
        return message.transaction_id

    def cancel(self, transaction_id: bytes, destination: Address) -> None:
        """Forget a transaction; an answer that comes later matches nothing."""
        self._pending.pop((transaction_id, destination), None)

    def receive(self, message: Message, source: Address, now: float) -> Answer | None:
        """Match *message* with the request it answers and end that transaction.

        :returns: None where it answers nothing of ours: another transaction id, source or
            method, or no response at all.
        """
        if message.message_class not in (MessageClass.SUCCESS, MessageClass.ERROR):
            return None
        key = (message.transaction_id, source)
        pending = self._pending.get(key)
        if pending is None or pending.method != message.method or not pending.sendings:
            return None
        if pending.accept is not None and not pending.accept(message):
            return None
        del self._pending[key]
        return Answer(
            message.transaction_id, source, message, pending.sendings, now - pending.started
        )

    def due(self, now: float) -> list[tuple[bytes, Address]]:
        """The requests to be sent at *now*, each with its destination."""
        sending = []
        for (_, destination), pending in self._pending.items():
            if pending.next_at > now or self._all_sent(pending):
                continue
            pending.sendings += 1
            if pending.stream:
                pending.next_at = pending.started + self._ti
            elif pending.sendings == self._rc:
                pending.next_at = now + self._rm * self._rto
            else:
                pending.next_at = now + self._rto * 2 ** (pending.sendings - 1)
            sending.append((pending.request, destination))
        return sending

    def timed_out(self, now: float) -> list[TimedOut]:
        """The transactions that have waited in vain; they are over."""
        over = [
            key
            for key, pending in self._pending.items()
            if self._all_sent(pending) and pending.next_at <= now
        ]
        return [TimedOut(key[0], key[1], now - self._pending.pop(key).started) for key in over]

    def deadline(self) -> float | None:
        """When :meth:`due` or :meth:`timed_out` will next have something; None if nothing waits."""
        return min((pending.next_at for pending in self._pending.values()), default=None)

    def _all_sent(self, pending: _Pending) -> bool:
        return pending.sendings >= (1 if pending.stream else self._rc)
