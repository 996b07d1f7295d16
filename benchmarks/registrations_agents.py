"""``PORT COUNT``: so many agents registered with the mediator at that port, from this one process.

Each has its own server certificate, its own connection to the mediator and its own UDP port, kept warm;
prints how many are registered once all are, and again when its standard input ends.
"""

import sys
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.machine import all_descriptors
from wavesync.agent.link import Link
from wavesync.garbage import collect_seldom
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message, StunError, decode

reactor: Any = _reactor
_HOST = "127.0.0.1"
_AT_ONCE = 20
_OF_SYSTEM = 100
_ADDRESSES: tuple[Address, ...] = (("192.168.1.2", 7001), ("203.0.113.9", 7001))


class _Nobody:
    """Is told of clients; there are none."""

    def requested(self, link: Link, message: Message) -> None:
        """Not here."""

    def updated(self, link: Link, message: Message) -> None:
        """Not here."""


class _Port(DatagramProtocol):
    """One agent's UDP port."""

    link: Link
    noisy = False

    def send(self, data: bytes, address: Address) -> None:
        """Send from it."""
        if self.transport is not None:
            self.transport.write(data, address)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Hand on what a mediator says."""
        try:
            self.link.warm.received(decode(datagram), addr)
        except StunError:
            return


class _End(Protocol):
    def __init__(self, links: list[Link]) -> None:
        self._links = links

    def connectionLost(self, reason: object = None) -> None:
        """Standard input has ended."""
        print(sum(link.registered for link in self._links), flush=True)
        reactor.stop()


def _link(system: SystemCredentials, port: int) -> Link:
    udp = _Port()
    mediator = Mediator(_HOST, port, port)
    udp.link = Link(
        reactor,
        mediator,
        TCP4ClientEndpoint(reactor, _HOST, port, timeout=30),
        system.add_server(now=time.time()),
        udp.send,
        lambda: (_ADDRESSES, _ADDRESSES),
        _Nobody(),
        wall_clock=time.time,
    )
    reactor.listenUDP(0, udp, interface=_HOST)
    return udp.link


async def _all(port: int, count: int) -> list[Link]:
    links: list[Link] = []
    while len(links) < count:
        if len(links) % _OF_SYSTEM == 0:
            system = SystemCredentials.create(())
        some = [_link(system, port) for _ in range(min(_AT_ONCE, count - len(links)))]
        for link in some:
            link.start()
        await gatherResults([link.when_registered() for link in some])
        links += some
        # Descriptors that are new must not get the events of old ones with the same numbers.
        await deferLater(reactor, 0.0)
    return links


async def _main(port: int, count: int) -> None:
    links = await _all(port, count)
    await deferLater(reactor, 1.0)  # the last addresses are told
    print(sum(link.registered for link in links), flush=True)
    StandardIO(_End(links))


def _failed(failure: Failure) -> None:
    failure.printTraceback()
    reactor.stop()


def main() -> None:
    """Run until standard input ends."""
    all_descriptors()
    collect_seldom()

    def begin() -> None:
        started = Deferred.fromCoroutine(_main(*map(int, sys.argv[1:])))
        started.addErrback(_failed)

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
