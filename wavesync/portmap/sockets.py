"""UDP sockets on the reactor: one to a router, one to search with, one that hears announcements."""

import socket
from collections.abc import Callable
from typing import Protocol, TypeAlias

from twisted.internet.interfaces import IReactorFDSet
from twisted.python.failure import Failure

from wavesync.datagrams import WOULD_BLOCK, DatagramSocket
from wavesync.interfaces import Address
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.words import PortMapError, Reason

__all__ = [
    "ANNOUNCEMENTS",
    "MAX_DATAGRAM",
    "MAX_TURN",
    "Datagrams",
    "Received",
    "SocketDatagrams",
    "hear_announcements",
    "link_to",
    "open_search",
]

MAX_DATAGRAM = 2048
"""Bytes of a datagram that are read; no protocol here has longer ones."""

MAX_TURN = 16
"""Datagrams taken in one turn of the reactor."""

ANNOUNCEMENTS = 5350
"""Where routers announce themselves, to everybody on the link (RFC 6886 section 3.2.1, RFC 6887)."""

_HOPS = 2

Received: TypeAlias = Callable[[bytes, Address], None]
"""Takes a datagram and where it came from."""


class Datagrams(Protocol):
    """What sends and receives datagrams."""

    def send(self, data: bytes, destination: Address | None = None) -> None:
        """Send, or drop; never raises for what the network does.

        :param destination: ``None`` where there is but one.
        """

    def close(self) -> None:
        """Close it; nothing is received any more.  Idempotent."""


class SocketDatagrams(DatagramSocket):
    """A UDP socket.

    :param reactor: watches it.
    :param sock: set up; taken over.
    :param received: takes what comes.
    :param refused: told when the other side says that nobody is there.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        sock: socket.socket,
        received: Received,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(reactor, sock, "portmap", MAX_TURN)
        self._received = received
        self._refused = refused

    def send(self, data: bytes, destination: Address | None = None) -> None:
        """Send it, or drop it."""
        if self.closed:
            return
        try:
            if destination is None:
                self.socket.send(data)
            else:
                self.socket.sendto(data, destination)
        except ConnectionRefusedError:
            self._refused()
        except OSError:
            # As with any packet that gets lost: whoever waits for an answer notices.
            return

    def take(self) -> bool:
        """Read one datagram."""
        try:
            data, source = self.socket.recvfrom(MAX_DATAGRAM)
        except OSError as problem:
            if problem.errno not in WOULD_BLOCK:
                self._refused()
            return False
        self._received(data, (source[0].partition("%")[0], source[1]))
        return True

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave it up (IReadDescriptor)."""
        if not self.closed:
            self.close()
            self._refused()


def link_to(
    reactor: IReactorFDSet,
    gateway: Gateway,
    port: int,
    received: Received,
    refused: Callable[[], None],
) -> Datagrams:
    """Open a socket from this host's address on the gateway's network: only the gateway is heard.

    :raises PortMapError: there is no way there.
    """
    sock = socket.socket(
        socket.AF_INET6 if ":" in gateway.router else socket.AF_INET, socket.SOCK_DGRAM
    )
    try:
        sock.bind((gateway.own, 0))
        if ":" in gateway.router:
            # Most IPv6 routers are known by an address that holds on one link only.
            scope = socket.if_nametoindex(gateway.interface)
            sock.connect((gateway.router, port, 0, scope))
        else:
            sock.connect((gateway.router, port))
    except OSError as problem:
        sock.close()
        raise PortMapError(
            Reason.NO_ANSWER, f"{gateway.router} cannot be reached: {problem.strerror}"
        ) from None
    return SocketDatagrams(reactor, sock, received, refused)


def open_search(reactor: IReactorFDSet, own: str, received: Received) -> Datagrams:
    """Open a socket that sends to groups on the network of one of this host's IPv4 addresses.

    :raises PortMapError: this host does not have that address.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((own, 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
    except OSError as problem:
        sock.close()
        raise PortMapError(
            Reason.NO_ANSWER, f"nothing can be sent from {own}: {problem.strerror}"
        ) from None
    return SocketDatagrams(reactor, sock, received)


def hear_announcements(
    reactor: IReactorFDSet, heard: Callable[[str], None]
) -> list[SocketDatagrams]:
    """Hear what routers announce, as far as this host lets us.

    :param heard: told who has announced something; what it says is not looked at.
    """

    def received(data: bytes, source: Address) -> None:
        heard(source[0])

    opened = []
    for family, group in ((socket.AF_INET, "224.0.0.1"), (socket.AF_INET6, "ff02::1")):
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            continue
        try:
            # Others on this host hear them, too.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("::", ANNOUNCEMENTS))
            else:
                sock.bind((group, ANNOUNCEMENTS))
        except OSError:
            sock.close()
            continue
        opened.append(SocketDatagrams(reactor, sock, received))
    return opened
