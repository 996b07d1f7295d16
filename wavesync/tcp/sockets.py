"""TCP sockets that share a local port, and what the kernel says about connecting them.

A simultaneous open (RFC 9293 section 3.5) through NATs leaves from the very port whose mapping a
mediator has seen, while the connection to the mediator still uses it.  That takes ``SO_REUSEADDR``
and ``SO_REUSEPORT`` on every socket bound to the port, the first one included.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wavesync.interfaces import Address

__all__ = [
    "RETRIED",
    "dying",
    "ended_well",
    "limit_syns",
    "listening_socket",
    "shared_socket",
    "why_not",
]

RETRIED = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EADDRNOTAVAIL,
        errno.ETIMEDOUT,
    }
)
"""Errors that may pass: the other side's router knew nothing of us yet, or refused what came too
early; ``EADDRNOTAVAIL`` means that the same two ends are being connected already."""

_SYN_COUNT = 2
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73  # <linux/in.h>, <linux/in6.h>
_LEAST_HOPS = 2
_BACKLOG = 8

_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "refused",
    errno.ECONNABORTED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRINUSE: "the local port is taken by somebody else",
    errno.EADDRNOTAVAIL: "the local address is gone, or in use for the same connection",
    errno.ETIMEDOUT: "no answer",
}


def shared_socket(own: Address) -> socket.socket:
    """Make a non-blocking TCP socket bound to *own*, whose port others may share.

    :param own: a numeric host of this machine, ``0.0.0.0`` or ``::`` (IPv6 only), and a port;
        0 for one that nobody else has.
    :raises OSError: it cannot be bound.
    """
    host, _ = own
    with ExitStack() as on_failure:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        on_failure.callback(made.close)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(own)
        on_failure.pop_all()
        return made


def limit_syns(made: socket.socket) -> None:
    """Have the kernel repeat an unanswered SYN twice at most, where it can be told so."""
    option = getattr(socket, "TCP_SYNCNT", None)
    if option is not None:
        made.setsockopt(socket.IPPROTO_TCP, option, _SYN_COUNT)


@contextmanager
def dying(made: socket.socket, hops: int) -> Iterator[None]:
    """Have what leaves meanwhile get so many hops far, and its death be nothing to the connection.

    Whoever drops it may say so by ICMP, with the packet as it was then.  Linux can be told to believe
    no such word about packets that had come so near their end (RFC 5082); without that the connect
    would fail, and what was opened for its sequence numbers were of no use to another one.  Where that
    is not to be had, everything leaves as usual.
    """
    six = made.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    limit = socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL
    if not sys.platform.startswith("linux"):
        yield
        return
    made.setsockopt(level, _IPV6_MINHOPCOUNT if six else _IP_MINTTL, _LEAST_HOPS)
    made.setsockopt(level, limit, hops)
    try:
        yield
    finally:
        made.setsockopt(level, limit, -1)


def listening_socket(own: Address) -> socket.socket:
    """Make a socket like :func:`shared_socket` that listens.

    :raises OSError: it cannot be bound.
    """
    made = shared_socket(own)
    try:
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def ended_well(made: socket.socket) -> int:
    """Return 0 when a connect has succeeded, the error's number otherwise."""
    error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        # What ICMP said of an earlier SYN is told even where a later one, or the peer's, passed.
        try:
            made.getpeername()
        except OSError:
            return error
    return 0


def why_not(error: int) -> str:
    """A few words for a person on an error's number."""
    return _WORDS.get(error) or os.strerror(error)
