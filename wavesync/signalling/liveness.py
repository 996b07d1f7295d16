"""Has the kernel notice within seconds that the other end of a TCP connection is gone.

Without it a connection whose router has forgotten it, or whose other end has lost power, stands for
hours.  Probes are empty segments, which no program sees: 40 bytes every few seconds.
"""

import socket

from twisted.logger import Logger

__all__ = ["PROBE_AFTER", "PROBE_INTERVAL", "USER_TIMEOUT", "notice_death"]

PROBE_AFTER = 5
"""Seconds without anything received after which the other end is probed (TCP_KEEPIDLE)."""

PROBE_INTERVAL = 3
"""Seconds between probes that are not answered (TCP_KEEPINTVL)."""

USER_TIMEOUT = 7
"""Seconds without an acknowledgement, of probes or of data, after which the connection is over
(TCP_USER_TIMEOUT, RFC 5482).  For probes it is looked at when the next is due: 8 s after the last sign of
life.  When data is sent until then it counts anew from there: 15 s at the latest."""

_PROBES = 3  # where there is no user timeout
_OPTIONS = (
    ("TCP_KEEPIDLE", PROBE_AFTER),
    ("TCP_KEEPALIVE", PROBE_AFTER),  # what macOS calls the same
    ("TCP_KEEPINTVL", PROBE_INTERVAL),
    ("TCP_KEEPCNT", _PROBES),
    ("TCP_USER_TIMEOUT", USER_TIMEOUT * 1000),
)
_log = Logger()


def notice_death(transport: object) -> None:
    """Set the options, as far as the system has them.

    :param transport: a connection; one that has no TCP socket is left alone.
    """
    handle = getattr(transport, "getHandle", None)
    if handle is None:
        return
    connection: socket.socket = handle()
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            number = getattr(socket, name, None)
            if number is not None:
                connection.setsockopt(socket.IPPROTO_TCP, number, value)
    except OSError as error:
        # It works without, only slower.
        _log.debug("no probes for this connection: {why}", why=error)
