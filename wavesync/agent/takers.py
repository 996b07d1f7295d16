"""Who is told what a mediator says of clients, over the link to it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message

if TYPE_CHECKING:
    from wavesync.agent.link import Link

__all__ = ["IntroductionTaker", "RelayTaker", "StreamTaker"]


class IntroductionTaker(Protocol):
    """Who is told what a mediator says of clients."""

    def requested(self, link: "Link", message: Message) -> None:
        """A ``connectionRequested`` indication came."""

    def updated(self, link: "Link", message: Message) -> None:
        """A ``connectionUpdate`` indication came."""


class StreamTaker(Protocol):
    """Who is told of clients that ask for a TCP connection which both sides open."""

    def requested(self, link: "Link", message: Message) -> None:
        """A ``streamRequested`` indication came."""


class RelayTaker(Protocol):
    """Who parks at relays."""

    @property
    def parked(self) -> tuple[ParkedAt, ...]:
        """Where this server has parked now."""

    def told(self, mediator: Mediator, relays: Sequence[Relay]) -> None:
        """A mediator knows these relays, whatever it said before."""

    def doubt(self) -> None:
        """A connection of this server has died unnoticed: others may have, too."""
