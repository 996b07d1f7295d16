"""Where a client is that comes through a relay: only the relay knows, and only as far as it is believed."""

from dataclasses import dataclass, field
from typing import ClassVar

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from wavesync.stun.buckets import source_key

__all__ = ["RelayedAddress", "kind_of", "source_of"]

_KINDS = {"TCP": "tcp", "UDP": "udp", "RELAY": "relay"}


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class RelayedAddress:
    """A client's address on the word of a relay.

    :ivar host: numeric.
    :ivar port: its port there.
    :ivar relay: which relay says so.
    :ivar source: what counts as one source: the address at this relay.  Nothing that a relay says
        counts for those who come directly, or through another relay.
    """

    type: ClassVar[str] = "RELAY"

    host: str
    port: int
    relay: str
    source: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the source."""
        object.__setattr__(self, "source", f"{source_key(self.host).hex()} by {self.relay}")


def source_of(address: IAddress) -> str:
    """Return what counts as the source of a path from *address*."""
    host: str = getattr(address, "host", "")
    return getattr(address, "source", host)


def kind_of(address: IAddress) -> str:
    """Return what carries a path from *address*: ``tcp``, ``udp``, ``relay``, or "" for others."""
    return _KINDS.get(getattr(address, "type", ""), "")
