"""Tests of :mod:`wavesync.session.records` and :mod:`wavesync.session.openssl`: many records at a time."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import Path, PathEnd, Recorder, System, build, wall_clock
from wavesync.session.openssl import (
    FULL_RECORD,
    TOGETHER,
    Opener,
    PlainOpener,
    make_opener,
    seal,
)
from wavesync.session.sealing import ClientTLSFactory, ServerTLSFactory
from wavesync.session.tls import client_context, server_context

_HEADER = 5  # bytes of a record before what it carries


class _Viewer(Recorder):
    """Takes views, and notes how long they are."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def view_received(self, view: memoryview) -> None:
        """Note it."""
        self.sizes.append(len(view))
        self.dataReceived(bytes(view))


class RecordsCase(SynchronousTestCase):
    """Both ends of a TLS connection in memory."""

    def setUp(self) -> None:
        """Connect them."""
        self.clock = Clock()
        self.path = Path(self.clock)
        system = System()
        credentials = system.server()
        self.near, self.far = Recorder(), Recorder()
        self.client = self.end(
            ClientTLSFactory,
            client_context(system.client(), credentials.target, wall_clock=wall_clock),
            self.near,
        )
        self.server = self.end(
            ServerTLSFactory, server_context(credentials, wall_clock=wall_clock), self.far
        )

    def end(self, kind: type, context: object, app: Recorder) -> TLSMemoryBIOProtocol:
        """One end."""
        factory = kind(
            context, kind is ClientTLSFactory, Factory.forProtocol(lambda: app), self.clock
        )
        protocol = build(factory)
        assert isinstance(protocol, TLSMemoryBIOProtocol)
        return protocol

    def connect(self) -> None:
        """Shake hands, up to where no ticket is under way any more."""
        self.path.connect(self.client, self.server)
        self.server.write(b"hello")
        self.path.pump()
        self.assertEqual(self.near.received, b"hello")

    def records(self, end: PathEnd) -> list[int]:
        """The lengths of the records that wait at an end."""
        sizes, at, data = [], 0, bytes(end.buffer)
        while at < len(data):
            size = int.from_bytes(data[at + 3 : at + 5], "big")
            sizes.append(size)
            at += _HEADER + size
        return sizes


