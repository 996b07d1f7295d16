"""Protocols and ports on a memory network that the tests of this package share."""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from wavesync.interfaces import Address
from wavesync.testing.network import Host, Network
from wavesync.udt.port import Port
from wavesync.udt.transport import UDTTransport


class Recorder(Protocol):
    """Notes what comes, and when.

    :ivar received: all bytes so far.
    :ivar first_byte: when the first came, seconds.
    :ivar lost: the reason of ``connectionLost``.
    """

    transport: UDTTransport

    def __init__(self, clock: Clock, greeting: bytes = b"", *, echo: bool = False) -> None:
        self.received = b""
        self.first_byte: float | None = None
        self.connected_at: float | None = None
        self.lost: Failure | None = None
        self._clock = clock
        self._greeting = greeting
        self._echo = echo

    def connectionMade(self) -> None:
        """Say the greeting."""
        self.connected_at = self._clock.seconds()
        if self._greeting:
            self.transport.write(self._greeting)

    def dataReceived(self, data: bytes) -> None:
        """Note it, and send it back if asked to."""
        if self.first_byte is None:
            self.first_byte = self._clock.seconds()
        self.received += data
        if self._echo:
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost = reason


class Recorders(Factory):
    """Makes recorders and keeps them.

    :ivar made: all of them.
    :ivar refuse: make none from now on.
    """

    noisy = False

    def __init__(self, clock: Clock, greeting: bytes = b"", *, echo: bool = False) -> None:
        self.made: list[Recorder] = []
        self.refuse = False
        self._new: Callable[[], Recorder] = lambda: Recorder(clock, greeting, echo=echo)

    def buildProtocol(self, addr: IAddress | None) -> Recorder | None:
        """Make one."""
        if self.refuse:
            return None
        self.made.append(self._new())
        return self.made[-1]

    @property
    def last(self) -> Recorder:
        """The newest."""
        return self.made[-1]


class Randbits:
    """A seeded source of socket ids."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def __call__(self, bits: int) -> int:
        """:return: that many random bits."""
        return self._random.getrandbits(bits)


def memory_port(clock: Clock, host: Host, number: int = 0, seed: int = 0) -> Port:
    """:return: a port on a host of a memory network, with ids that *seed* decides."""
    return Port(clock, host.carrier(number), randbits=Randbits(seed or len(host.address)))


class Pair:
    """Two ports on two hosts of one network.

    :ivar here: 192.0.2.1:1000.
    :ivar there: 192.0.2.2:2000.
    """

    HERE: Address = ("192.0.2.1", 1000)
    THERE: Address = ("192.0.2.2", 2000)

    def __init__(self, *, delay: float = 0.02, loss: float = 0.0, jitter: float = 0.0) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=delay, loss=loss, jitter=jitter, random=Random(1))
        self.here = memory_port(self.clock, self.network.host(self.HERE[0]), self.HERE[1], 1)
        self.there = memory_port(self.clock, self.network.host(self.THERE[0]), self.THERE[1], 2)

    def recorders(self, greeting: bytes = b"", *, echo: bool = False) -> Recorders:
        """:return: a new factory."""
        return Recorders(self.clock, greeting, echo=echo)


def outcome(deferred: "Deferred[Any]") -> list[object]:
    """:return: a list that will hold the result or the exception."""
    results: list[object] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results
