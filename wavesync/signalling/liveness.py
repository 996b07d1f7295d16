"""Has the kernel notice within seconds that the other end of a TCP connection is gone.

Without it a connection whose router has forgotten it, or whose other end has lost power, stands for
hours.  Probes are empty segments, which no program sees: 40 bytes every few seconds.
"""

import socket
import sys

from twisted.logger import Logger

__all__ = [
    "LEG_PROBE_AFTER",
    "LEG_PROBE_INTERVAL",
    "PROBE_AFTER",
    "PROBE_INTERVAL",
    "USER_TIMEOUT",
    "notice_death",
    "notice_death_of",
    "unanswered",
]

PROBE_AFTER = 5
"""Seconds without anything received after which the other end is probed (TCP_KEEPIDLE)."""

PROBE_INTERVAL = 3
"""Seconds between probes that are not answered (TCP_KEEPINTVL)."""

LEG_PROBE_AFTER = 2
"""The same for a server's leg, at the server's end: until its router's restart is noticed, no client
can be told to it."""

LEG_PROBE_INTERVAL = 1
"""The same between probes that are not answered."""

USER_TIMEOUT = 7
"""Seconds without an acknowledgement, of probes or of data, after which the connection is over
(TCP_USER_TIMEOUT, RFC 5482).  For probes it is looked at when the next is due: 8 s after the last sign of
life.  When data is sent until then it counts anew from there: 15 s at the latest."""

_PROBES = 3  # where there is no user timeout
_INFO_SIZE = 8
_RETRANSMITS, _UNANSWERED_PROBES = 2, 3  # where they are in Linux's struct tcp_info
_log = Logger()


def notice_death(
    transport: object,
    *,
    after: int = PROBE_AFTER,
    interval: int = PROBE_INTERVAL,
    user_timeout: int | None = USER_TIMEOUT,
) -> None:
    """Set the options, as far as the system has them.

    :param transport: a connection; one that has no TCP socket is left alone.
    :param after: seconds without anything received after which the other end is probed.
    :param interval: seconds between probes that are not answered.
    :param user_timeout: seconds without an acknowledgement after which the connection is over, even if
        the other end is there and does not read; None for as long as TCP has patience.
    """
    connection = _socket_of(transport)
    if connection is not None:
        notice_death_of(connection, after=after, interval=interval, user_timeout=user_timeout)


def notice_death_of(
    connection: socket.socket,
    *,
    after: int = PROBE_AFTER,
    interval: int = PROBE_INTERVAL,
    user_timeout: int | None = USER_TIMEOUT,
) -> None:
    """Do the same for a socket, which may be one that listens where connections inherit its options."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", after),
            ("TCP_KEEPALIVE", after),  # what macOS calls the same
            ("TCP_KEEPINTVL", interval),
            ("TCP_KEEPCNT", _PROBES),
            ("TCP_USER_TIMEOUT", None if user_timeout is None else user_timeout * 1000),
        ):
            number = getattr(socket, name, None)
            if number is not None and value is not None:
                connection.setsockopt(socket.IPPROTO_TCP, number, value)
    except OSError as error:
        # It works without, only slower.
        _log.debug("no probes for this connection: {why}", why=error)


def unanswered(transport: object) -> int:
    """Count the probes, and the repetitions of data, that the other end has not acknowledged.

    One that is under way counts, too.

    :returns: 0 as well where the system does not tell (it does on Linux).
    """
    connection = _socket_of(transport)
    if connection is None or not sys.platform.startswith("linux"):
        return 0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:
        return 0
    return info[_RETRANSMITS] + info[_UNANSWERED_PROBES] if len(info) == _INFO_SIZE else 0


def _socket_of(transport: object) -> socket.socket | None:
    handle = getattr(transport, "getHandle", None)
    return None if handle is None else handle()
