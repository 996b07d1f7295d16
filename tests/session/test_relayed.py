"""Tests of :mod:`wavesync.session.relayed`, alone and before sessions."""

from twisted.internet.address import HostnameAddress, IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.session.cases import SessionCase
from wavesync.session.door import HANDSHAKES_AT_ONCE
from wavesync.session.relayed import RelayedAddress, kind_of, source_of

_BURST = int(HANDSHAKES_AT_ONCE)
ONE, TWO = "http://one.example:3356", "http://two.example:3356"


class RelayedAddressTests(SynchronousTestCase):
    """What is known of a client that comes through a relay."""

    def test_interface(self) -> None:
        """It is an address like any other."""
        address = RelayedAddress("192.0.2.1", 5000, ONE)
        self.assertTrue(verifyObject(IAddress, address))
        self.assertEqual((address.host, address.port), ("192.0.2.1", 5000))

    def test_source(self) -> None:
        """A source is a client at one relay; it has nothing to do with that address elsewhere."""
        source = source_of(RelayedAddress("192.0.2.1", 5000, ONE))
        self.assertEqual(source, source_of(RelayedAddress("192.0.2.1", 5001, ONE)))
        self.assertNotEqual(source, source_of(RelayedAddress("192.0.2.2", 5000, ONE)))
        self.assertNotEqual(source, source_of(RelayedAddress("192.0.2.1", 5000, TWO)))
        self.assertNotEqual(source, source_of(IPv4Address("TCP", "192.0.2.1", 5000)))
        net = source_of(RelayedAddress("2001:db8::1", 5000, ONE))
        self.assertEqual(net, source_of(RelayedAddress("2001:db8::2", 5000, ONE)))

    def test_kinds(self) -> None:
        """Paths are told apart by their addresses."""
        for address, kind in (
            (IPv4Address("TCP", "192.0.2.1", 1), "tcp"),
            (IPv4Address("UDP", "192.0.2.1", 1), "udp"),
            (RelayedAddress("192.0.2.1", 1, ONE), "relay"),
            (HostnameAddress(b"x", 1), ""),
        ):
            self.assertEqual(kind_of(address), kind)
        self.assertEqual(source_of(IPv4Address("TCP", "192.0.2.1", 1)), "192.0.2.1")


class DoorTests(SessionCase):
    """Relayed clients at the door of a server."""

    def knock(self, address: IAddress) -> bool:
        """Come from somewhere; whether a handshake would begin."""
        return self.factory.buildProtocol(address) is not None

    def test_counted_by_client(self) -> None:
        """Whoever a relay brings is counted by himself, neither with the relay nor with others."""
        flooder = RelayedAddress("192.0.2.66", 1, ONE)
        knocks = [self.knock(flooder) for _ in range(_BURST + 1)]
        self.assertEqual(knocks, [True] * _BURST + [False])
        for other in (
            RelayedAddress("192.0.2.67", 1, ONE),
            RelayedAddress("192.0.2.66", 1, TWO),
            IPv4Address("TCP", "192.0.2.66", 1),
        ):
            self.assertTrue(self.knock(other), other)
