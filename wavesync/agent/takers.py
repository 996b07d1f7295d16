"""Who is told what a mediator says of clients, over the link to it."""

from typing import TYPE_CHECKING, Protocol

from wavesync.stun.message import Message

if TYPE_CHECKING:
    from wavesync.agent.link import Link

__all__ = ["IntroductionTaker", "StreamTaker"]


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
