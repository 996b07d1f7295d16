"""UDP sockets that send to a multicast group, or belong to it, on chosen interfaces.

One socket a family serves all interfaces; the kernel says with each datagram which one it came by, and
is told with each that is sent.
"""

import errno
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.internet.interfaces import IReactorFDSet

from wavesync.datagrams import WOULD_BLOCK, DatagramSocket
from wavesync.interfaces import Address
from wavesync.lan.links import Link

__all__ = [
    "GROUP",
    "GROUP6",
    "HOPS",
    "HOPS6",
    "PORT",
    "Datagram",
    "GroupSocket",
    "open_asking",
    "open_listening",
]

GROUP, GROUP6 = "239.255.87.76", "ff02::5753:4c"
"""The groups: administratively scoped (RFC 2365 section 6.1), and link-local (RFC 4291 section 2.7)."""

PORT = 3347
"""Where agents listen."""

HOPS, HOPS6 = 1, 255
"""Hops that a query has left when it arrives.  No router passes it on: an IPv4 query has but one hop,
and one to a link-local group stays on its link, which its untouched hop limit shows (RFC 5082)."""

_MAX_DATAGRAM = 512
_MAX_ANCILLARY = 256
_MAX_TURN = 32

# Python 3.11 has no name for these two (Linux: ip(7)).
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_IP_RECVTTL = getattr(socket, "IP_RECVTTL", 12)
_MREQN = struct.Struct("=4s4si")  # struct ip_mreqn, and struct in_pktinfo turned round
_PKTINFO6 = struct.Struct("=16si")

Ancillary: TypeAlias = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Datagram:
    """What came.

    :ivar data: its bytes.
    :ivar source: where from; a link-local host without its scope.
    :ivar scope: of that host, 0 for all others.
    :ivar index: the interface it came by, 0 if that is not known.
    :ivar hops: that it had left, -1 if that is not known.
    :ivar multicast: whether it was sent to a group.
    """

    data: bytes
    source: Address
    scope: int
    index: int
    hops: int
    multicast: bool

    @property
    def host(self) -> str:
        """Where from, in such a way that one can connect to it."""
        host = self.source[0]
        return f"{host}%{socket.if_indextoname(self.scope)}" if self.scope else host


class GroupSocket(DatagramSocket):
    """A UDP socket of one family on the reactor.

    :param sock: set up; taken over.
    :param received: takes what comes.
    :ivar ipv6: its family.
    """

    def __init__(
        self, reactor: IReactorFDSet, sock: socket.socket, received: Callable[[Datagram], None]
    ) -> None:
        super().__init__(reactor, sock, "lan", _MAX_TURN)
        self.ipv6 = sock.family == socket.AF_INET6
        self._received = received

    def ask(self, data: bytes, link: Link) -> None:
        """Send to the group on a link, once from each IPv4 network; what cannot be sent is lost."""
        for host in ("",) if self.ipv6 else link.hosts:
            try:
                if self.ipv6:
                    self.socket.sendto(data, (GROUP6, PORT, 0, link.index))
                    continue
                where = _MREQN.pack(bytes(4), socket.inet_aton(host), link.index)
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
                self.socket.sendto(data, (GROUP, PORT))
            except OSError:
                continue

    def reply(self, data: bytes, to: Datagram) -> None:
        """Send to where a datagram came from, by the interface it came by; what cannot be sent is lost."""
        ancillary: Ancillary = []
        address: tuple[Any, ...] = to.source
        if self.ipv6:
            address = (*to.source, 0, to.scope)
            if to.index:
                told = _PKTINFO6.pack(bytes(16), to.index)
                ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, told)]
        elif to.index:
            told = struct.pack("=i4s4s", to.index, bytes(4), bytes(4))
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, told)]
        try:
            self.socket.sendmsg([data], ancillary, 0, address)
        except OSError:
            return

    def join(self, link: Link) -> bool:
        """Belong to the group on a link; tells whether that is so now."""
        return self._member(link, socket.IPV6_JOIN_GROUP, socket.IP_ADD_MEMBERSHIP)

    def leave(self, link: Link) -> None:
        """Belong to it no more."""
        self._member(link, socket.IPV6_LEAVE_GROUP, socket.IP_DROP_MEMBERSHIP)

    def take(self) -> bool:
        """Read one datagram."""
        try:
            data, ancillary, _flags, source = self.socket.recvmsg(_MAX_DATAGRAM, _MAX_ANCILLARY)
        except OSError as problem:
            # Else it is an ICMP error for what was sent before.
            return problem.errno not in WOULD_BLOCK
        self._received(_datagram(data, ancillary, source))
        return True

    def _member(self, link: Link, option6: int, option: int) -> bool:
        try:
            if self.ipv6:
                group6 = socket.inet_pton(socket.AF_INET6, GROUP6)
                where = _PKTINFO6.pack(group6, link.index)
                self.socket.setsockopt(socket.IPPROTO_IPV6, option6, where)
            else:
                where = _MREQN.pack(socket.inet_aton(GROUP), bytes(4), link.index)
                self.socket.setsockopt(socket.IPPROTO_IP, option, where)
        except OSError as problem:
            return problem.errno == errno.EADDRINUSE  # it does already
        return True


def _datagram(data: bytes, ancillary: Ancillary, source: tuple[Any, ...]) -> Datagram:
    index, hops, multicast = 0, -1, False
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            destination, index = _PKTINFO6.unpack(value)
            multicast = destination[0] == 0xFF
        elif level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            index, destination = struct.unpack("=i4x4s", value)
            multicast = destination[0] >> 4 == 0xE
        elif (level, kind) in (
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
            (socket.IPPROTO_IP, socket.IP_TTL),
        ):
            (hops,) = struct.unpack("=i", value)
    scope = source[3] if len(source) > 3 else 0
    return Datagram(data, (source[0].partition("%")[0], source[1]), scope, index, hops, multicast)


def open_asking(
    reactor: IReactorFDSet, ipv6: bool, received: Callable[[Datagram], None]
) -> GroupSocket | None:
    """Open a socket that asks; ``None`` where this host does not have the family."""

    def prepare(sock: socket.socket) -> None:
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS6)
            sock.bind(("::", 0))
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOPS)
            sock.bind(("", 0))

    try:
        return _open(reactor, ipv6, received, prepare)
    except OSError:
        return None


def open_listening(
    reactor: IReactorFDSet, ipv6: bool, received: Callable[[Datagram], None]
) -> GroupSocket:
    """Open a socket that listens beside those of other agents on this host; it has joined nothing yet.

    :raises OSError: this host does not have the family, or somebody else has the port for himself.
    """

    def prepare(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "linux":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            sock.bind(("::", PORT))
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            sock.bind((GROUP, PORT))

    return _open(reactor, ipv6, received, prepare)


def _open(
    reactor: IReactorFDSet,
    ipv6: bool,
    received: Callable[[Datagram], None],
    prepare: Callable[[socket.socket], None],
) -> GroupSocket:
    sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        prepare(sock)
    except OSError:
        sock.close()
        raise
    return GroupSocket(reactor, sock, received)
