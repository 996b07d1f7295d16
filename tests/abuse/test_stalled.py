"""Pairs both of whose ends stop reading cost a relay what they may, and no more."""

import os
import socket
import struct
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.abuse.stalled import WAYS, StalledRelay, figure, most
from wavesync.relay.flow import Flow
from wavesync.relay.pair import MAX_HELD_ONE_WAY
from wavesync.relay.plumbing import Plumbing

PAIRS = 6


class StalledTests(SynchronousTestCase):
    """A relay in a process of its own, whose memory is looked at from outside."""

    log = Logger()

    def test_memory(self) -> None:
        """A pair that is stuck both ways takes no more than it may, copied or over TLS."""
        for way in ("copied", "TLS"):
            splice, secured = WAYS[way]
            relay = StalledRelay(Path(self.mktemp()), splice, secured)
            with relay.running():
                figures = figure(relay, PAIRS)
            self.log.info("{way}: {figures}", way=way, figures=figures)
            self.assertGreater(figures.sent, 2 * MAX_HELD_ONE_WAY)
            self.assertLess(figures.a_pair, most(way, PAIRS), f"{way}: {figures}")


class _Side:
    """A side of a pair."""

    broke = "broke"

    def __init__(self, sock: Any) -> None:
        self.socket = sock

    def read_off(self) -> None:
        """Read no more."""

    write_on = read_off


class _Short:
    """A socket that says it has room, and takes nothing: its system is short of memory."""

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        """Much room."""
        return struct.pack("=12xI4xI12x", 1 << 24, 0)

    def send(self, data: object) -> int:
        """No."""
        raise BlockingIOError


class _Pair:
    """A pair without limits."""

    shaper = None

    def __init__(self) -> None:
        self.plumbing = Plumbing(kernel=False)

    def burst(self) -> int:
        """Much at a time."""
        return 1 << 20

    def touch(self) -> float:
        """The time."""
        return 0.0


class ShortOfMemoryTests(SynchronousTestCase):
    """A kernel that takes less than it has said."""

    def test_held(self) -> None:
        """No more is read than may be held, though there seems to be room for it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        for each in (ours, theirs):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sent = 0
        try:
            while True:
                sent += theirs.send(os.urandom(8192))
        except BlockingIOError:
            pass
        self.assertGreater(sent, MAX_HELD_ONE_WAY + 8192)
        flow: Any = Flow(_Pair(), _Side(ours), _Side(_Short()), b"")  # type: ignore[arg-type]
        flow._last = MAX_HELD_ONE_WAY
        flow.pull()
        self.assertEqual((flow.held, flow.moved), (MAX_HELD_ONE_WAY, MAX_HELD_ONE_WAY))
