"""The client of :mod:`benchmarks.first_byte`: connects cold, again and again, and prints times.

``python -m benchmarks.first_byte_client CREDENTIALS TARGET SERVICE RUNS``: a line of JSON for each
run, with the milliseconds from the call of ``connect`` to each milestone and to the last of the
answered bytes, once with a new connector and once more over the hole that it has left open.
"""

import json
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
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

REQUEST, ANSWER_SIZE = b"?", 100


class _Ask(Protocol):
    """Sends the request at once, waits for the whole answer."""

    def __init__(self) -> None:
        self.answered: Deferred[float] = Deferred()
        self._received = 0

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(REQUEST)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received >= ANSWER_SIZE and not self.answered.called:
            self.answered.callback(time.perf_counter())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answered.called:
            self.answered.errback(reason)


async def _once(
    reactor: IReactor, connector: Connector, target: Target, service: str
) -> dict[str, Any]:
    timeline = Timeline(str(target), time.perf_counter)
    ask = _Ask()
    began = time.perf_counter()
    opening = connector.connect(target, service, ask, timeline=timeline)
    ended = await ask.answered
    await opening
    assert ask.transport is not None
    ask.transport.loseConnection()
    return {"ms": (ended - began) * 1000, "path": timeline.path, "stages": timeline.ms}


def main(credentials_file: str, target_text: str, service: str, runs: str) -> int:
    """Do all runs."""
    credentials = Credentials.load(credentials_file, now=time.time())
    target = Target.parse(target_text)

    async def measure(reactor: IReactor) -> int:
        for _ in range(int(runs)):
            connector = open_connector(reactor, credentials, paths={"udp"})
            cold = await _once(reactor, connector, target, service)
            await deferLater(reactor, 0.3)
            warm = await _once(reactor, connector, target, service)
            print(json.dumps({"cold": cold, "warm": warm}), flush=True)
            await connector.close()
        return 0

    return run_in_reactor(measure)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
