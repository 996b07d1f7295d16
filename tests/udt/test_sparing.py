"""Tests for what L{wavesync.udt.connection} leaves out between wavesync ends."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.connection import Connection
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    encode_acknowledgement,
    encode_control,
)

_ME, _PEER = 5, 6


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
