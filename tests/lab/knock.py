"""Be a client of the matrix: connect whenever a line says whereto, each time cold, from a new port.

``python -m tests.lab.knock CREDENTIALS`` reads targets from its standard input, one a line, and prints
the report of each connect as one line of JSON, with ``seconds``: from the call to success or to the
sentence that says why not.  Relays take no part in it.  After ``again`` and a space on the line they do, the
same client connects a second time a while later, and ``again`` in the report is the path of that, or the
sentence.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver

from wavesync.cli.common import run_in_reactor
from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS
from wavesync.client.report import Timeline
from wavesync.errors import WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.interfaces import IReactor
from wavesync.session.client import CONTROL

__all__ = ["DIRECT", "PAUSE", "READY"]

#: The paths without a relay.
DIRECT = tuple(path for path in PATHS if path != "relay")

READY = "ready"

#: Seconds between the first connect and the second one.
PAUSE = 2.0

_LIMIT = 15.0  # seconds after which a connect has failed, whatever it is doing


class _Lines(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, reactor: IReactor, credentials: Credentials) -> None:
        self.over: Deferred[int] = Deferred()
        self._reactor = reactor
        self._credentials = credentials

    def connectionMade(self) -> None:
        print(READY, flush=True)

    def lineReceived(self, line: bytes) -> None:
        word, _, target = line.decode().rpartition(" ")
        Deferred.fromCoroutine(self._knock(Target.parse(target), again=word == "again"))

    def connectionLost(self, reason: object = None) -> None:
        self.over.callback(0)

    async def _knock(self, target: Target, *, again: bool) -> None:
        paths = PATHS if again else DIRECT
        connector = open_connector(self._reactor, self._credentials, paths=paths)
        timeline = await self._connect(connector, target)
        report = timeline.as_dict() | {"seconds": timeline.elapsed() / 1000}
        if again:
            await deferLater(self._reactor, PAUSE)
            second = await self._connect(connector, target)
            report["again"] = second.path if second.outcome == "ok" else second.outcome
        print(json.dumps(report, separators=(",", ":")), flush=True)
        await connector.close()

    async def _connect(self, connector: Connector, target: Target) -> Timeline:
        timeline = Timeline(str(target), self._reactor.seconds)
        try:
            session = await connector.session(target, timeline).addTimeout(_LIMIT, self._reactor)
            opened = session.open(CONTROL, Protocol())
            await opened.addTimeout(_LIMIT, self._reactor)
            timeline.mark("accepted")
            await session.ping().addTimeout(_LIMIT, self._reactor)
            timeline.outcome = "ok"
        except WavesyncError as error:
            timeline.outcome = str(error)
        except Exception as error:
            timeline.path = "broken"
            timeline.outcome = repr(error)
        return timeline


def main(arguments: list[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    credentials = Credentials.load(Path(arguments[0]), now=time.time())

    async def everything(reactor: IReactor) -> int:
        lines = _Lines(reactor, credentials)
        StandardIO(lines, reactor=reactor)
        return await lines.over

    return run_in_reactor(everything)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
