"""What a connection tells its owner."""

import enum
from dataclasses import dataclass

__all__ = ["CloseReason", "Closed", "DataReceived", "Event", "SendBufferLow"]


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
