"""Tests of :mod:`wavesync.session.door`, alone and before sessions."""

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.session.cases import SessionCase
from wavesync.session.door import HANDSHAKES_A_SECOND, HANDSHAKES_AT_ONCE, KNOWN_COST, Door

_BURST = int(HANDSHAKES_AT_ONCE)


class DoorTests(SynchronousTestCase):
    """Who may begin a handshake."""

    def admitted(self, door: Door, host: str, most: int, now: float = 0.0) -> int:
        """Knock until nobody opens."""
        for count in range(most):
            if not door.admit(host, now):
                return count
        return most

    def test_limit(self) -> None:
        """A source begins so many at once and not one more; another source still does."""
        door = Door()
        self.assertEqual(self.admitted(door, "192.0.2.1", 1000), _BURST)
        self.assertTrue(door.admit("192.0.2.2", 0.0))

    def test_rate(self) -> None:
        """A second later it is so many again."""
        door = Door()
        self.admitted(door, "192.0.2.1", 1000)
        self.assertEqual(self.admitted(door, "192.0.2.1", 1000, now=1.0), int(HANDSHAKES_A_SECOND))

    def test_one_network(self) -> None:
        """The addresses of an IPv6 /64 are one source, and so is an IPv4 address in either form."""
        door = Door()
        self.admitted(door, "2001:db8::1", 1000)
        self.assertFalse(door.admit("2001:db8::2", 0.0))
        self.admitted(door, "192.0.2.1", 1000)
        self.assertFalse(door.admit("::ffff:192.0.2.1", 0.0))

    def test_known(self) -> None:
        """Where a client is known, twenty times as many begin, until it has gone."""
        door = Door()
        door.greet("192.0.2.1")
        door.greet("192.0.2.1")
        self.assertApproximates(self.admitted(door, "192.0.2.1", 5000), _BURST / KNOWN_COST, 1)
        door.part("192.0.2.1")
        self.assertEqual(len(door), 1)
        door.part("192.0.2.1")
        self.assertEqual(len(door), 0)
        self.assertEqual(self.admitted(door, "192.0.2.1", 1000, now=1.0), int(HANDSHAKES_A_SECOND))


class SessionTests(SessionCase):
    """The door of a server."""

    def knock(self, host: str) -> bool:
        """Come from somewhere; whether a handshake would begin."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", host, 1))
        return protocol is not None

    def test_strangers(self) -> None:
        """A stranger beyond the limit is closed without a signature; others are served."""
        knocks = [self.knock("192.0.2.66") for _ in range(_BURST + 1)]
        self.assertEqual(knocks, [True] * _BURST + [False])
        self.session()

    def test_clients(self) -> None:
        """A host with a known client comes again and again; when it has left, it is a stranger."""
        path, session = self.session()
        knocks = [self.knock("192.0.2.2") for _ in range(2 * _BURST)]
        self.assertTrue(all(knocks))
        session.abort()
        path.pump()
        path.advance(20)
        self.assertEqual(len(self.factory.door), 0)
