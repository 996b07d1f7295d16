"""Tests for :mod:`wavesync.signalling.liveness`."""

import socket
import sys
import time

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from wavesync.signalling.liveness import (
    LEG_PROBE_AFTER,
    LEG_PROBE_INTERVAL,
    PROBE_AFTER,
    PROBE_INTERVAL,
    USER_TIMEOUT,
    notice_death,
    unanswered,
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

    def test_legs(self) -> None:
        """A server's end probes more often."""
        with socket.socket() as handle:
            transport = SocketTransport(handle)
            notice_death(transport, after=LEG_PROBE_AFTER, interval=LEG_PROBE_INTERVAL)
            number = getattr(socket, "TCP_KEEPIDLE", None)
            if number is not None:
                idle = handle.getsockopt(socket.IPPROTO_TCP, number)
                self.assertEqual(idle, LEG_PROBE_AFTER)
        self.assertLess(LEG_PROBE_AFTER + LEG_PROBE_INTERVAL, PROBE_AFTER)

    def test_unanswered(self) -> None:
        """The kernel tells that data was sent again: here a SYN, to a listener that takes no more."""
        with socket.socket() as full, socket.socket() as waits:
            self.assertEqual(unanswered(SocketTransport(waits)), 0)
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for each in (*fillers, waits):
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            end = time.monotonic() + 20
            while sys.platform.startswith("linux") and not unanswered(SocketTransport(waits)):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            for each in fillers:
                each.close()

    def test_no_tcp(self) -> None:
        """What has no TCP socket is left alone."""
        notice_death(StringTransport())
        self.assertEqual(unanswered(StringTransport()), 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            notice_death(SocketTransport(handle))
            self.assertEqual(unanswered(SocketTransport(handle)), 0)
