"""A live connection as a port holds it: the connection, its transport, and where the peer is."""

from collections.abc import Collection
from typing import Protocol as TypingProtocol

from twisted.internet import error
from twisted.internet.interfaces import IProtocol

from wavesync.interfaces import Address, Burst
from wavesync.udt.connection import Connection
from wavesync.udt.courtesy import Courtesy
from wavesync.udt.handshake import REQUEST, Agreement, Handshake
from wavesync.udt.outgoing import Straight
from wavesync.udt.room import Room
from wavesync.udt.tail import SharedTrip
from wavesync.udt.transport import UDTTransport

__all__ = ["Link", "Ports", "connection_for"]


class Member(TypingProtocol):
    """Something in a port that has its own times: a link, or an attempt to make one.

    :ivar scheduled: for the port's use.
    """

    scheduled: float | None

    def turn(self, now: float) -> None:
        """Do whatever is due; called after every stimulus and at :meth:`deadline`."""

    def deadline(self, now: float) -> float | None:
        """:return: when :meth:`turn` is to be called next; ``None`` for never by itself."""


class Ports(TypingProtocol):
    """What a link asks of its port."""

    def local_address(self, remote: Address) -> Address:
        """:return: our address for this family."""

    def congested(self, remote: Address) -> bool:
        """:return: whether bursts had better wait."""

    def send(self, burst: Burst, remote: Address) -> None:
        """Send a burst."""

    def touch(self, member: Member) -> None:
        """Give *member* a turn soon."""

    def forget(self, link: "Link") -> None:
        """The link is over and has nothing more to say."""

    def shown(self, link: "Link") -> None:
        """The client of an accepted link has shown itself."""

    def ended(self) -> None:
        """The protocol of a link has been told the end."""


def connection_for(
    agreement: Agreement,
    now: float,
    window: int,
    early_window: int | None,
    room: Room | None,
    hold_data_until: float,
    shared_trip: SharedTrip,
) -> Connection:
    """Make the connection that was agreed on; the rest as :class:`Connection` has it."""
    return Connection(
        now=now,
        local_id=agreement.local_id,
        peer_id=agreement.peer_id,
        send_isn=agreement.send_isn,
        receive_isn=agreement.receive_isn,
        send_mss=agreement.mss,
        peer_window=agreement.peer_window,
        receive_mss=agreement.receive_mss,
        receive_window=window,
        receive_room=room,
        early_window=early_window,
        sparing=agreement.wavesync,
        shared_trip=shared_trip,
        hold_data_until=hold_data_until,
    )


