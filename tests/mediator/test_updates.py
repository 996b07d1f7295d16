"""``connectionAck``, ``connectionUpdate`` and ``connectionResult``, as a mediator handles them."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mediator.driver import CLIENT_UDP, CONNECTION, SERVER_UDP, Client, Server, World
from tests.signalling.provers import server
from wavesync.mediator.introducing import INTRODUCTION_LIFE, MAX_MOVES, MAX_WAYS
from wavesync.signalling.messages import (
    ConnectAnswer,
    ConnectionResult,
    ConnectionUpdate,
    Refusal,
)
from wavesync.signalling.numbers import UPDATE_SCHEDULE, ConnectType, Method
from wavesync.stun.message import MessageClass, check_integrity, decode

MOVED = ("198.51.100.1", 4999)


class AckTests(SynchronousTestCase):
    """The server punches, and is seen where it does."""

    def setUp(self) -> None:
        """A client introduced to a server."""
        self.world = World()
        self.server = Server(self.world).ready()
        self.client = Client(self.world)
        self.raw = self.client.connect_bytes(self.server.target)
        self.first = self.client.ask(self.raw)
        self.token = ConnectAnswer.decode(self.first).token

    def _echo(self, update: ConnectionUpdate, source: tuple[str, int] = CLIENT_UDP) -> None:
        self.assertIsNone(self.world.datagram(update.encode(bytes(12)), source))

    def test_nothing_new(self) -> None:
        """An ack from where the server is known to be needs no update."""
        self.assertIsNotNone(self.world.datagram(self.server.ack_bytes(), SERVER_UDP))
        self.world.advance(10)
        self.assertEqual(self.world.port.updates(), [])
        self.assertEqual(self.world.mediator.statistics.acknowledged, 1)

    def test_seen_elsewhere(self) -> None:
        """An ack from another mapping reaches the client, again until it says so."""
        begin = self.world.now
        self.world.datagram(self.server.ack_bytes(), MOVED)
        ((update, to),) = self.world.port.updates()
        self.assertEqual(to, CLIENT_UDP)
        self.assertEqual(update, ConnectionUpdate(CONNECTION, 1, (MOVED,)))
        times = []
        for _ in range(2):
            at = self.world.mediator.deadline()
            assert at is not None
            self.world.advance(at - self.world.now)
            times.append(round(at - begin, 3))
            self.assertEqual(self.world.port.updates(), [(update, CLIENT_UDP)])
        self.assertEqual(times, list(UPDATE_SCHEDULE[1:3]))
        self._echo(update)
        self.world.advance(10)
        self.assertEqual(self.world.port.updates(), [])

    def test_repeats_end(self) -> None:
        """A client that never answers is told a limited number of times."""
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.world.advance(60)
        self.assertEqual(len(self.world.port.updates()), len(UPDATE_SCHEDULE))

    def test_no_more_than_was_spent(self) -> None:
        """Whatever a server does, nobody's address is sent more bytes than came from it: a
        forged one gains nothing."""
        answer = len(self.first.raw)
        acks = [(self.server.ack_bytes(), ("198.51.100.1", 5000 + i)) for i in range(MAX_WAYS)]
        for raw, source in acks * MAX_MOVES:
            self.world.datagram(raw, source)
            self.world.advance(2.0)
        sent = sum(len(message.raw) for message, _ in self.world.port.sent)
        self.assertLessEqual(answer + sent, len(self.raw))
        self.assertGreater(sent, (len(self.raw) - answer) / 2)

    def test_forged_echo(self) -> None:
        """An echo from another host, or of an older update, does not stop the repeats."""
        self.world.datagram(self.server.ack_bytes(), MOVED)
        ((first, _),) = self.world.port.updates()
        self._echo(first, ("192.0.2.66", 5100))
        self.world.advance(0.11)
        self.assertEqual(self.world.port.updates(), [(first, CLIENT_UDP)])
        self.world.datagram(self.server.ack_bytes(), ("198.51.100.1", 5001))
        ((second, _),) = self.world.port.updates()
        self.assertEqual(second.sequence, 2)
        self._echo(first)
        self.world.advance(0.11)
        self.assertEqual(self.world.port.updates(), [(second, CLIENT_UDP)])

    def test_next_client(self) -> None:
        """The next client is told the new mapping at once."""
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.assertEqual(self.client.connect(self.server.target, "1" * 32).observed, (MOVED,))

    def test_cached_answer_stays(self) -> None:
        """The repeated request still gets the first answer, byte for byte."""
        first = self.client.ask(self.raw).raw
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.assertEqual(self.client.ask(self.raw).raw, first)

    def test_copied_ack(self) -> None:
        """A copy of an ack from elsewhere moves nothing."""
        ack = self.server.ack_bytes()
        self.world.datagram(ack, SERVER_UDP)
        self.world.datagram(ack, ("192.0.2.66", 666))
        self.assertEqual(self.world.port.updates(), [])
        self.assertEqual(self.client.connect(self.server.target, "1" * 32).observed, (SERVER_UDP,))

    def test_too_many_acks(self) -> None:
        """Only the first few acks are looked at for addresses."""
        for i in range(MAX_WAYS):
            self.world.datagram(self.server.ack_bytes(), ("198.51.100.1", 5000 + i))
        self.assertEqual(len(self.world.port.updates()), MAX_WAYS)
        self.world.datagram(self.server.ack_bytes(), ("198.51.100.1", 6000))
        self.assertEqual(self.world.port.updates(), [])

    def test_unknown(self) -> None:
        """An ack for no introduction of this server is answered 404, signed."""
        other = Server(self.world, server(2)).ready()
        for asked in (self.server.ack_bytes("1" * 32), other.ack_bytes()):
            answer = self.world.datagram(asked, SERVER_UDP)
            assert answer is not None
            self.assertEqual(Refusal.decode(answer).code, 404)
            key = other.key if check_integrity(answer, other.key) else self.server.key
            self.assertTrue(check_integrity(answer, key))

    def test_forged(self) -> None:
        """An ack without the registration's key is dropped."""
        self.server.key = bytes(32)
        self.assertIsNone(self.world.datagram(self.server.ack_bytes(), MOVED))
        self.assertEqual(self.world.port.updates(), [])

    def test_client_on_tcp(self) -> None:
        """A client that is connected by TCP gets the update there too, once."""
        leg, channel = self.world.leg((CLIENT_UDP[0], 44000))
        leg.receive(decode(self.raw), self.world.now)
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.world.advance(10)
        sent = channel.take(Method.CONNECTION_UPDATE, MessageClass.INDICATION)
        self.assertEqual(len(sent), 1)
        self.assertEqual(len(self.world.port.updates()), len(UPDATE_SCHEDULE))

    def test_echo_over_tcp(self) -> None:
        """An echo over TCP stops the repeats as well."""
        leg, channel = self.world.leg((CLIENT_UDP[0], 44000))
        leg.receive(decode(self.raw), self.world.now)
        self.world.datagram(self.server.ack_bytes(), MOVED)
        (sent,) = channel.take(Method.CONNECTION_UPDATE, MessageClass.INDICATION)
        leg.receive(sent, self.world.now)
        self.world.port.updates()
        self.world.advance(10)
        self.assertEqual(self.world.port.updates(), [])

    def test_server_returns_update(self) -> None:
        """What a server returns is no news, not even from behind the client's own router."""
        world = World()
        near = Server(world, source=(CLIENT_UDP[0], 33000)).ready()
        asking = Client(world)
        raw = asking.connect_bytes(near.target)
        asking.ask(raw)
        asking.ask(raw, (CLIENT_UDP[0], 6000))
        world.datagram(near.ack_bytes(), MOVED)
        world.port.updates()
        (update,) = near.updates()
        near.leg.receive(decode(update.encode(bytes(12))), world.now)
        world.advance(0.11)
        self.assertEqual(len(world.port.updates()), 2)
        self.assertEqual(world.mediator.statistics.dropped, 0)

    def test_client_moves_often(self) -> None:
        """The server is told of so many moves of a client, not of one more."""
        for i in range(MAX_MOVES):
            self.client.ask(self.raw, (CLIENT_UDP[0], 6000 + i))
        self.assertEqual(len(self.server.updates()), MAX_MOVES)
        self.client.ask(self.raw, (CLIENT_UDP[0], 7000))
        self.assertEqual(self.server.updates(), [])

    def test_ways(self) -> None:
        """Updates go to so many of a client's sources, not to one more."""
        for i in range(MAX_WAYS + 1):
            self.client.ask(self.raw, (CLIENT_UDP[0], 6000 + i))
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.assertEqual(len(self.world.port.updates()), MAX_WAYS)


