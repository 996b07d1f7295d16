"""libudt's side of a capture replayed into our receiver: the same bytes come out."""

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.pcap import read_capture
from wavesync.udt.connection import Closed, CloseReason, Connection, DataReceived
from wavesync.udt.packet import (
    ControlPacket,
    ControlType,
    DataPacket,
    decode_acknowledgement,
    decode_packet,
)
from wavesync.udt.sequence import extend

_REGULAR = "04c671df807f1f4141677aaefec27fa33ad3aacc9f92fda675650a0278577ae0"


class ReplayTests(SynchronousTestCase):
    """The receiver of each capture is replaced by ours."""

    def replay(self, name: str, expected: int) -> tuple[str, Connection]:
        """Feed what the first side sent after its handshake; give the digest of what came out."""
        datagrams = read_capture(name)
        port = datagrams[0].source
        first = next(
            packet
            for datagram in datagrams
            if datagram.source == port
            and isinstance(packet := decode_packet(datagram.payload), DataPacket)
        )
        isn = int.from_bytes(datagrams[0].payload[24:28], "big")
        connection = Connection(
            now=datagrams[0].time,
            local_id=first.destination,
            peer_id=1,
            send_isn=0,
            receive_isn=isn,
            send_mss=1500,
            peer_window=8192,
        )
        received = b""
        reference: dict[int, bytes] = {}
        reasons = []
        now = datagrams[0].time
        for datagram in datagrams:
            packet = decode_packet(datagram.payload)
            if datagram.source != port or packet.destination != first.destination:
                continue
            now = datagram.time
            if isinstance(packet, DataPacket):
                reference.setdefault(extend(packet.sequence, isn), packet.payload)
            connection.receive(datagram.payload, len(datagram.payload), now)
            connection.datagrams(now)
            for event in connection.events():
                if isinstance(event, DataReceived):
                    received += event.data
                elif isinstance(event, Closed):
                    reasons.append(event.reason)
        self.assertEqual(len(received), expected)
        self.assertEqual(received, b"".join(reference[number] for number in sorted(reference)))
        self.assertEqual(reasons, [CloseReason.PEER])
        self.assertEqual(connection.statistics.dropped_bad, 0)
        return hashlib.sha256(received).hexdigest(), connection

    def test_regular(self) -> None:
        """100 kB: the digest is that of the file libudt sent."""
        digest, connection = self.replay("regular", 100_000)
        self.assertEqual(digest, _REGULAR)
        self.assertEqual(connection.statistics.naks_sent, 0)

    def test_wrap(self) -> None:
        """30 kB across sequence number 0x7FFFFFFF."""
        self.replay("wrap", 30_000)

    def test_loss(self) -> None:
        """250 kB with retransmissions."""
        self.replay("loss2pct", 250_000)

    def test_our_acks_look_like_libudts(self) -> None:
        """For the same packets our ACK points are among those that libudt sent, or between them."""
        datagrams = read_capture("regular")
        theirs = []
        for datagram in datagrams:
            packet = decode_packet(datagram.payload)
            if isinstance(packet, ControlPacket) and packet.kind == ControlType.ACK:
                theirs.append(decode_acknowledgement(packet.body).sequence)
        self.assertEqual(theirs[-1] - 1892313612, 69)
        _, connection = self.replay("regular", 100_000)
        self.assertGreater(connection.statistics.acks_sent, len(theirs) - 1)
