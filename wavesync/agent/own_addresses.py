"""Where an agent accepts: the port, and the addresses that it tells mediators."""

from collections.abc import Iterable, Sequence
from typing import cast

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTCP
from twisted.internet.protocol import ServerFactory

from wavesync.interfaces import Address
from wavesync.signalling.numbers import MAX_ADDRESSES

__all__ = ["listen_tcp", "own_addresses"]


def listen_tcp(reactor: IReactorTCP, port: int, sessions: IProtocolFactory) -> IListeningPort:
    """Listen on both families where the host has both, on IPv4 elsewhere.

    :raises CannotListenError: the port cannot be had.
    """
    # listenTCP wants no more than IProtocolFactory, whatever its annotation says.
    factory = cast(ServerFactory, sessions)
    try:
        return reactor.listenTCP(port, factory, interface="::")
    except CannotListenError:
        return reactor.listenTCP(port, factory)


def own_addresses(
    hosts: Iterable[str],
    tcp_port: int,
    udp_ports: Sequence[Address],
    public: Sequence[Address],
    forwarded: tuple[Sequence[Address], Sequence[Address]],
) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """Give TCP addresses and UDP addresses, together no more than can be told.

    :param hosts: this host's own addresses, the likeliest to be of use first.
    :param udp_ports: the UDP port in each family that it has.
    :param public: where a router leads TCP here, as somebody has set up.
    :param forwarded: the same as the agent has had it set up: TCP, UDP.
    """
    families = {":" in address[0]: address[1] for address in udp_ports}
    tcp = list(dict.fromkeys((*public, *forwarded[0])))
    udp = list(forwarded[1])
    for host in hosts:
        if len(tcp) + len(udp) + 2 > MAX_ADDRESSES:
            break
        tcp.append((host, tcp_port))
        if (":" in host) in families:
            udp.append((host, families[":" in host]))
    return tuple(dict.fromkeys(tcp)), tuple(dict.fromkeys(udp))
