"""Many agents at one relay that is restarted, on a virtual clock."""

import random
from collections import Counter
from heapq import heappop, heappush
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.agent.relay_support import RELAY, parked_answer
from wavesync.agent.parking import MIN_IDLE, Parking
from wavesync.agent.parking_waits import ParkingWaits

AGENTS = 100
"""A thousand take a quarter of a minute: 1,500 connections a second at most after a short restart, 850
after a long one, and all are back within 8 and 14 s."""

DELAY = 0.02
"""Seconds of each half of a round trip."""

THERE = IPv4Address("TCP", "192.0.2.9", 3356)


class _FastClock(Clock):
    """Twisted's clock sorts all its calls for every new one, which takes minutes here."""

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._serial = 0

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> DelayedCall:
        """Have something called (IReactorTime)."""
        self._serial += 1
        call = DelayedCall(
            self.seconds() + delay, callable, args, kw, _nothing, _nothing, self.seconds
        )
        heappush(self._heap, (call.getTime(), self._serial, call))
        return call

    def advance(self, amount: float) -> None:
        """Let time pass."""
        self.rightNow += amount
        while self._heap and self._heap[0][0] <= self.rightNow:
            call = heappop(self._heap)[2]
            if call.active():
                call.called = 1
                call.func(*call.args, **call.kw)


def _nothing(call: DelayedCall) -> None:
    """Nobody keeps count of the calls."""


@implementer(IStreamClientEndpoint)
class _Relay:
    """Parks whatever comes, while it is up.

    :ivar accepts: connections taken, by second.
    :ivar attempts: attempts made, by second.
    """

    def __init__(self, clock: Clock) -> None:
        self.up = True
        self.accepts: Counter[int] = Counter()
        self.attempts: Counter[int] = Counter()
        self._clock = clock
        self._parked: dict[IProtocol, None] = {}
        self._answer = parked_answer(keep_alive=600.0)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Somebody dials (IStreamClientEndpoint)."""
        result: Deferred[IProtocol] = Deferred()
        self.attempts[int(self._clock.seconds())] += 1
        self._clock.callLater(DELAY, self._connected, protocolFactory, result)
        return result

    def crash(self) -> None:
        """Lose all connections."""
        self.up = False
        parked, self._parked = self._parked, {}
        for protocol in parked:
            protocol.connectionLost(Failure(ConnectionLost()))

    def _connected(self, factory: IProtocolFactory, result: Deferred[IProtocol]) -> None:
        if not self.up:
            result.errback(Failure(ConnectionRefusedError()))
            return
        self.accepts[int(self._clock.seconds())] += 1
        protocol = factory.buildProtocol(THERE)
        assert protocol is not None
        protocol.makeConnection(StringTransport())
        self._parked[protocol] = None
        self._clock.callLater(2 * DELAY, self._park, protocol)
        result.callback(protocol)

    def _park(self, protocol: IProtocol) -> None:
        if protocol in self._parked:
            protocol.dataReceived(self._answer)


class StormTests(SynchronousTestCase):
    """All come back, not all at once."""

    def restart(self, away: float) -> tuple[float, int, int]:
        """Restart the relay.

        :param away: seconds for which it is down.
        :returns: seconds until all are back, the most connections taken in a second, and the most
            attempts in a second while it was down.
        """
        clock, chance = _FastClock(), random.Random(1).random
        relay = _Relay(clock)
        parkings = [
            Parking(
                clock,
                RELAY,
                relay,
                lambda nonce: b"",
                lambda client: None,
                lambda: None,
                waits=ParkingWaits(chance),
            )
            for _ in range(AGENTS)
        ]
        for parking in parkings:
            parking.start()
        clock.pump([0.02] * 500)
        self.assertTrue(all(parking.idle == MIN_IDLE for parking in parkings))
        relay.accepts.clear()
        relay.attempts.clear()
        relay.crash()
        clock.pump([0.02] * round(away / 0.02))
        vain = max(relay.attempts.values(), default=0)
        relay.up = True
        began = clock.seconds()
        while not all(parking.idle == MIN_IDLE for parking in parkings):
            clock.advance(0.02)
            self.assertLess(clock.seconds(), began + 60)
        back = clock.seconds() - began
        for parking in parkings:
            parking.stop()
        return back, max(relay.accepts.values()), vain

    def test_restarts(self) -> None:
        """After a short restart and after a long one all are back within 30 s, at a bearable pace."""
        for away in (0.5, 30.0):
            back, peak, vain = self.restart(away)
            self.assertLess(back, 20, away)
            self.assertLess(peak, 2.5 * AGENTS, away)
            self.assertLess(vain, 2.5 * AGENTS, away)
