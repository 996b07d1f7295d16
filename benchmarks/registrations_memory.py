"""Memory of registered servers in a mediator without sockets: ``COUNT`` of them, told in bytes.

Everything is there but the sockets: real proofs, the protocol of each connection, its timers on the
reactor, its registration and signed addresses.
"""

import gc
import os
import secrets
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorTime

from wavesync.garbage import collect_seldom
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.mediator.core import Mediator
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.mediator.stream import LegFactory, LegProtocol
from wavesync.signalling.messages import Bind, Listen, Refusal
from wavesync.signalling.proved import Prover
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import MessageClass

_NAME = "mediator.example"
_SERVERS_OF_SYSTEM = 100
_PLENTY = 1e9
_LIMITS = Limits(
    registrations=1_000_000,
    registrations_per_system=1_000_000,
    legs=1_000_000,
    legs_per_host=1_000_000,
    source_rate=_PLENTY,
    source_burst=_PLENTY,
    stream_proof_rate=_PLENTY,
    stream_proof_burst=_PLENTY,
)
# What stays is the shortest that agents say: one private and one public address.
_ADDRESSES: tuple[Address, ...] = (("192.168.1.2", 7001), ("203.0.113.9", 7001))


class _Wire:
    """A TCP connection without a socket: as small as can be, for it is not what is measured."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        pass

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getHandle(self) -> "_Wire":
        return self

    def setsockopt(self, *option: int) -> None:
        pass


def _resident() -> int:
    """:return: bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answer(wire: _Wire) -> bytes:
    said = b"".join(wire.sent)
    wire.sent.clear()
    return said


def _register(factory: LegFactory, system: SystemCredentials, host: str) -> LegProtocol:
    server = system.add_server(now=time.time())
    assert server.target is not None
    wire = _Wire()
    leg = factory.buildProtocol(IPv4Address("TCP", host, 40000))
    assert leg is not None
    leg.makeConnection(wire)
    exchange = X25519PrivateKey.generate().public_key().public_bytes_raw()
    listen = Listen(server.target, exchange)
    leg.dataReceived(listen.encode(secrets.token_bytes(12)))
    refusal = Refusal.decode(StreamDecoder().feed(_answer(wire))[0])
    prover = Prover(server, _NAME, time.time(), refusal.nonce)
    leg.dataReceived(listen.encode(secrets.token_bytes(12), prover))
    bind = Bind(1, _ADDRESSES, _ADDRESSES)
    leg.dataReceived(bind.encode(secrets.token_bytes(12), Prover(server, _NAME, time.time())))
    answers = StreamDecoder().feed(_answer(wire))
    if [each.message_class for each in answers] != [MessageClass.SUCCESS] * 2:
        raise SystemExit("the mediator refuses")
    wire.sent = []
    return leg


def main(count: int) -> None:
    """Register so many, and print the memory before and after."""
    collect_seldom()
    clock = IReactorTime(reactor)
    settings = MediatorSettings(name=_NAME, limits=_LIMITS)
    wall = time.time() - clock.seconds()
    mediator = Mediator(settings, os.urandom, wall=lambda now: now + wall)
    factory = LegFactory(mediator, clock)
    legs: list[LegProtocol] = []
    before = 0
    for n in range(count + _SERVERS_OF_SYSTEM):
        if n % _SERVERS_OF_SYSTEM == 0:
            system = SystemCredentials.create(())
        if n == _SERVERS_OF_SYSTEM:
            gc.collect()
            before = _resident()
        host = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        legs.append(_register(factory, system, host))
    gc.collect()
    after = _resident()
    if len(mediator.registry) != count + _SERVERS_OF_SYSTEM:
        raise SystemExit(f"{len(mediator.registry)} are registered")
    print(before, after)


if __name__ == "__main__":
    main(int(sys.argv[1]))
