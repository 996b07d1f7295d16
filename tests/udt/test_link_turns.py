"""Tests for :mod:`wavesync.udt.link`: what one turn of a link does."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Recorder
from wavesync.interfaces import Address, Burst
from wavesync.udt.handshake import Agreement
from wavesync.udt.link import Link, Member, connection_for
from wavesync.udt.packet import HEADER_SIZE
from wavesync.udt.tail import SharedTrips

HERE, THERE = ("192.0.2.1", 1), ("192.0.2.2", 2)


class Ports:
    """The port of one link; notes what it is asked for."""

    def __init__(self) -> None:
        self.touched = 0
        self.sent: list[Burst] = []

    def local_address(self, remote: Address) -> Address:
        """Ours."""
        return HERE

    def congested(self, remote: Address) -> bool:
        """Never."""
        return False

    def send(self, burst: Burst, remote: Address) -> None:
        """Note it."""
        self.sent.append(burst)

    def touch(self, member: Member) -> None:
        """Note it."""
        self.touched += 1

    def forget(self, link: Link) -> None:
        """Nothing to do."""

    def shown(self, link: Link) -> None:
        """Nothing to do."""

    def ended(self) -> None:
        """Nothing to do."""


def make(port: Ports, number: int, other: int, *, echo: bool = False) -> tuple[Link, Recorder]:
    """One of two links that agree with each other."""
    isns = (100, 200) if number < other else (200, 100)
    agreement = Agreement(number, other, *isns, 1500, 1500, 8192, True)
    trip = SharedTrips().of(THERE)
    connection = connection_for(agreement, 0.0, 8192, None, None, 0.0, trip)
    link = Link(port, connection, agreement, THERE, [THERE])
    protocol = Recorder(Clock(), echo=echo)
    link.attach(protocol)
    return link, protocol


class TurnTests(SynchronousTestCase):
    """Nobody waits for a second turn where one is enough."""

    def test_answer(self) -> None:
        """What a protocol answers leaves in the turn in which it was asked."""
        here, there = Ports(), Ports()
        one, asker = make(here, 1, 2)
        other, _ = make(there, 2, 1, echo=True)
        asker.transport.write(b"question")
        self.assertEqual(here.touched, 2)  # for the protocol, and for what it says
        one.turn(0.0)
        burst = here.sent[-1]
        other.receive(burst.data, burst.segment_size, 0.001)
        there.touched = 0
        other.turn(0.001)
        self.assertIn(b"question", [sent.data[HEADER_SIZE:] for sent in there.sent])
        self.assertEqual(there.touched, 0)
        other.transport.write(b"more")  # in nobody's turn
        self.assertEqual(there.touched, 1)
