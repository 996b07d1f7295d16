"""What a session core tells its shell, in the order in which it happened."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from wavesync.session.frames import Options

__all__ = [
    "DataReceived",
    "EndAcknowledged",
    "EndReceived",
    "Event",
    "Finished",
    "Lost",
    "OpenAccepted",
    "OpenRefused",
    "OpenRequested",
    "PongReceived",
    "Side",
]


class Side(Enum):
    """Which end of a session this is."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class OpenRequested:
    """Server: the client asks for *service* ("" is a control session); accept or refuse it.

    :ivar options: those of OPEN that may be skipped.
    """

    service: str
    options: Options = ()


@dataclass(frozen=True, slots=True)
class OpenAccepted:
    """Client: the server opened the service."""


@dataclass(frozen=True, slots=True)
class OpenRefused:
    """Client: the server did not open the service; the session is over."""

    code: int
    sentence: str


@dataclass(frozen=True, slots=True)
class DataReceived:
    """The stream's next bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndReceived:
    """The peer writes nothing more, and all it wrote has come."""


@dataclass(frozen=True, slots=True)
class EndAcknowledged:
    """The peer has everything that we wrote, and knows that it was all."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Both directions ended in order; the session is over."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The session is over and bytes may be missing.

    :ivar sentence: why, for people.
    :ivar code: a number of :class:`wavesync.session.errors.Refusal`, 0 when the path broke.
    """

    sentence: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class PongReceived:
    """The answer to the PING with *token* came after *rtt* seconds."""

    token: bytes
    rtt: float


Event: TypeAlias = (
    OpenRequested
    | OpenAccepted
    | OpenRefused
    | DataReceived
    | EndReceived
    | EndAcknowledged
    | Finished
    | Lost
    | PongReceived
)
