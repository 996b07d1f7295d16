"""Whether the other end of a joined leg is still there, as far as the kernel can tell.

A leg on which nothing is sent is probed by TCP keep-alive.  While bytes wait to be acknowledged there
are no such probes, and TCP itself goes on for a quarter of an hour: then it is looked at how long
nothing has been acknowledged.  TCP_USER_TIMEOUT would do it, but it also ends connections whose other
end is there and merely does not read: a film that somebody has paused.
"""

import socket
import struct
import sys

from wavesync.signalling.liveness import notice_death, notice_death_of

__all__ = [
    "IDLE_BEFORE_PROBES",
    "SILENCE",
    "inherits",
    "keep_alive",
    "prepare",
    "seems_dead",
    "socket_seems_dead",
]

IDLE_BEFORE_PROBES = 10
"""Seconds without anything received after which the other end is probed (TCP_KEEPIDLE)."""

SILENCE = 15.0
"""Seconds without an acknowledgement, while one is waited for, after which a leg seems dead."""

_TCP_CLOSE = 7  # a state of Linux's net/tcp_states.h, the first byte of struct tcp_info
_RETRANSMITS, _UNANSWERED_PROBES = 2, 3  # bytes of the same
_LAST_ACK_AT = 56  # where tcpi_last_ack_recv is in Linux's struct tcp_info


def keep_alive(transport: object) -> None:
    """Have the kernel probe the other end of an idle connection, and no more than that.

    :param transport: a TCP connection; what is none is left alone.
    """
    notice_death(transport, after=IDLE_BEFORE_PROBES, user_timeout=None)


def prepare(listening: socket.socket) -> None:
    """Set the options of connections on the socket at which they arrive: on Linux they inherit them.

    That saves five system calls for each of them.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    notice_death_of(listening, after=IDLE_BEFORE_PROBES, user_timeout=None)


def inherits() -> bool:
    """Tell whether what :func:`prepare` has done is enough."""
    return sys.platform.startswith("linux")


def seems_dead(transport: object) -> bool:
    """Tell whether a leg that is a TCP connection seems dead (:func:`socket_seems_dead`)."""
    connected = getattr(transport, "connected", False)
    if not connected or not hasattr(transport, "getHandle"):
        return False
    return socket_seems_dead(transport.getHandle())


def socket_seems_dead(connection: socket.socket) -> bool:
    """Tell whether a leg was reset, or something was not acknowledged for :data:`SILENCE`.

    A reset comes to nobody's notice while neither reading nor writing is wanted: the other leg does
    not take what was read.

    An other end that acknowledges, and merely does not read, is alive.  It may seem dead for the one
    round trip that a probe of its closed window takes: only who seems dead twice is.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK_AT + 4)
    except OSError:
        return False
    if len(info) < _LAST_ACK_AT + 4:
        return False
    if info[0] == _TCP_CLOSE:
        return True
    if not info[_RETRANSMITS] + info[_UNANSWERED_PROBES]:
        return False
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_ACK_AT)
    return bool(milliseconds / 1000 >= SILENCE)
