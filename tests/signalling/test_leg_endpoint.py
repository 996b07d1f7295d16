"""Tests for :mod:`wavesync.signalling.leg_endpoint`."""

import errno
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.tcp.support import Talker, Talkers, descriptors, free_port
from wavesync.errors import ConnectFailed
from wavesync.signalling.leg_endpoint import (
    AGAIN_DELAY,
    MAX_HOSTS,
    NEXT_HOST_DELAY,
    LegEndpoint,
)
from wavesync.tcp.dial import Dial
from wavesync.tcp.sockets import listening_socket


@implementer(IHostnameResolver)
class Names:
    """A reactor that knows one name; the rest of it is the real one."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, *_: object, **__: object
    ) -> IHostResolution:
        """Tell its addresses (IHostnameResolver)."""
        resolutionReceiver.resolutionBegan(None)  # type: ignore[arg-type]
        for host in self.hosts:
            resolutionReceiver.addressResolved(IPv4Address("TCP", host, 0))
        resolutionReceiver.resolutionComplete()
        return None  # type: ignore[return-value]


class Unwatched(Names):
    """A reactor that tells nobody that a connect has ended; its time is the test's."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", "127.0.0.2")
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.dials: list[Dial] = []

    def addWriter(self, writer: Dial) -> None:
        """Take a dial (IReactorFDSet)."""
        self.dials.append(writer)

    def removeWriter(self, writer: Dial) -> None:
        """Forget a dial (IReactorFDSet)."""
        self.dials.remove(writer)


class LegEndpointTests(TestCase):
    """A leg stands, and its port can be used once more."""

    def setUp(self) -> None:
        self.before = descriptors()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.talkers = Talkers(b"hello")

    def connect(self, *hosts: str, port: int | None = None, timeout: float = 10) -> Deferred[Any]:
        """Connect to a name with these addresses."""
        where = self.listener.getsockname()[1] if port is None else port
        endpoint = LegEndpoint(Names(*hosts), "mediator", where, timeout=timeout)  # type: ignore[arg-type]
        verifyObject(IStreamClientEndpoint, endpoint)
        return endpoint.connect(self.talkers)

    async def check_standing(self, connecting: Deferred[Any]) -> None:
        """The connection stands; its own port takes a listener; it can be closed."""
        talker: Talker = await connecting
        assert talker.transport is not None
        own = talker.transport.getHost()
        with listening_socket((own.host, own.port)):  # type: ignore[attr-defined]
            accepted, _ = self.listener.accept()
        accepted.close()
        lost: Deferred[None] = Deferred()
        talker.connectionLost = lambda reason: lost.callback(None)  # type: ignore[method-assign,assignment,misc]
        await lost

    async def test_shared(self) -> None:
        """Somebody else of ours may listen where the leg leaves from."""
        await self.check_standing(self.connect("127.0.0.1"))
        self.assertEqual(len(self.talkers.made), 1)

    async def test_second_address(self) -> None:
        """An address that refuses is followed by the next one."""
        await self.check_standing(self.connect("127.0.0.3", "127.0.0.1"))

    async def test_refused(self) -> None:
        """When no address takes the connection, that is said; nothing stays open."""
        connecting = self.connect("127.0.0.2", "127.0.0.3", port=free_port()[1])
        error = await self.assertFailure(connecting, ConnectFailed)
        self.assertEqual(str(error), "refused")
        self.assertEqual(descriptors(), self.before + 1)

    async def test_family(self) -> None:
        """Where one family is wanted, the addresses of the other are nothing."""
        where = self.listener.getsockname()[1]
        for hosts, ipv6 in ((("::1",), False), (("127.0.0.1",), True)):
            names = Names(*hosts)
            endpoint = LegEndpoint(names, "mediator", where, timeout=10, ipv6=ipv6)  # type: ignore[arg-type]
            error = await self.assertFailure(endpoint.connect(self.talkers), ConnectFailed)
            self.assertIn("cannot be resolved", str(error))
        both = Names("::1", "127.0.0.1")
        endpoint = LegEndpoint(both, "mediator", where, timeout=10, ipv6=False)  # type: ignore[arg-type]
        await self.check_standing(endpoint.connect(self.talkers))

    async def test_unknown(self) -> None:
        """A name without addresses is named."""
        error = await self.assertFailure(self.connect(), ConnectFailed)
        self.assertEqual(str(error), "the name 'mediator' cannot be resolved")

    async def test_too_many(self) -> None:
        """So many addresses are tried and not one more."""
        bad = [f"127.0.0.{2 + number}" for number in range(MAX_HOSTS)]
        await self.check_standing(self.connect(*bad[1:], "127.0.0.1"))
        error = await self.assertFailure(self.connect(*bad, "127.0.0.1"), ConnectFailed)
        self.assertEqual(str(error), "refused")

    async def test_timeout(self) -> None:
        """No answer in time is a failure; nothing stays open."""
        # A listener whose backlog is full does not answer.
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            connecting = self.connect("127.0.0.1", port=full.getsockname()[1], timeout=0.2)
            error = await self.assertFailure(connecting, ConnectFailed)
            for filler in fillers:
                filler.close()
        self.assertEqual(str(error), "no answer")
        self.assertEqual(descriptors(), self.before + 1)

    async def test_again(self) -> None:
        """Addresses that do not answer are dialled again from other ports, so that a network that
        comes back is noticed; one that refuses is not."""
        names = Unwatched()
        where = self.listener.getsockname()[1]
        endpoint = LegEndpoint(names, "mediator", where, timeout=60)  # type: ignore[arg-type]
        connecting = endpoint.connect(self.talkers)
        connecting.addErrback(lambda failure: failure.trap(CancelledError))
        names.clock.advance(NEXT_HOST_DELAY)
        self.assertEqual([dial.remote[0] for dial in names.dials], ["127.0.0.1", "127.0.0.2"])
        names.dials[1]._fail(errno.ECONNREFUSED)
        for count in (2, 3):
            names.clock.advance(AGAIN_DELAY)
            self.assertEqual([dial.remote[0] for dial in names.dials], ["127.0.0.1"] * count)
        connecting.cancel()
        self.assertEqual((names.dials, names.clock.getDelayedCalls()), ([], []))
        self.assertEqual(descriptors(), self.before + 1)

    async def test_cancel(self) -> None:
        """Giving up closes everything."""
        connecting = self.connect("127.0.0.1")
        connecting.cancel()
        await self.assertFailure(connecting, CancelledError)
        self.assertEqual(descriptors(), self.before + 1)
        self.assertEqual(self.talkers.made, [])
