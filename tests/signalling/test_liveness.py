"""Tests for :mod:`wavesync.signalling.liveness`."""

import socket

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.liveness import (
    PROBE_AFTER,
    PROBE_INTERVAL,
    USER_TIMEOUT,
    notice_death,
)


class SocketTransport:
    """A transport that is nothing but a socket."""

    def __init__(self, handle: socket.socket) -> None:
        self.handle = handle

    def getHandle(self) -> socket.socket:
        return self.handle


class NoticeDeathTests(SynchronousTestCase):
    """A connection whose other end is gone does not stand for hours."""

    def test_options(self) -> None:
        """The kernel probes a silent connection, and gives up within fifteen seconds."""
        with socket.socket() as handle:
            notice_death(SocketTransport(handle))
            self.assertEqual(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
            for name, value in (
                ("TCP_KEEPIDLE", PROBE_AFTER),
                ("TCP_KEEPINTVL", PROBE_INTERVAL),
                ("TCP_USER_TIMEOUT", USER_TIMEOUT * 1000),
            ):
                number = getattr(socket, name, None)
                if number is not None:
                    self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, number), value)
        # When Linux looks: with each probe, or when data stays unacknowledged for so long.
        probes = range(PROBE_AFTER, 60, PROBE_INTERVAL)
        self.assertLessEqual(next(at for at in probes if at > USER_TIMEOUT) + USER_TIMEOUT, 15)

    def test_no_tcp(self) -> None:
        """What has no TCP socket is left alone."""
        notice_death(StringTransport())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            notice_death(SocketTransport(handle))
