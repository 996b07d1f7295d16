"""Tests for :mod:`wavesync.agent.udp_ports`."""

from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Recorder, Recorders
from wavesync.agent.introductions import RENDEZVOUS_TIMEOUT, Rendezvous
from wavesync.agent.udp_ports import (
    FRESH_INTERVAL,
    LOOK_INTERVAL,
    MAX_OLD_PORTS,
    UNHEARD,
    UdpPorts,
)
from wavesync.interfaces import Address
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.port import LAST_WORDS, Port

NOBODY: Address = ("44.9.9.9", 9)
PRIVATE: Address = ("10.9.9.9", 9)
ALL_OVER = RENDEZVOUS_TIMEOUT + LOOK_INTERVAL + LAST_WORDS + 0.1


class UdpPortsTests(SynchronousTestCase):
    """A spoiled UDP port is left, and nobody who uses it notices."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.02)
        self.host = self.network.host("44.1.0.1")
        self.peer = self.network.host("44.2.0.1")
        self.factory = Recorders(self.clock)
        self.told: list[int] = []
        self.full = False
        self.token = 0
        self.closed: list[list[Port]] = []
        self.ports: UdpPorts[Port] = UdpPorts(
            self.clock, self.open_port, self.fresh, lambda: self.closed.append(list(self.ports))
        )
        self.first = self.ports.newest

    def open_port(self) -> Port:
        """Open a port that listens, unless there shall be none."""
        if self.full:
            raise CannotListenError("", 0, "none left")
        port = Port(self.clock, self.host.carrier())
        port.listen(self.factory)
        return port

    def fresh(self) -> None:
        """Note where introductions are met now."""
        self.told.append(self.ports.newest.address[1])

    def punch(self, *candidates: Address, delay: float = 0.0) -> Rendezvous:
        """Begin to punch as for an introduction."""
        self.token += 1
        rendezvous = self.ports.rendezvous(
            candidates, self.factory, token=self.token, timeout=RENDEZVOUS_TIMEOUT, delay=delay
        )
        rendezvous.connected.addErrback(lambda failure: None)
        return rendezvous

    def connected(self, port: Port) -> Recorder:
        """A client's new connection to one of the ports."""
        client = Port(self.clock, self.peer.carrier())
        done = client.connect(port.address, Recorders(self.clock))
        run_for(self.clock, 0.5)
        made = self.successResultOf(done)
        assert isinstance(made, Recorder)
        return made

    def spoil(self) -> None:
        """Punch somebody who is not heard, and wait for the verdict."""
        self.punch(NOBODY)
        run_for(self.clock, UNHEARD + 0.1)

    def test_unheard(self) -> None:
        """Punching that hears nothing costs the port, once; unused, the old one is closed."""
        self.punch(NOBODY, PRIVATE)
        run_for(self.clock, UNHEARD - 0.1)
        self.assertIs(self.ports.newest, self.first)
        run_for(self.clock, 0.2)
        self.assertIsNot(self.ports.newest, self.first)
        self.assertEqual(self.told, [self.ports.newest.address[1]])
        self.assertEqual(list(self.ports), [self.ports.newest, self.first])
        self.assertIs(self.ports.at(self.first.address[1]), self.first)
        self.assertEqual(self.closed, [])
        run_for(self.clock, ALL_OVER)
        self.assertEqual(list(self.ports), [self.ports.newest])
        self.assertEqual(self.closed, [[self.ports.newest]])
        self.assertIsNone(self.ports.at(self.first.address[1]))
        self.assertEqual(list(self.host.carriers), [self.ports.newest.address[1]])
        run_for(self.clock, LOOK_INTERVAL)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_used(self) -> None:
        """The fresh port punches, and sends to mediators; what was begun on the old one goes on."""
        peer = Port(self.clock, self.peer.carrier())
        self.punch(NOBODY, delay=0.4)
        run_for(self.clock, 1.2)
        begun = self.punch()  # its client is heard of later
        run_for(self.clock, 0.3)
        self.assertIsNot(self.ports.newest, self.first)
        heard = peer.rendezvous([self.first.address], Recorders(self.clock), token=self.token)
        self.assertTrue(begun.add_candidate(peer.address))
        run_for(self.clock, 0.5)
        self.successResultOf(heard.connected)
        self.assertEqual(self.first.connections, 1)
        self.punch(peer.address)
        heard = peer.rendezvous(
            [self.ports.newest.address], Recorders(self.clock), token=self.token
        )
        run_for(self.clock, 0.5)
        self.successResultOf(heard.connected)
        self.assertEqual((self.first.connections, self.ports.newest.connections), (1, 1))
        sources: list[Address] = []
        peer.stun_handler = lambda data, source: sources.append(source)
        self.ports.send_stun(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), peer.address)
        run_for(self.clock, 0.1)
        self.assertEqual(sources, [self.ports.newest.address])

    def test_heard(self) -> None:
        """A peer that is heard shows that the port is good; so does one that was given up."""
        peer = Port(self.clock, self.peer.carrier())
        self.punch(peer.address)
        peer.rendezvous([self.first.address], Recorders(self.clock), token=self.token)
        self.punch(NOBODY).cancel()
        run_for(self.clock, 2 * UNHEARD)
        self.assertEqual((self.told, self.first.connections), ([], 1))

    def test_begin(self) -> None:
        """Time counts from the first punch."""
        self.punch(NOBODY, delay=0.4)
        run_for(self.clock, UNHEARD + 0.3)
        self.assertEqual(self.told, [])
        run_for(self.clock, 0.2)
        self.assertEqual(len(self.told), 1)

    def test_private(self) -> None:
        """A client that the mediator has seen no UDP of cannot be heard: that tells nothing."""
        self.punch(PRIVATE)
        self.punch()
        run_for(self.clock, 2 * UNHEARD)
        self.assertEqual(self.told, [])

    def test_interval(self) -> None:
        """Clients that are never heard cost a port now and then, however often they come."""
        self.spoil()
        self.assertEqual(len(self.told), 1)
        while (
            self.clock.seconds() < FRESH_INTERVAL
        ):  # the verdicts come UNHEARD later, as the first did
            self.spoil()
        self.assertEqual(len(self.told), 1)
        self.spoil()
        self.assertEqual(len(self.told), 2)
        self.assertLessEqual(len(list(self.ports)), 3)

    def test_in_use(self) -> None:
        """A connection keeps its port, and gets further ones there, until the last is over."""
        client = self.connected(self.first)
        self.spoil()
        run_for(self.clock, 3 * ALL_OVER)
        further = self.connected(self.first)
        client.transport.loseConnection()
        run_for(self.clock, ALL_OVER)
        self.assertIn(self.first, self.ports)
        self.assertIsNone(further.lost)
        further.transport.loseConnection()
        run_for(self.clock, ALL_OVER)
        self.assertNotIn(self.first, self.ports)
        self.assertNotIn(self.first.address[1], self.host.carriers)

    def test_limit(self) -> None:
        """With as many old ports in use as there may be, the newest stays until one is closed."""
        clients = []
        for count in range(1, MAX_OLD_PORTS + 1):
            clients.append(self.connected(self.ports.newest))
            self.spoil()
            self.assertEqual(len(self.told), count)
            run_for(self.clock, FRESH_INTERVAL)
        clients.append(self.connected(self.ports.newest))
        self.spoil()
        self.assertEqual(
            (len(self.told), len(list(self.ports))), (MAX_OLD_PORTS, 1 + MAX_OLD_PORTS)
        )
        clients[2].transport.loseConnection()
        run_for(self.clock, ALL_OVER)
        self.spoil()
        self.assertEqual(len(self.told), MAX_OLD_PORTS + 1)
        self.assertEqual(
            [client.lost is None for client in clients], [True, True, False, True, True]
        )

    def test_fixed(self) -> None:
        """A port that an operator has chosen stays, whatever happens."""
        ports = UdpPorts(self.clock, self.open_port, None)
        chosen = ports.newest
        ports.rendezvous([NOBODY], self.factory, token=1).connected.addErrback(lambda failure: None)
        run_for(self.clock, 2 * UNHEARD)
        ports.unheard()
        self.assertEqual(list(ports), [chosen])

    def test_none_left(self) -> None:
        """Where no further port can be had, the agent goes on with the one that it has."""
        self.full = True
        self.spoil()
        self.assertEqual((self.told, list(self.ports)), ([], [self.first]))
        self.full = False
        self.spoil()
        self.assertEqual(self.told, [], "not again at once")
        run_for(self.clock, FRESH_INTERVAL)
        self.spoil()
        self.assertEqual(len(self.told), 1)

    def test_close(self) -> None:
        """An agent that stops leaves neither port nor timer, and opens none any more."""
        self.spoil()
        self.punch(NOBODY)
        done = self.ports.close()
        run_for(self.clock, 2.0)
        self.successResultOf(done)
        self.assertEqual((list(self.host.carriers), self.clock.getDelayedCalls()), ([], []))
        run_for(self.clock, FRESH_INTERVAL)
        self.ports.unheard()
        self.assertEqual((list(self.host.carriers), len(self.told)), ([], 1))

    def test_close_used(self) -> None:
        """Connections to the old port end with the agent, too."""
        client = self.connected(self.first)
        self.spoil()
        done = self.ports.close()
        run_for(self.clock, 2.0)
        self.successResultOf(done)
        self.assertTrue(client.lost)
