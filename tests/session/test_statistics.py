"""Tests of what a server counts of its sessions (:mod:`wavesync.session.statistics`)."""

from twisted.internet.protocol import Protocol

from tests.session.cases import SessionCase
from tests.session.support import Recorder
from wavesync.session.core import CONTROL
from wavesync.session.errors import Refusal
from wavesync.session.statistics import KINDS


class StatisticsTests(SessionCase):
    """A server counts its sessions, their bytes, and how soon services answer."""

    def setUp(self) -> None:
        """Make a server whose counts are looked at."""
        super().setUp()
        self.counted = self.factory.statistics

    def test_bytes(self) -> None:
        """Bytes both ways are counted while a session runs, and once when it is over: END is none."""
        path, session = self.opened(Recorder(b"hello"))
        ((server, _),) = self.factory.serving.items()
        self.apps[0].transport.write(b"good ")
        self.apps[0].transport.write(b"morning")
        path.pump()
        self.assertEqual(list(self.counted), [server])
        self.assertEqual(server.moved, (5, 12))
        session.close()
        self.apps[0].transport.loseConnection()
        path.pump()
        path.advance(10.0)
        self.assertEqual(list(self.counted), [])
        self.assertEqual(server.moved, (5, 12))

    def test_kinds(self) -> None:
        """Each way is counted by itself."""
        self.assertEqual(set(self.counted.moved), set(KINDS))
        self.assertEqual(set(self.counted.first_byte), set(KINDS))

    def test_first_byte(self) -> None:
        """The first byte of an answer is timed from OPEN on, the dialling included; only the first."""
        path, session = self.session()
        (server,) = self.factory.pending
        server.path_kind = "tcp"
        session.open("dial", Recorder(b"hello"))
        path.pump()
        path.advance(0.25)
        end = self.endpoint.succeed()
        path.advance(0.5)
        assert isinstance(end.protocol, Protocol)
        for _ in range(3):
            end.protocol.dataReceived(b"answer")
        path.pump()
        histogram = self.counted.first_byte["tcp"]
        self.assertEqual((sum(histogram.counts), histogram.sum), (1, 0.75))
        self.assertEqual(self.counted.opened["tcp"], 1)
        self.assertEqual(self.counted.moved["tcp"], (5, 18))

    def test_control(self) -> None:
        """A session that holds a path open is no service."""
        path, session = self.session()
        session.open(CONTROL, Recorder())
        path.pump()
        self.assertEqual((self.counted.holes.total(), self.counted.opened.total()), (1, 0))
        self.assertEqual(list(self.counted), [])

    def test_refused(self) -> None:
        """Refusals are counted by code, and are no sessions."""
        path, session = self.session()
        opening = session.open("nothing", Recorder())
        path.pump()
        self.failureResultOf(opening)
        self.assertEqual(self.counted.refused, {Refusal.NO_SERVICE: 1})
        self.assertEqual(list(self.counted), [])
        self.assertEqual(self.counted.authenticated.total(), 1)
