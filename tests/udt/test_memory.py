"""What a connection costs while it does nothing: a server has thousands of these."""

import gc
import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.connection import Connection

MOST = 6000
"""Bytes, the objects of a link and its port aside."""


class IdleTests(SynchronousTestCase):
    """Connections that nothing has been sent over."""

    def test_connection(self) -> None:
        """An idle connection takes a few kilobytes: nothing is set aside for what may never come."""
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            made = [
                Connection(
                    now=float(number),
                    local_id=1_000_000 + number,
                    peer_id=2_000_000 + number,
                    send_isn=3_000_000 + number,
                    receive_isn=4_000_000 + number,
                    send_mss=1500,
                    peer_window=8192,
                    sparing=True,
                )
                for number in range(100)
            ]
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess((after - before) / len(made), MOST)
