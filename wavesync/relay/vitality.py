"""Whether the other end of a joined leg is still there, as far as the kernel can tell.

A leg on which nothing is sent is probed by TCP keep-alive.  While bytes wait to be acknowledged there
are no such probes, and TCP itself goes on for a quarter of an hour: then it is looked at how long
nothing has been acknowledged.  TCP_USER_TIMEOUT would do it, but it also ends connections whose other
end is there and merely does not read: a film that somebody has paused.
"""

import socket
import struct
import sys

from wavesync.signalling.liveness import notice_death, unanswered

__all__ = ["IDLE_BEFORE_PROBES", "SILENCE", "keep_alive", "seems_dead"]

IDLE_BEFORE_PROBES = 10
"""Seconds without anything received after which the other end is probed (TCP_KEEPIDLE)."""

SILENCE = 15.0
"""Seconds without an acknowledgement, while one is waited for, after which a leg seems dead."""

_TCP_CLOSE = 7  # a state of Linux's net/tcp_states.h, the first byte of struct tcp_info
_LAST_ACK_AT = 56  # where tcpi_last_ack_recv is in Linux's struct tcp_info


def keep_alive(transport: object) -> None:
    """Have the kernel probe the other end of an idle connection, and no more than that.

    :param transport: a TCP connection; what is none is left alone.
    """
    notice_death(transport, after=IDLE_BEFORE_PROBES, user_timeout=None)


def seems_dead(transport: object) -> bool:
    """Tell whether a leg was reset, or something was not acknowledged for :data:`SILENCE`.

    A reset comes to nobody's notice while neither reading nor writing is wanted: the other leg does
    not take what was read.

    An other end that acknowledges, and merely does not read, is alive.  It may seem dead for the one
    round trip that a probe of its closed window takes: only who seems dead twice is.
    """
    connected = getattr(transport, "connected", False)
    if not connected or not hasattr(transport, "getHandle") or not sys.platform.startswith("linux"):
        return False
    connection: socket.socket = transport.getHandle()
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK_AT + 4)
    except OSError:
        return False
    if len(info) < _LAST_ACK_AT + 4:
        return False
    if info[0] == _TCP_CLOSE:
        return True
    if not unanswered(transport):
        return False
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_ACK_AT)
    return bool(milliseconds / 1000 >= SILENCE)
