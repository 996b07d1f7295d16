"""UDP for both address families on one port number, as agents and clients want it."""

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet

from wavesync.udt.carrier import SocketCarrier

__all__ = ["open_carriers"]


def open_carriers(reactor: IReactorFDSet, port: int = 0) -> list[SocketCarrier]:
    """Bind UDP for IPv4 and, where the host has it, for IPv6 on the same port number.

    :param port: 0 for any free one.
    :returns: the IPv4 carrier first; one alone when the other family cannot be had.
    :raises twisted.internet.error.CannotListenError: not even IPv4 can be had.
    """
    first = SocketCarrier(reactor, port)
    try:
        return [first, SocketCarrier(reactor, first.address[1], "::")]
    except (CannotListenError, OSError):
        return [first]
