"""What clients may open: the services of a server, by name."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from wavesync.identity.verify import Peer

__all__ = ["NamedServices", "Services"]


class Services(Protocol):
    """Finds what a client asks for."""

    def __call__(self, name: str, peer: Peer) -> IStreamClientEndpoint | IProtocolFactory | None:
        """Give the endpoint to dial, or a factory whose protocol serves the session itself.

        None means that there is no such service for this client.
        """


class NamedServices:
    """Services by name, the same for every client.

    :param table: endpoint or factory of each name.
    """

    def __init__(self, table: Mapping[str, IStreamClientEndpoint | IProtocolFactory]) -> None:
        self._table = dict(table)

    def __call__(self, name: str, peer: Peer) -> IStreamClientEndpoint | IProtocolFactory | None:
        """Look one up."""
        return self._table.get(name)

    def names(self, peer: Peer) -> Sequence[str]:
        """All names, sorted."""
        return sorted(self._table)
