"""The strictest proxy as a process: ``python -m tests.lab.buffering_proxy ADDRESS PORT LOG``.

It holds every body until that is whole, both ways (:mod:`wavesync.testing.proxy`).  Once a second it writes
into the log how many requests have come by verb, and how many were answered by path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, react

from wavesync.interfaces import IReactor
from wavesync.testing.proxy import BufferingProxy


def _serve(reactor: IReactor, address: str, port: str, log: str) -> Deferred[None]:
    proxy = BufferingProxy(reactor, address, port=int(port))

    def note() -> None:
        came = sum((proxy.requests, proxy.passed), proxy.requests.__class__())
        Path(log).write_text("".join(f"{what} {count}\n" for what, count in sorted(came.items())))

    return cast("Deferred[None]", LoopingCall(note).start(1.0))


if __name__ == "__main__":
    react(_serve, sys.argv[1:], _reactor)
