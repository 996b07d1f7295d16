"""The short way through a connection: the data packet that is waited for comes, a small one goes.

That is what most turns of a connection are that is not in a hurry, and all that matters to them is how
little is done.  Whatever is not as simple is refused, and goes the whole way of
:class:`~wavesync.udt.connection.Connection`.
"""

from wavesync.udt.deliveries import Deliveries
from wavesync.udt.patience import Patience
from wavesync.udt.receiver import Receiver
from wavesync.udt.sender import Sender
from wavesync.udt.tail import MIN_TAIL_TIMEOUT

__all__ = ["Exchange"]


class Exchange:
    """Of one connection, while it is :attr:`~wavesync.udt.connection.Connection.plain`.

    :param receiver: takes what comes.
    :param deliveries: knows whether somebody reads.
    :param sender: has what goes.
    :param patience: is told of both.
    """

    __slots__ = ("_acknowledger", "_deliveries", "_patience", "_receiver", "_sender")

    def __init__(
        self, receiver: Receiver, deliveries: Deliveries, sender: Sender, patience: Patience
    ) -> None:
        """Keep nothing besides."""
        self._receiver = receiver
        self._acknowledger = receiver.acknowledger
        self._deliveries = deliveries
        self._sender = sender
        self._patience = patience

    def receive(self, first: int, datagram: bytes | memoryview, now: float) -> bool:
        """Take a data packet for us, with bytes in it, if it is the one that is waited for.

        :param first: its sequence number (wire).
        :param datagram: all of it.
        :returns: whether it was; nothing happened otherwise.
        """
        if not self._receiver.on_next(first, datagram, now):
            return False
        self._patience.heard_at = now
        return True

    def data(self) -> list[bytes]:
        """Give the data that has come in order; none while reading is paused."""
        return [] if self._deliveries.paused else self._receiver.take()

    def packet(self, now: float) -> bytes | None:
        """Give a packet with all that was written, or ``b""`` if that is nothing.

        :returns: ``None`` if it does not go in one packet at once, or much is on its way.
        """
        packet = self._sender.small_packet(now)
        if packet:
            self._patience.sent_at = now
        return packet

    def nearest(self, now: float) -> float:
        """:return: a time before which nothing is due that came up on this way, by *now* or just now."""
        due, later = self._acknowledger.deadline(), now + MIN_TAIL_TIMEOUT
        return due if due < later else later