class ResultTests(SynchronousTestCase):
    """The client tells how it ended."""

    def setUp(self) -> None:
        """A client introduced to a server."""
        self.world = World()
        self.server = Server(self.world).ready()
        Client(self.world).connect(self.server.target)

    def _report(
        self,
        result: int = 0,
        path: ConnectType = ConnectType.UDP,
        source: tuple[str, int] = CLIENT_UDP,
    ) -> None:
        report = ConnectionResult(CONNECTION, result, path, 0.25)
        self.assertIsNone(self.world.datagram(report.encode(bytes(12)), source))

    def test_counted(self) -> None:
        """A report is counted once, by path and outcome."""
        self._report()
        self._report()
        self.assertEqual(self.world.mediator.statistics.results, {("udp", "ok"): 1})
        self.world.advance(INTRODUCTION_LIFE)
        self.assertEqual(self.world.mediator.statistics.unreported, 0)

    def test_odd_reports(self) -> None:
        """Numbers of newer peers are counted as others: the statistics cannot be made to grow."""
        self._report(12345, ConnectType.UDP | ConnectType.TCP)
        self.assertEqual(self.world.mediator.statistics.results, {("several", "other"): 1})

    def test_failure(self) -> None:
        """A failure is counted by its reason."""
        self._report(4, ConnectType.NONE)
        key = ("none", "no punch from server")
        self.assertEqual(self.world.mediator.statistics.results, {key: 1})

    def test_of_somebody_else(self) -> None:
        """A report from another host counts nothing."""
        self._report(source=("192.0.2.66", 1))
        self.assertEqual(self.world.mediator.statistics.results, {})

    def test_unreported(self) -> None:
        """Introductions without a report are counted when they are forgotten."""
        self.world.advance(INTRODUCTION_LIFE)
        self.assertEqual(self.world.mediator.statistics.unreported, 1)

    def test_ends_updates(self) -> None:
        """After the report nobody is told anything any more."""
        self.world.datagram(self.server.ack_bytes(), MOVED)
        self.world.port.updates()
        self._report()
        self.world.datagram(self.server.ack_bytes(), ("198.51.100.1", 5001))
        self.world.advance(10)
        self.assertEqual(self.world.port.updates(), [])