class _Laden:
    """A TLS connection with something else to send."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def send(self, view: memoryview) -> int:
        """Seal a record, without its cost."""
        self.waiting += len(view)
        return len(view)

    def bio_read(self, size: int) -> bytes:
        """Take so many bytes at most."""
        if not self.waiting:
            raise SSL.WantReadError
        size = min(size, self.waiting)
        self.waiting -= size
        return bytes(size)


class SealTests(SynchronousTestCase):
    """What is sealed leaves no bytes behind."""

    def test_all_leaves(self) -> None:
        """However much waits before the records, all is taken with them."""
        for size in (1, FULL_RECORD, TOGETHER):
            for waiting in (0, 319, 320, 321, 5000, 200_000):
                laden: Any = _Laden(waiting)
                sealed, records = seal(laden, memoryview(bytes(size)))
                self.assertEqual((sealed, len(records), laden.waiting), (size, size + waiting, 0))


class TransportTests(RecordsCase):
    """What is written at one end comes out at the other."""

    def test_any_size(self) -> None:
        """All sizes around those of records and of what is sealed together arrive as they were."""
        self.connect()
        wanted = bytearray()
        for around in (0, 1, FULL_RECORD, TOGETHER, TOGETHER + FULL_RECORD, 3 * TOGETHER):
            for size in (around - 1, around, around + 1):
                data = bytes([size % 251]) * size
                wanted += data
                self.client.write(data)
                self.path.pump()
                self.assertEqual(self.far.received, wanted)

    def test_behind_tickets(self) -> None:
        """What a server writes first arrives whole, however much it is: its tickets leave before it."""
        for size in (FULL_RECORD + 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER):
            self.setUp()
            self.path.connect(self.client, self.server)
            self.path.pump()
            self.server.write(bytes(size))
            self.path.pump()
            self.assertEqual(len(self.near.received), size)

    def test_cut_anywhere(self) -> None:
        """However the path cuts records, the same bytes come out."""
        self.connect()
        data = bytes(range(256)) * 1000
        self.client.write(data)
        for limit in (1, 3, 4, 5, 1000, FULL_RECORD, 7, 100_000):
            self.path.limit = limit
            for _ in range(20):
                self.path.client.step(limit)
        self.path.limit = 60_000
        self.path.pump()
        self.assertEqual(self.far.received, data)

    def test_full_records(self) -> None:
        """Long writes become full records, and reach the path several at a time."""
        self.connect()
        writes: list[int] = []
        write = self.path.client.write

        def noted(data: bytes) -> None:
            writes.append(len(data))
            write(data)

        self.path.client.write = noted  # type: ignore[method-assign]
        self.client.write(bytes(2 * TOGETHER + 1))
        sizes = self.records(self.path.client)
        self.assertEqual(len(sizes), 9)
        self.assertGreater(min(sizes[:8]), FULL_RECORD)
        self.assertEqual(len(writes), 3)

    def test_handed_on_together(self) -> None:
        """Who takes views gets what came together at once, and never more than there is room for."""
        self.far = viewer = _Viewer()
        self.server.wrappedProtocol = viewer
        self.connect()
        viewer.sizes.clear()
        self.path.limit = 10 * TOGETHER
        self.client.write(bytes(TOGETHER))
        self.path.pump()
        self.assertEqual(viewer.sizes, [TOGETHER])
        self.client.write(bytes(3 * TOGETHER))
        self.path.pump()
        self.assertEqual(sum(viewer.sizes), 4 * TOGETHER)
        self.assertEqual(max(viewer.sizes), TOGETHER + FULL_RECORD)

    def test_before_the_handshake(self) -> None:
        """What is written before the handshake is done waits for it, in order."""
        self.near.first = bytes(TOGETHER) + b"x" * 100_000
        self.far.first = b"y" * 40_000
        self.path.connect(self.client, self.server)
        self.assertEqual(self.far.received, self.near.first)
        self.assertEqual(self.near.received, self.far.first)

    def test_end_behind_bytes(self) -> None:
        """What comes with the end of TLS is handed on before it."""
        self.connect()
        self.client.write(bytes(100_000))
        self.client.loseConnection()
        self.path.limit = 1 << 20
        self.path.pump()
        self.assertEqual(len(self.far.received), 100_000)
        assert self.far.lost is not None
        self.assertIsInstance(self.far.lost.value, ConnectionDone)

    def test_fault_behind_bytes(self) -> None:
        """What comes before a record that was tampered with is handed on; the error is told."""
        self.connect()
        self.client.write(bytes(40_000))
        self.path.client.buffer[-1] ^= 1
        self.path.limit = 1 << 20
        self.path.pump()
        self.assertEqual(len(self.far.received), 2 * FULL_RECORD)
        assert self.far.lost is not None
        self.assertIsInstance(self.far.lost.value, SSL.Error)

    def test_abort_while_handed_on(self) -> None:
        """Who gives up while given bytes gets no more of them."""
        self.connect()
        self.far.on_data = lambda data: self.server.abortConnection()
        self.path.limit = 1 << 20
        self.client.write(bytes(3 * TOGETHER))
        self.path.pump()
        self.assertEqual(len(self.far.received), TOGETHER + FULL_RECORD)
        assert self.far.lost is not None and self.near.lost is not None
        self.assertIsInstance(self.near.lost.value, ConnectionLost)

    def test_feeding_each_other(self) -> None:
        """One connection's bytes may be carried while another's are handed on."""
        other = type(self)("connect")
        other.setUp()
        for case in (self, other):
            case.far = case.server.wrappedProtocol = _Nested()
            case.connect()
        data, theirs = bytes(range(256)) * 500, b"something else" * 9000

        def between() -> None:
            other.client.write(theirs)
            other.path.pump()

        self.far.between = between  # type: ignore[attr-defined]
        self.client.write(data)
        self.path.pump()
        self.assertEqual(self.far.received, data)
        self.assertEqual(other.far.received, theirs)


class _Nested(Recorder):
    """Has something else happen before it looks at a view."""

    between = staticmethod(lambda: None)

    def view_received(self, view: memoryview) -> None:
        """Note it, later."""
        between, self.between = self.between, lambda: None
        between()
        self.dataReceived(bytes(view))


class OpenSSLTests(RecordsCase):
    """Both ways of opening records do the same."""

    def pairs(self) -> list[PlainOpener]:
        """One of each."""
        return [PlainOpener(), Opener()]

    def test_best(self) -> None:
        """With the libraries at hand, the one with fewer copies is used; with others, the other."""
        self.connect()
        self.assertIsInstance(make_opener(self.client.getHandle()), Opener)
        self.assertIs(type(make_opener(object())), PlainOpener)  # type: ignore[arg-type]

    def sealed(self, data: bytes) -> bytes:
        """Records as the client makes them."""
        view, records = memoryview(data), []
        while view:
            size, part = seal(self.client.getHandle(), view)
            self.assertEqual(size, min(len(view), TOGETHER))
            records.append(part)
            view = view[size:]
        return b"".join(records)

    def test_fill(self) -> None:
        """As much is opened as came, and whether there may be more is told."""
        self.connect()
        connection = self.server.getHandle()
        for opener in self.pairs():
            for size, first in (
                (0, 0),
                (1, 1),
                (TOGETHER, TOGETHER),
                (2 * TOGETHER, TOGETHER + FULL_RECORD),
            ):
                data = bytes([size % 255]) * size
                if data:
                    connection.bio_write(self.sealed(data))
                more = opener.fill(connection)
                self.assertEqual((opener.size, more), (first, first < size))
                self.assertEqual(bytes(opener.view[: opener.size]), data[:first])
                if more:
                    self.assertFalse(opener.fill(connection))
                    self.assertEqual(opener.size, size - first)

    def test_many_small(self) -> None:
        """Many small records fill the same room as few large ones, and no more."""
        self.connect()
        connection = self.server.getHandle()
        for opener in self.pairs():
            connection.bio_write(b"".join(self.sealed(bytes(1000)) for _ in range(100)))
            self.assertTrue(opener.fill(connection))
            self.assertEqual(opener.size, 66_000)  # there was room for one more full record
            self.assertFalse(opener.fill(connection))
            self.assertEqual(opener.size, 34_000)

    def test_has_to_answer(self) -> None:
        """An alert waits to be sent after a record that was tampered with, and nothing after a good one."""
        for opener, without in ((Opener(), False), (PlainOpener(), True)):
            self.setUp()
            self.connect()
            connection = self.server.getHandle()
            connection.bio_write(self.sealed(bytes(100)))
            self.assertFalse(opener.fill(connection))
            self.assertIs(opener.has_to_answer(connection), without)
            connection.bio_write(self.sealed(bytes(100))[:-1] + b"?")
            self.assertRaises(SSL.Error, opener.fill, connection)
            self.assertIs(opener.has_to_answer(connection), True)

    def test_end(self) -> None:
        """At the end of TLS it is told what came before, and that it is the end, again and again."""
        self.connect()
        connection = self.server.getHandle()
        connection.bio_write(self.sealed(bytes(20_000)))
        self.client.loseConnection()
        connection.bio_write(bytes(self.path.client.buffer))
        for opener, size in zip(self.pairs(), (20_000, 0), strict=True):
            self.assertRaises(SSL.ZeroReturnError, opener.fill, connection)
            self.assertEqual(opener.size, size)

    def test_fault(self) -> None:
        """Before a record that was tampered with, all is good; its error says what it is."""
        for opener in self.pairs():
            self.setUp()
            self.connect()
            connection = self.server.getHandle()
            sealed = bytearray(self.sealed(bytes(20_000)))
            sealed[-1] ^= 1
            connection.bio_write(bytes(sealed))
            error = self.assertRaises(SSL.Error, opener.fill, connection)
            self.assertEqual(opener.size, FULL_RECORD)
            self.assertIn("bad record mac", str(error))

    def test_nothing_sealed(self) -> None:
        """Nothing is sealed before the handshake, and that is no error."""
        self.client.makeConnection(self.path.client)
        self.assertEqual(seal(self.client.getHandle(), memoryview(bytes(100_000))), (0, b""))