class Link:
    """One connection of a port.

    :param port: where it lives.
    :param connection: the connection.
    :param agreement: what it was made from.
    :param remote: where the peer is.
    :param sources: addresses from which packets are taken; may grow during a rendezvous.
    :param answer: for an accepted connection, the handshake that opened it.
    :param courtesy: for an accepted connection, when something may be sent.
    :ivar ended: the port knows that the protocol has been told the end.
    """

    __slots__ = (
        "_answer",
        "_courtesy",
        "_delivering",
        "_plain",
        "_port",
        "agreement",
        "connection",
        "ended",
        "remote",
        "scheduled",
        "sources",
        "transport",
    )

    def __init__(
        self,
        port: Ports,
        connection: Connection,
        agreement: Agreement,
        remote: Address,
        sources: Collection[Address],
        *,
        answer: bytes | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        self.connection = connection
        self.agreement = agreement
        self.remote = remote
        self.sources = sources
        self.scheduled: float | None = None
        self.ended = False
        self.transport = UDTTransport(self, connection)
        self._port = port
        self._answer = answer
        self._courtesy = courtesy
        self._delivering = False
        self._plain = False  # since the deadline was set, data have come in order, no more
        if agreement.wavesync:
            connection.new_path(settled=True)

    @property
    def local(self) -> Address:
        """Our address towards the peer."""
        return self._port.local_address(self.remote)

    def attach(self, protocol: IProtocol) -> None:
        """Connect the application's protocol."""
        self.transport.attach(protocol)
        self.touch()

    def touch(self) -> None:
        """Ask the port for a turn."""
        self._plain = False
        self._port.touch(self)

    def wrote(self) -> None:
        """There is something to send: ask for a turn, unless this one has yet to send."""
        if not self._delivering:
            self._port.touch(self)

    def receive_next(self, first: int, datagram: bytes | memoryview, now: float) -> bool:
        """Take a data packet for us, if it is the one that is waited for.

        :param first: its sequence number (wire).
        :param datagram: all of it; it has bytes of the stream.
        :return: whether it was; nothing happened otherwise.
        """
        if not self._plain or not self.connection.exchange.receive(first, datagram, now):
            return False
        self._port.touch(self)
        return True

    def receive(self, data: bytes | memoryview, segment_size: int, now: float) -> None:
        """Take a burst from one of :attr:`sources`."""
        courtesy = self._courtesy
        if courtesy is not None and not courtesy.shown:
            courtesy.show(now)
            self._port.shown(self)
        self.connection.receive(data, segment_size, now)
        self.touch()

    @property
    def shown(self) -> bool:
        """Whether the peer has shown itself: its data need no further look."""
        return self._courtesy is None or self._courtesy.shown

    def receive_run(
        self, first: int, count: int, pieces: list[bytes], size: int, now: float
    ) -> None:
        """Take consecutive data packets for us from one of :attr:`sources`; see :meth:`Connection.take`."""
        self.connection.take(first, count, pieces, size, now)
        self.touch()

    def greet(self, packet: Handshake, now: float) -> None:
        """Take a handshake addressed to an accepted connection: the client missed the answer."""
        if packet.request >= REQUEST and packet.socket_id == self.agreement.peer_id:
            self.answer_again(now)

    def answer_again(self, now: float) -> None:
        """Send the handshake that opened this connection once more."""
        if self._answer is not None:
            self._port.send(Burst(self._answer, len(self._answer)), self.remote)
            if self._courtesy is not None:
                self._courtesy.answered(now)

    def turn(self, now: float) -> None:
        """Deliver what came, send what may be sent."""
        if self._plain and self._exchange(now):
            return
        self._plain = False
        self._work(now)
        if not (self.transport.connected or self.ended):
            self.end()

    def end(self) -> None:
        """Let the port know that it counts no more; once."""
        if not self.ended:
            self.ended = True
            self._port.ended()

    def _exchange(self, now: float) -> bool:
        """Hand on data in order, and send the little that is answered: most turns need no more.

        :return: whether that was all; otherwise there is a whole turn to do.
        """
        exchange = self.connection.exchange
        until, nearest = self.scheduled, exchange.nearest(now)
        if until is None or now >= until or now >= nearest:
            return False
        pieces = exchange.data()
        if pieces:
            self._delivering = True
            try:
                self.transport.receive(pieces)
            finally:
                self._delivering = False
        if not self._plain:
            return False
        packet = exchange.packet(now)
        if packet is None:
            return False
        if packet:
            self._port.send(tuple.__new__(Burst, (packet, len(packet))), self.remote)
        # An earlier time than the deadline only costs a turn, and setting one costs more than that.
        self._plain = until <= nearest
        return True

    def _work(self, now: float) -> None:
        connection = self.connection
        connection.timer(now)
        events = connection.events()
        self._delivering = True
        try:
            self.transport.deliver(events)
        finally:
            self._delivering = False
        courtesy = self._courtesy
        if courtesy is not None:
            if courtesy.over(now):
                self._courtesy = None
            elif connection.unsent:
                courtesy.speak(now)
            if courtesy.repeat_due(now):
                self.answer_again(now)
            if courtesy.expired(now):
                self._courtesy = None
                self.transport.fail(error.TimeoutError(string="The client never showed itself."))
            elif courtesy.silent(now):
                return
        if not self._port.congested(self.remote):
            connection.send(now, Straight(self._port.send, self.remote))
            events = connection.events()
            if events:
                self.transport.deliver(events)
        if connection.finished:
            self._port.forget(self)

    def deadline(self, now: float) -> float | None:
        """:return: when the next turn is due by itself."""
        if self._plain:
            return self.scheduled
        if self.connection.finished:
            return None
        due = None if self._port.congested(self.remote) else self.connection.deadline()
        if self._courtesy is None:
            self._plain = due is not None and self.connection.plain
            return due
        change = self._courtesy.deadline(now)
        if self._courtesy.silent(now):
            return change
        return min((time for time in (due, change) if time is not None), default=None)
