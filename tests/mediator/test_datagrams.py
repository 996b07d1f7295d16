"""The mediator's UDP side, without a socket."""

from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, World
from wavesync.mediator.core import DROP_LOG_INTERVAL, MAX_DATAGRAM
from wavesync.mediator.udp import MediatorDatagrams
from wavesync.signalling.messages import keep_alive_request
from wavesync.stun.attributes import (
    RESPONSE_PORT,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
    decode_xor_address,
)
from wavesync.stun.message import BINDING, Message, MessageClass, decode, encode, pad_message


class Wire:
    """A UDP transport that keeps what is written, or cannot send."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str | int, ...]]] = []
        self.broken = False

    def write(self, data: bytes, address: tuple[str | int, ...]) -> None:
        """Keep a datagram."""
        if self.broken:
            raise OSError("no route")
        self.sent.append((data, address))


class CoreTests(SynchronousTestCase):
    """What the core makes of datagrams before it looks closer."""

    def setUp(self) -> None:
        """A mediator."""
        self.world = World()

    def test_longest(self) -> None:
        """The longest datagram is answered, a longer one dropped."""
        for size, answered in ((MAX_DATAGRAM, True), (MAX_DATAGRAM + 4, False)):
            message = Message(BINDING, MessageClass.REQUEST, bytes(12))
            raw = encode(pad_message(message, size))
            self.assertEqual(len(raw), size)
            answer = self.world.datagram(raw, CLIENT_UDP)
            self.assertEqual(answer is not None, answered)

    def test_indications_and_answers(self) -> None:
        """A Binding indication, or an answer to nothing, is not answered."""
        for message_class in (MessageClass.INDICATION, MessageClass.SUCCESS, MessageClass.ERROR):
            raw = encode(Message(BINDING, message_class, bytes(12)))
            self.assertIsNone(self.world.datagram(raw, CLIENT_UDP))

    def test_log(self) -> None:
        """Dropping is told once a minute, with who it was that time and how much in all."""
        lines: list[LogEvent] = []

        def observe(event: LogEvent) -> None:
            if "dropped what" in (event.get("log_format") or ""):
                lines.append(event)

        observer = cast(ILogObserver, observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(5):
            self.world.datagram(b"?", CLIENT_UDP)
        self.assertEqual(len(lines), 1)
        self.world.advance(DROP_LOG_INTERVAL)
        self.world.datagram(b"?", CLIENT_UDP)
        self.assertEqual([line["count"] for line in lines], [1, 6])


class ShellTests(SynchronousTestCase):
    """The UDP port around the core."""

    def setUp(self) -> None:
        """A port of a mediator."""
        self.wire = Wire()
        self.world = World()
        self.port = MediatorDatagrams(self.world.mediator, Clock(), lambda: None)
        self.port.wire = self.wire

    def test_answers(self) -> None:
        """An answer goes back to where the request came from."""
        self.port.received(keep_alive_request(bytes(12)), CLIENT_UDP)
        ((_, to),) = self.wire.sent
        self.assertEqual(to, CLIENT_UDP)

    def test_link_local(self) -> None:
        """A neighbour on the link is answered on that link; its scope is nobody else's."""
        self.port.received(keep_alive_request(bytes(12)), ("fe80::1", 5), 3)
        ((data, to),) = self.wire.sent
        self.assertEqual(to, ("fe80::1", 5, 0, 3))
        value = decode(data).get(XOR_MAPPED_ADDRESS) or b""
        self.assertEqual(decode_xor_address(value, bytes(12)), ("fe80::1", 5))

    def test_response_port(self) -> None:
        """A client learns how long its NAT keeps a mapping: an answer at another port of its own."""
        attributes = ((RESPONSE_PORT, (40000).to_bytes(2, "big")), (SOFTWARE, b"s" * 32))
        raw = encode(Message(BINDING, MessageClass.REQUEST, bytes(12), attributes))
        self.port.received(raw, CLIENT_UDP)
        ((data, to),) = self.wire.sent
        self.assertEqual(to, (CLIENT_UDP[0], 40000))
        self.assertLessEqual(len(data), len(raw))

    def test_cannot_send(self) -> None:
        """What the host cannot send is counted and forgotten."""
        self.wire.broken = True
        self.port.received(keep_alive_request(bytes(12)), CLIENT_UDP)
        self.assertEqual(self.world.mediator.statistics.dropped, 1)

    def test_closed(self) -> None:
        """After the port was closed nothing is sent."""
        self.port.wire = None
        self.port.send_datagram(b"", CLIENT_UDP)
        self.assertEqual(self.wire.sent, [])
