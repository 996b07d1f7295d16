"""What a connection counts."""

from dataclasses import dataclass

__all__ = ["Statistics"]


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
