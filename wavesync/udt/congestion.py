"""How fast to send: the strategy interface.

A strategy is told what was delivered and what was lost, and sets two numbers that the sender obeys
before each burst: how many packets may be in flight, and how many may leave a second.
"""

import abc
from dataclasses import dataclass

__all__ = ["AckSample", "CongestionControl", "LossEvent", "PeerReport"]

INITIAL_WINDOW = 32
"""Packets in flight before anything is known."""

INITIAL_RATE = 3200.0
"""Packets a second before anything is known: the initial window in 10 ms."""


@dataclass(slots=True)
class AckSample:
    """News of deliveries: one for each ACK, and for each NAK (which tells what did arrive).

    :ivar now: seconds.
    :ivar acknowledged: packets that the ACK point moved by; 0 with a NAK.
    :ivar delivered: packets known to have arrived since the connection began.
    :ivar prior_delivered: the same, when the packet that this sample tells of was sent.
    :ivar in_flight: packets sent and neither known to have arrived nor known to be lost.
    :ivar rtt: seconds that this packet took; None when it cannot be told.
    :ivar app_limited: whether the sender had nothing (or was not allowed) to send then.
    :ivar exact: whether *delivered* is a count; false after a timeout, when it is a guess.
    :ivar arrival_rate: the peer's word 4, packets a second; 0 for unknown.
    :ivar capacity: the peer's word 5, packets a second; 0 for unknown.
    """

    now: float
    acknowledged: int
    delivered: int
    prior_delivered: int
    in_flight: int
    rtt: float | None
    app_limited: bool
    exact: bool = True
    arrival_rate: int = 0
    capacity: int = 0


@dataclass(slots=True)
class PeerReport:
    """What a valid ACK says besides its ACK point.

    :ivar window: free packets in the peer's buffer.
    :ivar arrival_rate: packets a second; 0 for unknown.
    :ivar capacity: packets a second; 0 for unknown.
    """

    window: int
    arrival_rate: int = 0
    capacity: int = 0


@dataclass(slots=True)
class LossEvent:
    """The peer asked for packets again.

    :ivar now: seconds.
    :ivar lost: packets not reported lost before.
    :ivar first: the lowest sequence number reported (extended).
    :ivar next: the sequence number that the next new packet will have (extended).
    """

    now: float
    lost: int
    first: int
    next: int


class CongestionControl(abc.ABC):
    """One connection's strategy.

    :ivar window: packets that may be in flight, 1 or more.
    :ivar rate: packets a second that may leave, more than 0; infinity for no pacing.
    """

    __slots__ = ("rate", "window")

    def __init__(self) -> None:
        """Begin with the initial window and rate."""
        self.window: float = INITIAL_WINDOW
        self.rate: float = INITIAL_RATE

    @abc.abstractmethod
    def on_ack(self, sample: AckSample) -> None:
        """Something was delivered."""

    @abc.abstractmethod
    def on_loss(self, loss: LossEvent) -> None:
        """Something was lost."""

    @abc.abstractmethod
    def on_timeout(self, now: float) -> None:
        """Nothing was heard for so long that all in flight is called lost."""
