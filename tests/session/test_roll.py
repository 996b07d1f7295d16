"""Tests of :mod:`wavesync.session.roll`."""

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.session.test_guard import Session
from wavesync.identity.verify import Peer, Role
from wavesync.session.roll import Roll

ALICE = Peer(Role.CLIENT, "11" * 16, None, "alice", b"")
BOB = Peer(Role.CLIENT, "11" * 16, None, "bob", b"")


class Served(Session):
    """A session from somewhere."""

    def __init__(self, port: int = 1) -> None:
        super().__init__()
        self.port = port

    def path_peer(self) -> IAddress:
        """Where the client is."""
        return IPv4Address("UDP", "192.0.2.1", self.port)


class RollTests(SynchronousTestCase):
    """A server knows how many sessions each client has, and which go over the same path."""

    def setUp(self) -> None:
        self.roll: Roll[Served] = Roll()

    def begin(self, peer: Peer = ALICE, port: int = 1, *, control: bool = False) -> Served:
        """One more session."""
        session = Served(port)
        self.roll.begin(session, peer, control=control)
        return session

    def test_count(self) -> None:
        """Clients are counted by name; ending twice counts once."""
        one, two = self.begin(), self.begin(port=2)
        self.begin(BOB)
        self.assertEqual((self.roll.count(ALICE), self.roll.count(BOB)), (2, 1))
        self.roll.end(one)
        self.roll.end(one)
        self.assertEqual((self.roll.count(ALICE), len(self.roll.sessions)), (1, 2))
        self.roll.end(two)
        self.assertEqual(self.roll.count(ALICE), 0)

    def test_one_watches(self) -> None:
        """A control session watches for its client's sessions at the same address, for no others."""
        control = self.begin(control=True)
        beside, elsewhere, other = self.begin(), self.begin(port=2), self.begin(BOB)
        self.assertEqual(control.told, ["rest", "watch"])
        self.assertEqual((beside.told, elsewhere.told, other.told), (["guarded"], [], []))
        self.roll.end(control, silent=True)
        self.assertEqual(beside.told, ["guarded", "dead"])
        self.assertEqual((elsewhere.told, other.told), ([], []))

    def test_nothing_stays(self) -> None:
        """Of sessions that are over nothing is kept."""
        sessions = [self.begin(port=port, control=port % 2 == 0) for port in range(10)]
        for session in sessions:
            self.roll.end(session)
        self.assertEqual((self.roll.sessions, len(self.roll._guards)), ({}, 0))
