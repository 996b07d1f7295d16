"""One end of :mod:`benchmarks.udt` made of wavesync: ``sink PORT`` or ``send PORT SECONDS``."""

import sys
import time
from typing import cast

from twisted.internet import reactor
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.udt.carrier import SocketCarrier
from wavesync.udt.port import Port

_CHUNK = bytes(1 << 18)


class _Sink(Protocol):
    """Counts."""

    def __init__(self) -> None:
        self.total = 0
        self.first = self.last = 0.0

    def dataReceived(self, data: bytes) -> None:
        self.last = time.monotonic()
        if not self.total:
            self.first = self.last
        self.total += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        print(self.total, self.last - self.first, flush=True)
        reactor.stop()


@implementer(IPushProducer)
class _Source(Protocol):
    """Writes until its time is up."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._paused = False

    def connectionMade(self) -> None:
        cast(IConsumer, self.transport).registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        assert self.transport is not None
        while not self._paused:
            if time.monotonic() > self._end:
                cast(IConsumer, self.transport).unregisterProducer()
                self.transport.loseConnection()
                return
            self.transport.write(_CHUNK)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        reactor.callLater(0.1, reactor.stop)


def main(role: str, port: str, seconds: str = "0") -> None:
    """Run one end."""
    if role == "sink":
        udt = Port(reactor, SocketCarrier(reactor, int(port), "127.0.0.1"))
        udt.listen(Factory.forProtocol(_Sink))
        print("ready", flush=True)
    else:
        udt = Port(reactor, SocketCarrier(reactor, 0, "127.0.0.1"))
        udt.connect(("127.0.0.1", int(port)), Factory.forProtocol(lambda: _Source(float(seconds))))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
