"""Tests of :mod:`wavesync.session.sealing`: what goes into one record, and what waits."""

from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.session.cases import SessionCase
from tests.session.support import Path, Recorder, build, wall_clock
from wavesync.session.client import connect_session
from wavesync.session.openssl import FULL_RECORD
from wavesync.session.sealing import WORTH_A_RECORD, Outbox


class _Notes(TLSMemoryBIOProtocol):
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.told = lambda: None

    def write(self, data: bytes) -> None:
        """Note what is sealed at once."""
        self.told()
        self.written.append(bytes(data))


class OutboxTests(SynchronousTestCase):
    """Small pieces share a record; nothing waits longer than for the next turn."""

    def setUp(self) -> None:
        """Make one."""
        self.clock = Clock()
        self.notes = _Notes()
        self.box = Outbox(self.clock)
        self.box.transport = self.notes

    def test_small_pieces(self) -> None:
        """Small pieces wait for the next turn, together."""
        for piece in (b"a", b"b", b"c"):
            self.box.put([piece])
            self.box.settle()
        self.assertEqual(self.notes.written, [])
        self.clock.advance(0)
        self.assertEqual(self.notes.written, [b"abc"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_worth_a_record(self) -> None:
        """What is large enough is written at once, with what waits; one byte less waits."""
        self.box.put([bytes(WORTH_A_RECORD - 1)])
        self.box.settle()
        self.assertEqual(self.notes.written, [])
        self.box.put([b"x"])
        self.box.settle()
        self.assertEqual(self.notes.written, [bytes(WORTH_A_RECORD - 1) + b"x"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full_record(self) -> None:
        """What fills a record waits for nothing, so that less than one is ever held."""
        self.box.put([bytes(FULL_RECORD - 1)])
        self.assertEqual(self.notes.written, [])
        self.box.put([b"x"])
        self.assertEqual(self.notes.written, [bytes(FULL_RECORD - 1) + b"x"])

    def test_rest(self) -> None:
        """What is too much for full records goes with what follows, or with the next turn."""
        for _ in range(2):
            self.box.put([b"head", bytes(FULL_RECORD)])
            self.box.settle()
        self.clock.advance(0)
        self.assertEqual([len(each) for each in self.notes.written], [FULL_RECORD, FULL_RECORD, 8])
        self.assertEqual(b"".join(self.notes.written), 2 * (b"head" + bytes(FULL_RECORD)))

    def test_written_while_writing(self) -> None:
        """Who is paused by what is written, and says more at once, is heard behind that."""
        for more in (b"b", b"b" * FULL_RECORD):
            answers = [more]

            def say(answers: list[bytes] = answers) -> None:
                if answers:
                    self.box.put([answers.pop()])
                    self.box.settle()

            self.notes.told = say
            self.notes.written.clear()
            self.box.put([b"a" * FULL_RECORD])
            self.clock.advance(0)
            self.assertEqual(self.notes.written, [b"a" * FULL_RECORD, more])

    def test_drop(self) -> None:
        """When the path is gone nothing is written any more, and no timer stays."""
        self.box.put([b"a"])
        self.box.settle()
        self.box.drop()
        self.box.put([b"b"])
        self.box.flush()
        self.assertEqual(self.notes.written, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FlightTests(SessionCase):
    """What both ends put on a path, flight by flight."""

    def flights(self) -> tuple[Path, Recorder]:
        """A client that opens a service as soon as it knows the server, up to its first bytes."""
        factory, ready = connect_session(
            self.client_credentials,
            self.server_credentials.target,
            self.clock,
            wall_clock=wall_clock,
        )
        app = Recorder(b"first bytes")
        ready.addCallback(lambda session: session.open("app", app))
        path = Path(self.clock)
        path.client.protocol, path.server.protocol = build(factory), build(self.factory)
        path.server.protocol.makeConnection(path.server)
        path.client.protocol.makeConnection(path.client)
        path.client.step(path.limit)
        path.server.step(path.limit)
        return path, app

    def test_first_bytes_travel_with_the_handshake(self) -> None:
        """The client's certificate, its request and its first bytes leave in the same moment."""
        path, _ = self.flights()
        path.client.step(path.limit)
        (server,) = self.apps
        self.assertEqual(server.received, b"first bytes")

    def test_server_has_nothing_to_say(self) -> None:
        """A server whose client has not asked for anything sends nothing after the handshake."""
        path, session = self.session()
        handshake = len(path.server.sent)
        self.assertEqual(self.log, [("authenticated", self.client_credentials.peer.text)])
        app = Recorder()
        session.open("app", app)
        path.pump()
        self.assertGreater(len(path.server.sent), handshake + 100)  # tickets, and OPENED
        app.transport.loseConnection()
        path.advance(15)
        self.assertIsNotNone(app.lost)

    def test_tickets_alone_stay(self) -> None:
        """The tickets are what stays: the server has nothing else to send then."""
        path, _ = self.flights()
        at = len(path.server.sent)
        path.client.step(path.limit)
        self.assertGreater(len(path.server.sent), at)  # OPENED is not kept back with them

    def test_server_turns_away(self) -> None:
        """What ends a session leaves, even when it is the first that the server says."""
        self.revoked.add(self.client_credentials.certificate.serial_number)
        path, ready = self.start()
        self.successResultOf(ready)
        self.assertTrue(path.server.lost)
