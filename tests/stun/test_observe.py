"""The Binding client's shells against our own server on loopback, and against silence."""

import errno
import socket

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wavesync.interfaces import Address
from wavesync.stun.binding import binding_response
from wavesync.stun.binding_request import BindingFailed
from wavesync.stun.binding_server import BindingDatagrams, BindingFactory
from wavesync.stun.observe import observe_address

LOOPBACK = "127.0.0.1"


def has_ipv6_loopback() -> bool:
    """Whether this machine can bind ``::1``."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class _Silent(DatagramProtocol):
    """Takes datagrams and answers none."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Keep *datagram*."""
        self.received.append(datagram)


class OnLoopback(TestCase):
    """Our client asks our server."""

    timeout = 20
    reactor: "object" = _reactor

    def udp_server(self, protocol: DatagramProtocol, interface: str = LOOPBACK) -> Address:
        """Serve *protocol*; give its address."""
        port: IListeningPort = _reactor.listenUDP(0, protocol, interface=interface)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        host = port.getHost()
        return (host.host, host.port)  # type: ignore[attr-defined]

    async def tcp_server(self, factory: IProtocolFactory) -> Address:
        """Serve *factory*; give its address."""
        port = await TCP4ServerEndpoint(_reactor, 0, interface=LOOPBACK).listen(factory)
        self.addCleanup(port.stopListening)
        return (LOOPBACK, port.getHost().port)

    def test_over_udp(self) -> Deferred[None]:
        """The address told over UDP is the local one, from the port asked for."""
        return Deferred.fromCoroutine(self._over_udp(LOOPBACK))

    def test_over_udp_ipv6(self) -> Deferred[None]:
        """The same over IPv6."""
        return Deferred.fromCoroutine(self._over_udp("::1"))

    if not has_ipv6_loopback():
        test_over_udp_ipv6.skip = "no IPv6 on loopback"  # type: ignore[attr-defined]

    async def _over_udp(self, host: str) -> None:
        server = self.udp_server(BindingDatagrams(IReactorTime(_reactor)), host)
        seen = await observe_address(_reactor, server)
        self.assertEqual(seen[0], host)
        again = await observe_address(_reactor, server, interface=host, port=seen[1])
        self.assertEqual(again, seen)

    def test_over_tcp(self) -> Deferred[None]:
        """The address told over TCP is the local one."""

        async def check() -> None:
            server = await self.tcp_server(BindingFactory(IReactorTime(_reactor)))
            seen = await observe_address(_reactor, server, over_tcp=True, interface=LOOPBACK)
            self.assertEqual(seen[0], LOOPBACK)
            self.assertNotEqual(seen[1], server[1])

        return Deferred.fromCoroutine(check())

    def test_silent_udp_server(self) -> Deferred[None]:
        """A server that never answers is asked seven times and named in the sentence."""

        async def check() -> None:
            silent = _Silent()
            server = self.udp_server(silent)
            try:
                await observe_address(_reactor, server, rto=0.001)
            except BindingFailed as error:
                self.assertIn("did not answer", str(error))
                self.assertIn(str(server[1]), str(error))
            else:
                self.fail("an address from nowhere")
            self.assertEqual(len(silent.received), 7)
            self.assertEqual(len(set(silent.received)), 1)

        return Deferred.fromCoroutine(check())

    def test_nobody_listens(self) -> Deferred[None]:
        """A port where nobody listens fails at once, over UDP and TCP."""

        async def check() -> None:
            port = _reactor.listenUDP(0, DatagramProtocol(), interface=LOOPBACK)  # type: ignore[attr-defined]
            free = (LOOPBACK, port.getHost().port)
            await port.stopListening()
            for over_tcp in (False, True):
                try:
                    await observe_address(_reactor, free, over_tcp=over_tcp)
                except BindingFailed as error:
                    self.assertIn(str(free[1]), str(error))
                else:
                    self.fail("an address from nowhere")

        return Deferred.fromCoroutine(check())

    def test_not_stun(self) -> Deferred[None]:
        """A TCP server that speaks something else, or hangs up, ends it with a sentence."""

        class Talkative(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"SSH-2.0-x\r\n")

        class HangsUp(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.loseConnection()

        async def check() -> None:
            for protocol, words in ((Talkative, "does not speak STUN"), (HangsUp, "closed")):
                factory = Factory.forProtocol(protocol)
                factory.noisy = False
                server = await self.tcp_server(factory)
                try:
                    await observe_address(_reactor, server, over_tcp=True)
                except BindingFailed as error:
                    self.assertIn(words, str(error))
                else:
                    self.fail("an address from nowhere")

        return Deferred.fromCoroutine(check())

    def test_port_taken(self) -> Deferred[None]:
        """A local port that is taken is told as such."""
        taken = self.udp_server(DatagramProtocol())
        asking = observe_address(_reactor, (LOOPBACK, 9), interface=LOOPBACK, port=taken[1])
        return self.assertFailure(asking, BindingFailed).addCallback(
            lambda error: self.assertIn("taken", str(error))
        )

    def test_cancel(self) -> Deferred[None]:
        """Cancelling leaves no socket and no timer behind (trial looks)."""
        server = self.udp_server(_Silent())
        for over_tcp in (False, True):
            asking = observe_address(_reactor, server, over_tcp=over_tcp)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
        closed: Deferred[None] = Deferred()
        _reactor.callLater(0.01, closed.callback, None)
        return closed


class OnStandIns(SynchronousTestCase):
    """What needs no sockets."""

    def test_name(self) -> None:
        """A name instead of an address is refused with a sentence."""
        failure = self.failureResultOf(observe_address(Clock(), ("localhost", 1)), BindingFailed)
        self.assertIn("not a numeric address", failure.getErrorMessage())

    def test_random_and_timeout(self) -> None:
        """Over TCP the request goes out once, with the given randomness, and the wait ends."""
        reactor = MemoryReactorClock()
        asking = observe_address(
            reactor,
            ("192.0.2.1", 3478),
            over_tcp=True,
            timeout=3.0,
            random=lambda size: b"r" * size,
        )
        host, port, factory, timeout, _ = reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), ("192.0.2.1", 3478, 3.0))
        reactor.advance(1.0)
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertEqual(transport.value()[8:20], b"r" * 12)
        reactor.advance(2.0)
        self.assertTrue(transport.disconnected)
        self.assertNoResult(asking)
        protocol.connectionLost(Failure(ConnectionDone()))
        failure = self.failureResultOf(asking, BindingFailed)
        self.assertIn("within 3 seconds", failure.getErrorMessage())
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_answer_in_pieces(self) -> None:
        """Over TCP the answer may come in any pieces, with garbage behind it."""
        reactor = MemoryReactorClock()
        asking = observe_address(reactor, ("2001:db8::1", 3478), over_tcp=True)
        host, port, factory, _, _ = reactor.tcpClients[0]
        protocol = factory.buildProtocol(IPv6Address("TCP", host, port))
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        answer = binding_response(transport.value(), ("2001:db8::2", 5)) or b""
        protocol.dataReceived(answer[:7])
        protocol.dataReceived(answer[7:] + b"garbage!")
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(asking), ("2001:db8::2", 5))

    def test_cancel_while_closing(self) -> None:
        """Cancelling after the answer, while the socket is closing, is told as cancelled."""
        reactor = MemoryReactorClock()
        asking = observe_address(reactor, ("192.0.2.1", 3478), over_tcp=True)
        host, port, factory, _, _ = reactor.tcpClients[0]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(binding_response(transport.value(), ("192.0.2.2", 5)) or b"")
        self.assertTrue(transport.disconnected)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_network_gone(self) -> None:
        """A network that goes away, when connecting or later, ends it with a sentence."""
        for sendings in (None, 0, 1):
            reactor = _UnreachableReactor(sendings)
            asking = observe_address(reactor, ("192.0.2.1", 3478))
            reactor.advance(0.5)
            failure = self.failureResultOf(asking, BindingFailed)
            self.assertIn("cannot be reached: Network is", failure.getErrorMessage())
            self.assertTrue(reactor.stopped)
            self.assertEqual(reactor.getDelayedCalls(), [])


class _UnreachableReactor(Clock):
    """A clock with UDP whose network goes away: at connect, or after so many sendings."""

    def __init__(self, sendings: int | None) -> None:
        super().__init__()
        self.sendings = sendings
        self.stopped = False

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "") -> None:
        """Open a socket."""
        protocol.makeConnection(self)  # type: ignore[arg-type]

    def connect(self, host: str, port: int) -> None:
        """Connect it."""
        if self.sendings is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def write(self, data: bytes) -> None:
        """Send from it."""
        assert self.sendings is not None
        self.sendings -= 1
        if self.sendings < 0:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def stopListening(self) -> None:
        """Close it."""
        self.stopped = True
