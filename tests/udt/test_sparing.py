"""Tests for what L{wavesync.udt.connection} leaves out between wavesync ends."""

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair
from wavesync.interfaces import Address
from wavesync.testing.time import run_for
from wavesync.udt.congestion import AckSample, CongestionControl, LossEvent
from wavesync.udt.connection import Connection
from wavesync.udt.ending import SHUTDOWNS
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    encode_acknowledgement,
    encode_control,
)

_ME, _PEER = 5, 6


class FarewellTests(SynchronousTestCase):
    """How often SHUTDOWN is said."""

    def setUp(self) -> None:
        """Two ports, 5 ms apart, and what goes from one to the other."""
        self.pair = Pair(delay=0.005)
        self.lost: set[Address] = set()
        self.said: list[Address] = []
        self.pair.network.drop = self.note
        self.served = self.pair.recorders(echo=True)
        self.pair.there.listen(self.served)

    def note(self, data: bytes, source: Address, destination: Address) -> bool:
        """Note a SHUTDOWN, and lose it if so told."""
        if data[:2] != encode_control(ControlType.SHUTDOWN, 0)[:2]:
            return False
        self.said.append(source)
        return source in self.lost

    def leave(self) -> None:
        """Connect, and close again."""
        ours = self.pair.recorders(b"hello")
        self.pair.here.connect(Pair.THERE, ours)
        run_for(self.pair.clock, 1.0)
        ours.last.transport.loseConnection()
        run_for(self.pair.clock, 1.0)

    def test_answered(self) -> None:
        """Once from each side, and nothing is left on either."""
        self.leave()
        self.assertEqual(self.said, [Pair.HERE, Pair.THERE])
        for port in (self.pair.here, self.pair.there):
            self.assertFalse(port._sorter.links)

    def test_answer_lost(self) -> None:
        """Who gets no answer says it as often as to others; the other side has gone."""
        self.lost = {Pair.THERE}
        self.leave()
        self.assertEqual(self.said.count(Pair.HERE), SHUTDOWNS)
        self.assertEqual(self.said.count(Pair.THERE), 1)
        self.assertFalse(self.pair.there._sorter.links)

    def test_first_lost(self) -> None:
        """The second is answered like the first."""
        self.lost = {Pair.HERE}
        self.pair.clock.callLater(1.01, self.lost.clear)
        self.leave()
        self.assertEqual(self.said, [Pair.HERE, Pair.HERE, Pair.THERE])
        self.assertIsNotNone(self.served.last.lost)

    def test_both_at_once(self) -> None:
        """When both close, neither answers the other."""
        ours = self.pair.recorders(b"hello")
        self.pair.here.connect(Pair.THERE, ours)
        run_for(self.pair.clock, 1.0)
        for end in (ours.last, self.served.last):
            end.transport.loseConnection()
        run_for(self.pair.clock, 1.0)
        self.assertEqual(sorted(self.said), [Pair.HERE, Pair.THERE])


class LastWordTests(SynchronousTestCase):
    """When all has arrived, so that SHUTDOWN may be said."""

    def closing(self, *, sparing: bool) -> Connection:
        """:return: a connection that was closed behind packets 1000 and 1001."""
        connection = Connection(
            now=0.0,
            local_id=_ME,
            peer_id=_PEER,
            send_isn=1000,
            receive_isn=2000,
            send_mss=1500,
            peer_window=100,
            sparing=sparing,
        )
        connection.write(bytes(2000))
        connection.close()
        connection.datagrams(0.0)
        return connection

    def shutdown(self, connection: Connection, ack: Acknowledgement, number: int) -> bool:
        """:return: whether the connection says SHUTDOWN upon this ACK."""
        body = encode_acknowledgement(ack)
        packet = encode_control(ControlType.ACK, _ME, number, body)
        connection.receive(packet, len(packet), 0.04)
        shutdown = encode_control(ControlType.SHUTDOWN, _PEER)
        return shutdown in [burst.data for burst in connection.datagrams(0.04)]

    def test_libudt(self) -> None:
        """libudt throws away what it has only sent a light ACK for: we wait for a numbered one."""
        connection = self.closing(sparing=False)
        self.assertFalse(self.shutdown(connection, Acknowledgement(1002), 0))
        due = connection.deadline()
        assert due is not None
        self.assertGreater(due, 1.0)  # meanwhile there is nothing to do
        self.assertTrue(self.shutdown(connection, Acknowledgement(1002, 40_000, 1_000, 100), 1))

    def test_older_number(self) -> None:
        """A numbered ACK of an earlier packet does not do."""
        connection = self.closing(sparing=False)
        self.assertFalse(self.shutdown(connection, Acknowledgement(1001, 40_000, 1_000, 100), 1))
        self.assertFalse(self.shutdown(connection, Acknowledgement(1002), 0))

    def test_wavesync(self) -> None:
        """A wavesync end has delivered what any ACK of its acknowledges."""
        connection = self.closing(sparing=True)
        self.assertTrue(self.shutdown(connection, Acknowledgement(1002), 0))


class RoomTests(SynchronousTestCase):
    """How far a sender may go on behind a light ACK."""

    def sent(self, *, sparing: bool) -> list[int]:
        """Offer a megabyte to a peer that has told of room for 50 packets, and acknowledges 30 lightly.

        :return: packets that leave before, and after.
        """
        connection = Connection(
            now=0.0,
            local_id=_ME,
            peer_id=_PEER,
            send_isn=1000,
            receive_isn=2000,
            send_mss=1500,
            peer_window=10,
            sparing=sparing,
            congestion=_Unbounded(),
        )
        connection.write(bytes(1_000_000))
        connection.datagrams(0.0)
        counts = []
        for number, ack in (
            (1, Acknowledgement(1010, 40_000, 1_000, 50)),
            (0, Acknowledgement(1040)),
        ):
            before = connection.statistics.packets_sent
            packet = encode_control(ControlType.ACK, _ME, number, encode_acknowledgement(ack))
            connection.receive(packet, len(packet), 0.04)
            connection.datagrams(0.04)
            counts.append(connection.statistics.packets_sent - before)
        return counts

    def test_wavesync(self) -> None:
        """A wavesync end still has the room that it told of last."""
        self.assertEqual(self.sent(sparing=True), [50, 30])

    def test_libudt(self) -> None:
        """libudt says nothing of that: its next numbered ACK is waited for."""
        self.assertEqual(self.sent(sparing=False), [50, 0])


class _Unbounded(CongestionControl):
    """Lets everything leave."""

    def __init__(self) -> None:
        super().__init__()
        self.window = self.rate = float(1 << 20)

    def on_ack(self, sample: AckSample) -> None:
        """Whatever it is."""

    def on_loss(self, loss: LossEvent) -> None:
        """Whatever it is."""

    def on_timeout(self, now: float) -> None:
        """Whatever it is."""
