"""The client of :mod:`benchmarks.holes`: opens many connections over one hole and prints a line of JSON.

``python -m benchmarks.holes_client CREDENTIALS TARGET SERVICE CONNECTIONS``
"""

import json
import os
import sys
import time

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from wavesync.cli.common import run_in_reactor
from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.client.report import Timeline
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor

SIZE = 1000


class _Say(Protocol):
    """Sends random bytes at once, waits until they have come back, and stays."""

    def __init__(self) -> None:
        self.echoed: Deferred[float] = Deferred()
        self._said = os.urandom(SIZE)
        self._heard = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) >= SIZE and not self.echoed.called:
            if self._heard == self._said:
                self.echoed.callback(time.perf_counter())
            else:
                self.echoed.errback(ValueError("other bytes came back"))

    def failed(self, reason: Failure) -> None:
        """There is no connection."""
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.echoed.called:
            self.echoed.errback(reason)


def _open(
    connector: Connector, target: Target, service: str
) -> tuple[Deferred[float], Timeline, _Say]:
    timeline = Timeline(str(target), time.perf_counter)
    say = _Say()
    opening = connector.connect(target, service, say, timeline=timeline)
    opening.addErrback(say.failed)
    return say.echoed, timeline, say


def main(credentials_file: str, target_text: str, service: str, connections: str) -> int:
    """Do it once."""
    credentials = Credentials.load(credentials_file, now=time.time())
    target = Target.parse(target_text)
    count = int(connections)

    async def measure(reactor: IReactor) -> int:
        connector = open_connector(reactor, credentials, paths={"udp"})
        first, timeline, _ = _open(connector, target, service)
        await first
        await deferLater(reactor, 0.5)
        assert not timeline.reused
        began, cpu = time.perf_counter(), time.process_time()
        opened = [_open(connector, target, service) for _ in range(count)]
        ends = await gatherResults([each[0] for each in opened], consumeErrors=True)
        seconds = max(ends) - began
        result = {
            "connections": count,
            "seconds": round(seconds, 2),
            "connections_per_second": round(count / seconds, 1),
            "reused_hole": sum(each[1].reused for each in opened),
            "client_cpu_seconds": round(time.process_time() - cpu, 2),
        }
        print(json.dumps(result), flush=True)
        await connector.close()
        return 0

    return run_in_reactor(measure)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
