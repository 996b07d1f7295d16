"""One established UDT connection, without I/O, clock or randomness of its own.

A shell feeds it what arrived and the time, and asks it four things after every stimulus:
what to send, what happened, when to come back::

    connection.receive(data, segment_size, now)
    for burst in connection.datagrams(now):
        carrier.send(burst, address)
    for event in connection.events():
        ...
    connection.deadline()          # call timer(now) then

Times are seconds of any monotonic clock; sequence numbers inside are extended (never wrap).
"""

import enum
from dataclasses import dataclass, field

from wavesync.interfaces import Burst

__all__ = [
    "CloseReason",
    "Closed",
    "Connection",
    "DataReceived",
    "Event",
    "SendBufferLow",
    "Statistics",
]

MAX_DATAGRAMS = 12 * 44
"""Datagrams that one call of :meth:`Connection.datagrams` gives out at most by default."""


class CloseReason(enum.Enum):
    """Why a connection is over."""

    LOCAL = "closed here, everything acknowledged"
    PEER = "closed by the peer"
    ABORTED = "aborted here"
    TIMEOUT = "the peer fell silent"


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes of the stream arrived, in order.

    :ivar data: 1 byte or more.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class SendBufferLow:
    """The unsent bytes fell to the low-water mark after having been above the high one."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over in both directions; the last event.

    :ivar reason: who or what ended it.
    """

    reason: CloseReason


Event = DataReceived | SendBufferLow | Closed


@dataclass(slots=True)
class Statistics:
    """Counters of one connection since it began; cheap to read.

    :ivar packets_sent: data packets, retransmissions included.
    :ivar bytes_sent: payload bytes in them.
    :ivar packets_received: data packets accepted (duplicates not counted).
    :ivar bytes_received: payload bytes in them.
    :ivar retransmitted: data packets sent again.
    :ivar naks_sent: NAK packets sent.
    :ivar naks_received: NAK packets obeyed.
    :ivar acks_sent: ACK packets sent, light ones included.
    :ivar duplicates: data packets dropped because they had been received before.
    :ivar dropped_bad: packets dropped because they were forged, broken or out of the window.
    :ivar timeouts: times the unacknowledged tail had to be sent again unasked.
    :ivar rtt: smoothed round-trip time, seconds.
    :ivar rate: pacing rate, packets a second.
    """

    packets_sent: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    bytes_received: int = 0
    retransmitted: int = 0
    naks_sent: int = 0
    naks_received: int = 0
    acks_sent: int = 0
    duplicates: int = 0
    dropped_bad: int = 0
    timeouts: int = 0
    rtt: float = 0.1
    rate: float = 0.0


@dataclass(slots=True)
class Connection:
    """One connection after its handshake.

    :ivar now: the time it begins, seconds.
    :ivar local_id: our socket id, the destination id of everything that comes in.
    :ivar peer_id: the peer's socket id.
    :ivar send_isn: sequence number of our first data packet (wire).
    :ivar receive_isn: sequence number of the peer's first data packet (wire).
    :ivar send_mss: IP packet size that the peer takes, 76 .. 65535; ours are never longer.
    :ivar peer_window: packets that the peer is ready to buffer (its handshake's window).
    :ivar receive_mss: IP packet size of the peer's full packets.
    :ivar receive_window: packets that we are ready to buffer.
    :ivar congestion: the strategy; a new default one when None.
    :ivar hold_data_until: time before which no data packet leaves.
    :ivar statistics: counters.
    """

    now: float
    local_id: int
    peer_id: int
    send_isn: int
    receive_isn: int
    send_mss: int
    peer_window: int
    receive_mss: int = 1500
    receive_window: int = 8192
    congestion: object | None = None
    hold_data_until: float = 0.0
    statistics: Statistics = field(default_factory=Statistics)

    def receive(self, data: bytes | memoryview, segment_size: int, now: float) -> None:
        """Take one or more datagrams from the peer's address that came back to back.

        Whatever is wrong with them is ignored and counted; nothing is raised.

        :param data: packets of *segment_size* bytes; the last may be shorter.
        :param segment_size: 1 or more; ``len(data)`` for a single datagram.
        :param now: seconds.
        """
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Queue bytes for the peer; they leave with the next :meth:`datagrams`.

        Nothing happens once the connection is closing or closed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Send what was written, wait until all is acknowledged, then say SHUTDOWN three times."""
        raise NotImplementedError

    def abort(self) -> None:
        """Forget what was written and say SHUTDOWN at once."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Give out no more data; the window that the peer is told closes as data arrives."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Give out data again, and tell the peer about the room."""
        raise NotImplementedError

    def send_keep_alive(self) -> None:
        """Let the next :meth:`datagrams` hold a keep-alive (shows a peer that it was heard)."""
        raise NotImplementedError

    def datagrams(self, now: float, limit: int = MAX_DATAGRAMS) -> list[Burst]:
        """Give what may be sent now.

        :param now: seconds.
        :param limit: data packets at most; what is left makes :meth:`deadline` due at once.
        """
        raise NotImplementedError

    def deadline(self) -> float | None:
        """Tell when :meth:`timer` wants to be called next; None when :attr:`finished`."""
        raise NotImplementedError

    def timer(self, now: float) -> None:
        """Note that the time is *now*; calling early or late is harmless."""
        raise NotImplementedError

    def events(self) -> list[Event]:
        """Give, and forget, what happened since the last call, oldest first."""
        raise NotImplementedError

    @property
    def unacknowledged(self) -> int:
        """Bytes taken by :meth:`write` that the peer has not acknowledged yet."""
        raise NotImplementedError

    @property
    def unsent(self) -> int:
        """Bytes taken by :meth:`write` that have not left yet."""
        raise NotImplementedError

    @property
    def writable(self) -> bool:
        """Whether :attr:`unsent` is below the high-water mark (a producer may go on)."""
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """Whether nothing more will be sent or answered: forget the id."""
        raise NotImplementedError
