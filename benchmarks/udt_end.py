"""One end of the benchmarks of UDT made of wavesync; ``udt_peer.cpp`` is libudt's, called alike.

``python -m benchmarks.udt_end [--layers tls|session DIRECTORY] ROLE HOST PORT NUMBER [SECONDS]``

========  =======  =========================================================================
role      NUMBER
========  =======  =========================================================================
sink      flows    takes them, prints ``BYTES SECONDS`` when all have ended
send      flows    sends them from one UDP port as fast as they go, for so many seconds
echo      bytes    sends back what one client says
ping      bytes    says it again and again, prints ``P50 P99 COUNT``, microseconds
accept    count    takes so many connections and holds them, prints ``held``
dial      count    opens as many from one UDP port and holds them, prints ``held``
========  =======  =========================================================================

All print ``ready`` first: once they listen, or once all are connected; what holds ends with its
standard input.  Layers are what the product puts on UDT, with the credentials of a directory.
``WAVESYNC_BENCHMARK_CARRIER`` chooses how packets are carried: auto, gso or plain.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks.udt_layers import Layers
from wavesync.garbage import collect_seldom
from wavesync.udt.carrier import AUTO, SocketCarrier
from wavesync.udt.port import Port
from wavesync.watch import take_lead

reactor: Any = _reactor

_CHUNK = bytes(1 << 18)
_DIALLING = 20  # attempts at a time
_LINGER = 0.1  # seconds that the port has for its last words


def _say(*words: object) -> None:
    print(*words, flush=True)


def _over(_: object = None) -> None:
    if reactor.running:
        reactor.stop()


class _Takings:
    """What all flows together bring."""

    def __init__(self, flows: int) -> None:
        self.total = 0
        self.first = self.last = 0.0
        self._left = flows

    def ended(self) -> None:
        """One flow has ended."""
        self._left -= 1
        if not self._left:
            _say(self.total, self.last - self.first)
            reactor.callLater(_LINGER, _over)


class _Sink(Protocol):
    """Counts."""

    def __init__(self, takings: _Takings) -> None:
        self._takings = takings

    def dataReceived(self, data: bytes) -> None:
        takings = self._takings
        takings.last = time.monotonic()
        if not takings.total:
            takings.first = takings.last
        takings.total += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._takings.ended()


@implementer(IPushProducer)
class _Source(Protocol):
    """Writes until its time is up."""

    transport: Any

    def __init__(self, gone: list[Deferred[None]]) -> None:
        self._paused = True
        self._end = 0.0
        self._gone: Deferred[None] = Deferred()
        gone.append(self._gone)

    def begin(self, seconds: float) -> None:
        """Write from now on."""
        self._end = time.monotonic() + seconds
        self._paused = False
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused:
            if time.monotonic() > self._end:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
                return
            self.transport.write(_CHUNK)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._paused = True
        self._gone.callback(None)


class _Echo(Protocol):
    """Sends everything back."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reactor.callLater(_LINGER, _over)


class _Ping(Protocol):
    """Says the same again whenever it has come back."""

    transport: Any

    def __init__(self, size: int, seconds: float) -> None:
        self._said = bytes(size)
        self._missing = 0
        self._took: list[float] = []
        self._at = 0.0
        self._end = time.monotonic() + seconds

    def connectionMade(self) -> None:
        _say("ready")
        self._ask()

    def _ask(self) -> None:
        self._missing = len(self._said)
        self._at = time.perf_counter()
        self.transport.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing:
            return
        self._took.append(time.perf_counter() - self._at)
        if time.monotonic() < self._end:
            self._ask()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        took = sorted(1e6 * each for each in self._took)
        _say(round(took[len(took) // 2], 2), round(took[len(took) * 99 // 100], 2), len(took))
        reactor.callLater(_LINGER, _over)


class _Held(Protocol):
    """One of many that do nothing."""

    def __init__(self, missing: list[None]) -> None:
        self._missing = missing

    def connectionMade(self) -> None:
        self._missing.pop()
        if not self._missing:
            _say("held")


class _UntilEnd(Protocol):
    """Standard input; its end is ours."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        _over()


class _End:
    """The roles."""

    def __init__(self, host: str, port: int, layers: Layers) -> None:
        self._host = host
        self._port = port
        self._layers = layers
        self._carrier = os.environ.get("WAVESYNC_BENCHMARK_CARRIER", "")
        self._choice = f":carrier={self._carrier}" if self._carrier else ""

    async def sink(self, flows: int, _: float) -> None:
        takings = _Takings(flows)
        await self._listen(lambda: _Sink(takings))

    async def send(self, flows: int, seconds: float) -> None:
        gone: list[Deferred[None]] = []
        sources = await self._connect(lambda: _Source(gone), flows)
        _say("ready")
        for source in sources:
            # In a turn of its own, so that none waits for the others' first buffers to fill.
            reactor.callLater(0, cast(_Source, source).begin, seconds)
        await gatherResults(gone)
        reactor.callLater(_LINGER, _over)

    async def echo(self, _size: int, _: float) -> None:
        await self._listen(_Echo)

    async def ping(self, size: int, seconds: float) -> None:
        await self._connect(lambda: _Ping(size, seconds), 1)

    async def accept(self, count: int, _: float) -> None:
        StandardIO(_UntilEnd())
        missing = [None] * count
        await self._listen(lambda: _Held(missing))

    async def dial(self, count: int, _: float) -> None:
        StandardIO(_UntilEnd())
        _say("ready")
        await self._connect(lambda: _Held([None] * count), count)
        _say("held")

    async def _listen(self, build: Any) -> None:
        server = serverFromString(reactor, f"udt:{self._port}:interface={self._host}{self._choice}")
        await server.listen(self._layers.listening(_factory(build)))
        _say("ready")

    async def _connect(self, build: Any, count: int) -> list[IProtocol]:
        """Open connections, several from one UDP port."""
        if count == 1:
            client = clientFromString(reactor, f"udt:{self._host}:{self._port}{self._choice}")
            return [await self._layers.connected(client.connect, _factory(build))]
        port = Port(reactor, SocketCarrier(reactor, mode=self._carrier or AUTO))

        def dial(factory: IProtocolFactory) -> Deferred[IProtocol]:
            return port.connect((self._host, self._port), factory, 30.0)

        def one() -> Deferred[IProtocol]:
            return Deferred.fromCoroutine(self._layers.connected(dial, _factory(build)))

        turns = DeferredSemaphore(_DIALLING)
        return cast(
            list[IProtocol],
            await gatherResults([turns.run(one) for _ in range(count)], consumeErrors=True),
        )


def _factory(build: Any) -> Factory:
    factory = Factory.forProtocol(build)
    factory.noisy = False
    return factory


def main() -> int:
    """Run one end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.udt_end")
    parser.add_argument("--layers", nargs=2, metavar=("tls|session", "DIRECTORY"))
    parser.add_argument("role", choices=("sink", "send", "echo", "ping", "accept", "dial"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("number", type=int)
    parser.add_argument("seconds", type=float, nargs="?", default=0.0)
    arguments = parser.parse_args()
    kind, directory = arguments.layers or ("", "")
    layers = Layers(reactor, kind, Path(directory))
    end = _End(arguments.host, arguments.port, layers)
    failures: list[Failure] = []

    def failed(failure: Failure) -> None:
        failures.append(failure)
        _over()

    def begin() -> None:
        role = getattr(end, arguments.role)
        Deferred.fromCoroutine(role(arguments.number, arguments.seconds)).addErrback(failed)

    # A process of its own, as commands and services are.
    collect_seldom()
    take_lead(reactor)
    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.printTraceback(sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
