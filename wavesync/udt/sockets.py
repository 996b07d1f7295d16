"""UDP sockets as carriers want them: never fragmenting, with buffers as large as the system gives.

The kernel charges a buffer with what a datagram takes in its memory: about 2300 bytes for one of
1472, and 1600 where it has merged them.  So 4 MiB (which Linux counts double) hold 3600 full
datagrams, and the 208 KiB that many systems give no more than 180.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet import error
from twisted.logger import Logger

__all__ = ["BUFFER_SIZE", "CHARGE", "fragmenting", "open_socket", "room", "size_buffers"]

BUFFER_SIZE = 4 * 1024 * 1024
"""Bytes asked for each of the socket's two kernel buffers."""

CHARGE = 2304
"""Bytes of the buffer, as Linux counts it (twice what was asked for), that a full datagram takes."""

# Linux's names, which the socket module lacks.
_SIZE_OPTIONS = {  # never fragment, and let us find the size (ip(7))
    socket.AF_INET: (socket.IPPROTO_IP, 10),  # IP_MTU_DISCOVER
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),  # IPV6_MTU_DISCOVER
}
_PROBE = 3  # IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE
_DONT = 0  # IP_PMTUDISC_DONT, IPV6_PMTUDISC_DONT
_BUFFERS = (  # the option, the one that only the privileged may use, what limits the former
    (socket.SO_RCVBUF, 33, "net.core.rmem_max"),
    (socket.SO_SNDBUF, 32, "net.core.wmem_max"),
)

_log = Logger()
_told: set[str] = set()


def open_socket(port: int, interface: str) -> socket.socket:
    """Bind a non-blocking UDP socket.

    :param port: 0 for any.
    :param interface: numeric local address; ``""`` and ``"0.0.0.0"`` mean every IPv4 one,
        ``"::"`` every IPv6 one (IPv6 only).
    :raises twisted.internet.error.CannotListenError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform == "linux":
            made.setsockopt(*_SIZE_OPTIONS[family], _PROBE)
        made.bind((interface, port))
    except OSError as problem:
        made.close()
        raise error.CannotListenError(interface, port, problem) from None
    size_buffers(made)
    return made


@contextmanager
def fragmenting(made: socket.socket) -> Iterator[None]:
    """Let what is sent meanwhile be fragmented; Linux only, elsewhere nothing changes.

    Of IPv4 any router may do it.  Of IPv6 only the sender may, and Linux makes pieces no smaller than
    the way is known to take, so there is no help against a router that says nothing.
    """
    option = _SIZE_OPTIONS[socket.AddressFamily(made.family)] if sys.platform == "linux" else None
    if option is not None:
        made.setsockopt(*option, _DONT)
    try:
        yield
    finally:
        if option is not None:
            made.setsockopt(*option, _PROBE)


def size_buffers(made: socket.socket) -> None:
    """Ask for :data:`BUFFER_SIZE` of both buffers; say once what limits them."""
    for option, privileged, name in _BUFFERS:
        made.setsockopt(socket.SOL_SOCKET, option, BUFFER_SIZE)
        if _given(made, option) >= BUFFER_SIZE:
            continue
        if sys.platform == "linux":
            try:
                made.setsockopt(socket.SOL_SOCKET, privileged, BUFFER_SIZE)
                continue
            except OSError:
                pass  # not privileged
        if name not in _told:
            _told.add(name)
            _log.info(
                "UDP socket buffers are limited to {given} bytes; {wanted} need {name} raised.",
                given=_given(made, option),
                wanted=BUFFER_SIZE,
                name=name,
            )


def room(made: socket.socket) -> int:
    """:return: full datagrams that wait in the receive buffer without loss, however they came."""
    return max(1, 2 * _given(made, socket.SO_RCVBUF) // CHARGE)


def _given(made: socket.socket, option: int) -> int:
    """Give the size of a buffer; Linux reports twice what was asked for."""
    size: int = made.getsockopt(socket.SOL_SOCKET, option)
    return size // 2 if sys.platform == "linux" else size
