"""What the peer's ACKs and NAKs say of what we sent."""

from wavesync.udt.congestion import PeerReport
from wavesync.udt.packet import PacketError, decode_acknowledgement, decode_loss_list
from wavesync.udt.receiver import Receiver
from wavesync.udt.send_buffer import MAX_FLIGHT, SendBuffer
from wavesync.udt.sender import Sender
from wavesync.udt.sequence import SEQUENCE_MASK, extend, span
from wavesync.udt.statistics import Statistics

__all__ = ["Feedback"]


class Feedback:
    """Reads ACKs and NAKs; nonsense is counted and changes nothing.

    :param buffer: what was sent.
    :param sender: is told what arrived and what was lost.
    :param receiver: shares the round trip that the peer tells.
    :param statistics: counters to keep.
    :param light_will_do: the peer's reader has what a light ACK acknowledges; libudt's has it only
        with the next numbered one, and never after a SHUTDOWN.
    """

    __slots__ = (
        "_buffer",
        "_firm",
        "_light_will_do",
        "_newest_ack",
        "_pending_ack2",
        "_receiver",
        "_sender",
        "_statistics",
        "_told",
    )

    def __init__(
        self,
        buffer: SendBuffer,
        sender: Sender,
        receiver: Receiver,
        statistics: Statistics,
        light_will_do: bool,
    ) -> None:
        """Begin with nothing heard."""
        self._light_will_do = light_will_do
        self._firm = buffer.acknowledged  # by numbered ACKs
        self._buffer = buffer
        self._sender = sender
        self._receiver = receiver
        self._statistics = statistics
        self._newest_ack = 0
        self._told = 0  # free packets, by the newest numbered ACK
        self._pending_ack2: int | None = None

    @property
    def owes_ack2(self) -> bool:
        """Whether an ACK waits for its ACK2."""
        return self._pending_ack2 is not None

    @property
    def drained(self) -> bool:
        """Whether the peer has all that was written."""
        buffer = self._buffer
        firm = self._light_will_do or self._firm >= buffer.acknowledged
        return firm and not buffer.unacknowledged

    def take_ack2(self) -> int | None:
        """Give the number of the ACK to answer now, once."""
        number, self._pending_ack2 = self._pending_ack2, None
        return number

    def on_ack(self, number: int, body: memoryview, now: float) -> None:
        """Take an ACK.

        :param number: its information word.
        :param body: what follows the header.
        :param now: seconds.
        """
        buffer = self._buffer
        try:
            ack = decode_acknowledgement(body)
        except PacketError:
            self._statistics.dropped_bad += 1
            return
        point = extend(ack.sequence, buffer.acknowledged)
        if not buffer.acknowledged - MAX_FLIGHT <= point <= buffer.next:
            self._statistics.dropped_bad += 1
            return
        report: PeerReport | None = None
        if ack.free is None and self._light_will_do and self._told:
            report = PeerReport(self._told)
        if ack.free is not None:
            self._pending_ack2 = number
            self._firm = max(self._firm, point)
            newest = extend(number & SEQUENCE_MASK, self._newest_ack)
            # One that moves the point is new, whatever number a forged one had before it.
            if newest > self._newest_ack or point > buffer.acknowledged:
                self._newest_ack = newest
                if point >= buffer.acknowledged:  # an old one says nothing of the room there is now
                    self._told = ack.free
                report = PeerReport(ack.free, ack.arrival_rate or 0, ack.capacity or 0)
            for trip in (self._sender.round_trip, self._receiver.round_trip):
                trip.adopt((ack.rtt or 0) / 1e6, (ack.rtt_variance or 0) / 1e6)
        self._sender.on_ack(point, report, now)
        trip = self._sender.round_trip
        if trip.sampled:
            self._receiver.round_trip.adopt(trip.rtt, trip.variance)

    def on_ack2(self, number: int, now: float) -> None:
        """Take an ACK2, by its information word: it measures the way for what we send, too."""
        if self._receiver.on_ack2(number, now):
            trip = self._receiver.round_trip
            self._sender.round_trip.adopt(trip.rtt, trip.variance)

    def on_nak(self, body: memoryview, now: float) -> None:
        """Take a NAK."""
        near = self._buffer.acknowledged
        try:
            wire = decode_loss_list(body)
        except PacketError:
            self._statistics.dropped_bad += 1
            return
        ranges = []
        for first, last in wire:
            start = extend(first, near)
            ranges.append((start, start + span(first, last)))
        if self._sender.on_nak(ranges, now):
            self._statistics.naks_received += 1
        else:
            self._statistics.dropped_bad += 1
