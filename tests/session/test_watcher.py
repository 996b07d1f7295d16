"""Tests of what a server's sessions tell a watcher, and of the connection id in OPEN."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.session.cases import SessionCase
from tests.session.support import Recorder
from wavesync.errors import SettingsError
from wavesync.session.connection_id import CONNECTION_ID, connection_of, connection_options
from wavesync.session.names import check_service_name
from wavesync.session.server import ServerSession

ID = "0123456789abcdef" * 2


class Notes:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, ...]] = []

    def asked(self, session: ServerSession, service: str, connection: str) -> None:
        """Note it, with the client."""
        assert session.peer is not None and session.peer.name is not None
        assert session.arrived_at <= session.authenticated_at
        self.notes.append(("asked", session.peer.name, service, connection))

    def opened(self, session: ServerSession) -> None:
        """Note it."""
        self.notes.append(("opened",))

    def refused(self, session: ServerSession, sentence: str) -> None:
        """Note it."""
        self.notes.append(("refused", sentence))

    def answered(self, session: ServerSession) -> None:
        """Note it."""
        self.notes.append(("answered",))

    def ended(self, session: ServerSession, why: str) -> None:
        """Note it."""
        self.notes.append(("ended", why))


class WatcherTests(SessionCase):
    """An operator can look up later what became of each connection."""

    def setUp(self) -> None:
        """Make a server that is watched."""
        super().setUp()
        self.watcher = self.factory.watcher = Notes()

    def test_whole_story(self) -> None:
        """Request, service, first word and orderly end are told once each, with the client's id."""
        path, session = self.session()
        session.open("app", Recorder(b"hello"), connection=ID)
        path.pump()
        for _ in range(2):
            self.apps[0].transport.write(b"word")
        session.close()
        self.apps[0].transport.loseConnection()
        path.pump()
        path.advance(10.0)
        self.assertEqual(
            self.watcher.notes,
            [("asked", "alice", "app", ID), ("opened",), ("answered",), ("ended", "")],
        )

    def test_refused(self) -> None:
        """A service that is not there is told with the sentence that the client gets."""
        path, session = self.session()
        opening = session.open("nothing", Recorder(), connection=ID)
        path.pump()
        self.failureResultOf(opening)
        self.assertEqual(self.watcher.notes[0], ("asked", "alice", "nothing", ID))
        kind, sentence = self.watcher.notes[1]
        self.assertEqual(kind, "refused")
        self.assertIn("no service 'nothing' here", sentence)

    def test_broken(self) -> None:
        """A path that breaks is told with a reason."""
        path, session = self.session()
        session.open("app", Recorder(b"hello"))
        path.pump()
        path.client.abortConnection()
        path.pump()
        self.assertEqual(self.watcher.notes[0], ("asked", "alice", "app", ""))
        self.assertIn("broke", self.watcher.notes[-1][1])


class ConnectionIdTests(SynchronousTestCase):
    """Both ends file a connect under the same id, whatever brought them together."""

    def test_round_trip(self) -> None:
        """What one end tells the other one reads; older ends may skip it."""
        options = connection_options(ID)
        self.assertEqual(options, ((CONNECTION_ID, bytes.fromhex(ID)),))
        self.assertTrue(CONNECTION_ID & 0x80)
        self.assertEqual(connection_of(options), ID)
        self.assertEqual(connection_options(""), ())

    def test_our_mistake(self) -> None:
        """Something that is no id is not sent."""
        for text in ("0", ID.upper(), ID + "00"):
            self.assertRaises(ValueError, connection_options, text)

    @given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20))))
    def test_anything(self, options: list[tuple[int, bytes]]) -> None:
        """Whatever a client sends, the id is sound or missing."""
        self.assertIn(len(connection_of(tuple(options))), (0, 32))
        self.assertEqual(connection_of(((CONNECTION_ID, bytes(15)),)), "")

    def test_reserved(self) -> None:
        """Nobody can give a service a name that servers have for themselves."""
        self.assertRaises(SettingsError, check_service_name, ".wavesync")
