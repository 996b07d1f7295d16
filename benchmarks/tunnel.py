"""What HTTP tunnels cost: each method over loopback, both ends in this one process.

Beside them ``tcp``, the same protocols without a tunnel.
"""

import os
import statistics
import time
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.methods import METHODS, Place, open_tunnel
from wavesync.tunnel.server import TunnelServer

__all__ = ["measure"]

reactor: Any = _reactor

_HOST = "127.0.0.1"
_BYTES = 200_000_000
_POLLED_BYTES = 40_000_000
_ECHOES = 200
_PIECE = os.urandom(65_536)


@implementer(IPushProducer)
class _End(Protocol):
    """Sends so many bytes when told to; tells when so many have come."""

    transport: Any

    def __init__(self) -> None:
        self.left = 0
        self.wanted = 0
        self.heard: Deferred[None] | None = None
        self.echoes = False
        self._paused = False

    def dataReceived(self, data: bytes) -> None:
        """Count, or send it back."""
        if self.echoes:
            self.transport.write(data)
            return
        self.wanted -= len(data)
        if self.wanted <= 0 and self.heard is not None:
            heard, self.heard = self.heard, None
            heard.callback(None)

    def hear(self, size: int) -> Deferred[None]:
        """Fires once that many bytes have come."""
        self.wanted = size
        self.heard = Deferred()
        return self.heard

    def send(self, size: int) -> None:
        """Send as fast as the other side takes it."""
        self.left = size
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Stop (IPushProducer)."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send (IPushProducer)."""
        self._paused = False
        while self.left > 0 and not self._paused:
            self.left -= len(_PIECE)
            self.transport.write(_PIECE)
        if self.left <= 0 and not self._paused:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """It is over (IPushProducer)."""


async def _method(method: str) -> dict[str, float]:
    guests: list[_End] = []

    def guest() -> _End:
        guests.append(_End())
        return guests[-1]

    made = Factory.forProtocol(cast(Any, guest))
    server = TunnelServer(made, reactor)
    front = FrontFactory(server, reactor)
    port = reactor.listenTCP(0, made if method == "tcp" else front, interface=_HOST)
    number = port.getHost().port
    dial = TCP4ClientEndpoint(reactor, _HOST, number)
    factory = Factory.forProtocol(_End)

    async def opened() -> tuple[_End, _End]:
        if method == "tcp":
            client = await dial.connect(factory)
            while not guests or guests[-1].transport is None:
                await _turn()
        else:
            place = Place(f"{_HOST}:{number}", False)
            client = await open_tunnel(
                reactor, method, place, dial, factory, timeout=10.0, random=os.urandom
            )
        return cast(_End, client), guests.pop()

    took = []
    for _ in range(20):
        began = time.perf_counter()
        client, guest_end = await opened()
        took.append(time.perf_counter() - began)
        client.transport.loseConnection()
    figures = {"open_ms": 1e3 * statistics.median(took)}
    client, guest_end = await opened()
    size = _POLLED_BYTES if method == "poll" else _BYTES
    for name, source, sink in (("up", client, guest_end), ("down", guest_end, client)):
        began = time.perf_counter()
        heard = sink.hear(size)
        source.send(size)
        await heard
        figures[f"{name}_gbit_s"] = size * 8e-9 / (time.perf_counter() - began)
    guest_end.echoes = True
    took = []
    for _ in range(_ECHOES):
        began = time.perf_counter()
        heard = client.hear(200)
        client.transport.write(_PIECE[:200])
        await heard
        took.append(time.perf_counter() - began)
    figures["echo_200_us"] = 1e6 * statistics.median(took)
    client.transport.abortConnection()
    await port.stopListening()
    front.abort_all()
    return {name: round(value, 3) for name, value in figures.items()}


def _turn() -> Deferred[None]:
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    return turned


async def _all(runs: int, into: dict[str, dict[str, float]]) -> None:
    for method in ("tcp", *METHODS):
        results = [await _method(method) for _ in range(runs)]
        into[method] = {
            name: statistics.median(each[name] for each in results) for name in results[0]
        }


def measure(runs: int = 3) -> dict[str, Any]:
    """Take the figures.

    :param runs: of which the medians are given.
    """
    figures: dict[str, dict[str, float]] = {}
    failures: list[Failure] = []

    def over(result: object) -> None:
        if isinstance(result, Failure):
            failures.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_all(runs, figures)).addBoth(over))
    reactor.run()
    for failure in failures:
        failure.raiseException()
    return {"runs": runs, "bytes": _BYTES, "methods": figures}
