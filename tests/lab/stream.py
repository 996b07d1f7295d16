"""One end of a UDT stream in a laboratory.

``python -m tests.lab.stream sink HOST PORT CARRIER`` takes one, then writes how many bytes came and
their SHA-256.  ``python -m tests.lab.stream send HOST PORT CARRIER BYTES SEED`` sends one of random
bytes, and writes their SHA-256 once they have been acknowledged.  Both write a line when they begin.
"""

from __future__ import annotations

import hashlib
import random
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["main"]

reactor: Any = _reactor
_CHUNK = 100_000  # no multiple of anything


class _Sink(Protocol):
    """Takes a stream."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._total = 0

    def dataReceived(self, data: bytes) -> None:
        self._digest.update(data)
        self._total += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        print(self._total, self._digest.hexdigest(), flush=True)
        reactor.callLater(0.5, reactor.stop)


@implementer(IPushProducer)
class _Source(Protocol):
    """Sends one."""

    transport: Any

    def __init__(self, size: int, seed: int) -> None:
        self._left = size
        self._random = random.Random(seed)
        self._digest = hashlib.sha256()
        self._paused = False

    def connectionMade(self) -> None:
        print("connected", flush=True)
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and self._left:
            chunk = self._random.randbytes(min(_CHUNK, self._left))
            self._left -= len(chunk)
            self._digest.update(chunk)
            self.transport.write(chunk)
        if not self._left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        print(type(reason.value).__name__, self._digest.hexdigest(), flush=True)
        reactor.callLater(0.1, reactor.stop)


def main(role: str, host: str, port: str, carrier: str, size: str = "0", seed: str = "0") -> None:
    """Run one end."""

    def failed(failure: Failure) -> None:
        print(failure.getErrorMessage(), flush=True)
        reactor.stop()

    if role == "sink":
        end = serverFromString(reactor, f"udt:{port}:interface={host}:carrier={carrier}")
        end.listen(Factory.forProtocol(_Sink)).addErrback(failed)
        print("listening", flush=True)
    else:
        client = clientFromString(reactor, f"udt:{host}:{port}:carrier={carrier}")
        factory = Factory.forProtocol(lambda: _Source(int(size), int(seed)))
        client.connect(factory).addErrback(failed)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
