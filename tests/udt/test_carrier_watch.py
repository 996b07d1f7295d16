"""Tests for :mod:`wavesync.udt.carrier` where the reactor waits in a :class:`wavesync.watch.Watch`."""

import select
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.udt.test_carrier import Full, Sink
from wavesync.interfaces import Burst
from wavesync.udt.carrier import SocketCarrier
from wavesync.watch import Watch

if not hasattr(select, "epoll"):
    raise SkipTest("no epoll here")

from twisted.internet.epollreactor import EPollReactor


def _reactor() -> Any:
    return EPollReactor()


class LeadTests(SynchronousTestCase):
    """Two carriers in a process whose reactor waits in a watch."""

    def setUp(self) -> None:
        """Let one of them talk to the other."""
        self.reactor = _reactor()
        self.addCleanup(self.reactor.removeAll)
        self.watch = Watch(self.reactor)
        self.assertTrue(self.watch.lead())
        self.one, self.other = (SocketCarrier(self.reactor, 0, "127.0.0.1") for _ in range(2))
        self.sinks = Sink(), Sink()
        for carrier, sink in zip((self.one, self.other), self.sinks, strict=True):
            carrier.start(sink)
            self.addCleanup(carrier.stop)

    def serve(self, done: Callable[[], object]) -> None:
        """Have the reactor turn until it is done."""
        for _turn in range(100):
            if done():
                return
            self.reactor.iterate(0.1)
        self.fail("it is not done")

    def test_receive(self) -> None:
        """What comes is taken without the reactor's way to a reader."""
        self.assertEqual(len(self.watch), 2)
        self.assertEqual(self.reactor._reads & {self.one.fileno(), self.other.fileno()}, set())
        self.one.send(Burst(b"abc", 3), self.other.address)
        self.serve(lambda: self.sinks[1].arrivals)
        self.assertEqual(self.sinks[1].data, b"abc")

    def test_congested(self) -> None:
        """What the kernel did not take leaves when it does, and nobody is told of room after that."""
        full = Full(0)
        self.one._outlet = full
        self.one.send(Burst(b"x", 1), self.other.address)
        full.room = 1
        self.serve(lambda: self.sinks[0].ready)
        self.assertEqual(full.sent, b"x")
        self.other.send(Burst(b"abc", 3), self.one.address)
        self.serve(lambda: self.sinks[0].arrivals)
        self.assertEqual(self.sinks[0].ready, 1)

    def test_stop(self) -> None:
        """A carrier that has stopped is watched no more, even if it stops when its turn has come."""
        self.other.stop()
        self.assertEqual(len(self.watch), 1)
        self.sinks[0].carrier_ready = self.one.stop  # type: ignore[method-assign]
        self.one._outlet = Full(0)
        self.one.send(Burst(b"x", 1), self.one.address)
        self.one._outlet = Full(1)
        self.serve(lambda: not len(self.watch))
        self.assertEqual(self.one.fileno(), -1)

    def test_failure(self) -> None:
        """A mistake of ours in taking datagrams is logged and ends that carrier, as Twisted has it."""

        def fail(arrivals: object) -> None:
            raise ZeroDivisionError

        self.sinks[1].bursts_received = fail  # type: ignore[method-assign]
        self.one.send(Burst(b"abc", 3), self.other.address)
        self.serve(lambda: self.other.fileno() == -1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.watch), 1)
