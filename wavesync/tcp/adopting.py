"""Handing a connected socket of ours over to Twisted."""

import socket

from twisted.internet.error import ConnectionLost, NoProtocol
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorSocket
from zope.interface import implementer

__all__ = ["adopt"]


@implementer(IProtocolFactory)
class _Noting:
    """Notes which protocol another factory builds."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self.built: IProtocol | None = None
        self._factory = factory

    def doStart(self) -> None:
        """Nothing begins with it (IProtocolFactory)."""

    def doStop(self) -> None:
        """Nothing ends with it (IProtocolFactory)."""

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """Have it built (IProtocolFactory)."""
        self.built = self._factory.buildProtocol(addr)
        return self.built


def adopt(reactor: IReactorSocket, made: socket.socket, factory: IProtocolFactory) -> IProtocol:
    """Make Twisted's connection of *made*, which is closed here whatever happens: Twisted copies it.

    :param factory: its protocol is connected when this returns.
    :raises ConnectionLost: the peer is gone already.
    :raises NoProtocol: the factory wants no connection now.
    """
    noting = _Noting(factory)
    with made:
        try:
            made.getpeername()
        except OSError as error:
            raise ConnectionLost(error.strerror) from None
        family = socket.AddressFamily(made.family)
        reactor.adoptStreamConnection(made.fileno(), family, noting)  # type: ignore[arg-type]
    if noting.built is None:
        raise NoProtocol
    return noting.built
