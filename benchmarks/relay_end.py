"""Our relay of :mod:`benchmarks.relay`, without its front: ``MODE`` is kernel, copy or portable.

Listens on two ports, prints them, and joins the n-th connection of the one with the n-th of the
other.
"""

import functools
import sys
from collections import deque
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from wavesync.relay.joining import join
from wavesync.relay.plumbing import Plumbing
from wavesync.relay.portable import PortablePair
from wavesync.signalling.listening import open_streams
from wavesync.tcp.doors import Door
from wavesync.watch import watch_of


class _Waiting(Protocol):
    """A leg that waits for another one."""

    def __init__(self, own: deque[Any]) -> None:
        self._own = own

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.pauseProducing()
        self._own.append(transport)
        _join()


_clients: deque[Any] = deque()
_servers: deque[Any] = deque()
_mode = sys.argv[1]
_plumbing = Plumbing(kernel=_mode == "kernel")


def _join() -> None:
    while _clients and _servers:
        legs = _clients.popleft(), _servers.popleft()
        if _mode == "portable":
            PortablePair(reactor, *legs, to_server=b"", to_client=b"", shaper=None)
        else:
            join(reactor, *legs, plumbing=_plumbing)


def main() -> None:
    """Serve until killed."""
    ports = []
    watch = watch_of(reactor)
    assert watch is not None
    watch.lead()
    for queue in (_clients, _servers):
        factory: Any = Factory.forProtocol(functools.partial(_Waiting, queue))
        factory.noisy = False
        (listening,) = open_streams(["127.0.0.1:0"])
        ours = None if _mode == "portable" else watch
        Door(reactor, listening.tcp, factory, print, watch=ours)
        ports.append(listening.address[1])
    print(*ports, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
