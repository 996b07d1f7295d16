"""How much is held of a peer of whom nobody knows yet who it is."""

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.client.world import Talker
from tests.signalling.provers import NOW, client, server
from tests.udt.ends import Pair, Randbits
from wavesync.interfaces import IWaryTransport
from wavesync.session.client import connect_session
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.connection import Connection
from wavesync.udt.packet import DataPacket
from wavesync.udt.port import Port
from wavesync.udt.receive_buffer import EARLY_WINDOW

_ME = 5
_SIZE = 1 << 18


class ConnectionTests(SynchronousTestCase):
    """One connection."""

    def connection(self, early_window: int | None) -> Connection:
        """A connection that expects packet 2000 first and was offered a window of 100."""
        return Connection(
            now=0.0,
            local_id=_ME,
            peer_id=6,
            send_isn=1000,
            receive_isn=2000,
            send_mss=1500,
            peer_window=100,
            receive_window=100,
            early_window=early_window,
        )

    def held(self, connection: Connection) -> int:
        """Put in all packets but the first, and 100 beyond; count what is held of them."""
        before = connection.statistics.packets_received
        for sequence in range(2001, 2200):
            packet = DataPacket(sequence, 1, _ME, bytes(10)).encode()
            connection.receive(packet, len(packet), 0.1)
        return connection.statistics.packets_received - before

    def test_limit(self) -> None:
        """Behind a gap, a stranger's packets are held up to the early window and not one more."""
        self.assertEqual(self.held(self.connection(10)), 9)

    def test_trusted(self) -> None:
        """Once the peer is known, the window that it was offered is there, and not one more."""
        connection = self.connection(10)
        self.held(connection)
        connection.trust()
        self.assertEqual(self.held(connection), 90)

    def test_without(self) -> None:
        """Where nobody asks who the peer is, the whole window is there from the start."""
        self.assertEqual(self.held(self.connection(None)), 99)

    def test_larger_than_the_window(self) -> None:
        """The early window never makes more room than was offered."""
        self.assertEqual(self.held(self.connection(1000)), 99)


class SessionTests(SynchronousTestCase):
    """A session over UDT in memory, 20 ms away."""

    def setUp(self) -> None:
        """Nothing has happened yet."""
        self.clock = Clock()

    def echoed_after(self, early_window: int | None) -> float:
        """Have a quarter of a megabyte echoed over a new session.

        :returns: seconds that it took.
        """
        clock = self.clock = Clock()
        network = Network(clock, delay=0.02)
        here = Port(
            clock,
            network.host("192.0.2.1").carrier(1000),
            early_window=early_window,
            randbits=Randbits(1),
        )
        there = Port(
            clock,
            network.host("192.0.2.2").carrier(2000),
            early_window=early_window,
            randbits=Randbits(2),
        )
        there.listen(
            ServerSessionFactory(
                server(),
                NamedServices({"echo": Factory.forProtocol(Echo)}),
                clock,
                wall_clock=lambda: NOW + clock.seconds(),
            )
        )
        factory, ready = connect_session(
            client(), server().target, clock, wall_clock=lambda: NOW + clock.seconds()
        )
        here.connect(there.address, factory)
        while not ready.called:
            run_for(clock, 0.01)
        session = self.successResultOf(ready)
        talker = Talker(bytes(_SIZE))
        session.open("echo", talker)
        began = clock.seconds()
        while len(talker.heard) < _SIZE and clock.seconds() < began + 60:
            run_for(clock, 0.02)
        self.assertEqual(len(talker.heard), _SIZE)
        took = clock.seconds() - began
        for link in [*here._sorter.links.values(), *there._sorter.links.values()]:
            self.assertGreater(link.connection._receiver._buffer.free, 1000)
        session.abort()
        here.close()
        there.close()
        run_for(clock, 10)
        return took

    def test_no_slower(self) -> None:
        """Streams are as fast as if nobody had been careful: both ends open up when they know."""
        self.assertLessEqual(self.echoed_after(EARLY_WINDOW), self.echoed_after(None) + 0.05)

    def test_interface(self) -> None:
        """A UDT connection's transport can be told that the peer is known."""
        pair = Pair()
        served, made = pair.recorders(), pair.recorders()
        pair.there.listen(served)
        pair.here.connect(Pair.THERE, made)
        run_for(pair.clock, 1.0)
        self.assertTrue(verifyObject(IWaryTransport, made.last.transport))
