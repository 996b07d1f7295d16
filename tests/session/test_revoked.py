"""Tests of what becomes of sessions when a certificate is revoked."""

from twisted.internet.error import ConnectionLost

from tests.session.cases import SessionCase
from tests.session.support import Path, Recorder, build, wall_clock
from wavesync.errors import NotAllowed
from wavesync.session.client import connect_session
from wavesync.session.errors import SessionLost
from wavesync.session.shell import TURN_OUT_WITHIN


class RevokedClientTests(SessionCase):
    """A server turns a client out whose certificate was revoked."""

    def revoke(self) -> None:
        """Revoke the client's certificate."""
        self.revoked.add(self.client_credentials.leaf.serial)
        self.factory.turn_out_revoked()

    def test_running_session(self) -> None:
        """It ends at once on both sides, and the client is told why."""
        app = Recorder()
        path, _ = self.opened(app)
        self.revoke()
        path.pump()
        for lost in (app.lost, self.apps[0].lost):
            assert lost is not None
            lost.trap(SessionLost)
            self.assertIn("the client's credentials were revoked", str(lost.value))
            self.assertIsInstance(lost.value, ConnectionLost)
            assert isinstance(lost.value, SessionLost)
            self.assertEqual(lost.value.exit_status, 3)
        path.advance(TURN_OUT_WITHIN)
        self.assert_quiet()

    def test_others_go_on(self) -> None:
        """Only the revoked certificate counts, not its name: a new one of that name works."""
        app, other = Recorder(), Recorder()
        path, _ = self.opened(app)
        self.client_credentials = self.system.client()
        other_path, session = self.opened(other)
        self.revoke()
        path.pump()
        other_path.pump()
        self.assertIsNone(app.lost)
        self.assertIsNotNone(other.lost)
        self.assertTrue(session.lost)

    def test_before_open(self) -> None:
        """A client that has not asked for anything yet gets nothing any more."""
        path, session = self.session()
        self.revoke()
        opening = session.open("app", Recorder())
        path.pump()
        self.failureResultOf(opening, SessionLost)
        self.assertEqual(self.apps, [])

    def test_while_dialling(self) -> None:
        """A service that is being dialled for it is dialled no more."""
        path, session = self.session()
        opening = session.open("dial", Recorder())
        path.pump()
        self.revoke()
        path.pump()
        error = self.failureResultOf(opening, SessionLost).value
        self.assertEqual(error.exit_status, 3)
        self.assertTrue(self.endpoint.cancelled)

    def test_takes_nothing(self) -> None:
        """A client that takes nothing is rid of its path all the same."""
        path, _ = self.opened(Recorder())
        (server,) = self.factory.serving
        path.stalled = True
        self.revoke()
        self.clock.advance(0)
        self.assertTrue(server.app_gone)
        self.clock.advance(TURN_OUT_WITHIN)
        self.assertIsNotNone(path.server.lost)
        self.assert_quiet()

    def test_new_session(self) -> None:
        """A revoked client is told why it gets no service, however early it asks."""
        self.revoke()
        path, ready = self.start()
        opening = self.successResultOf(ready).open("app", Recorder())
        path.pump()
        error = self.failureResultOf(opening, SessionLost).value
        self.assertEqual(error.exit_status, 3)
        self.assertIn("the client's credentials were revoked", str(error))
        self.assertEqual((self.apps, self.log), ([], []))
        path.advance(TURN_OUT_WITHIN)
        self.assert_quiet()

    def test_new_session_in_one_flight(self) -> None:
        """The same for a client that asks in the flight in which it shows its certificate."""
        self.revoke()
        factory, ready = connect_session(
            self.client_credentials,
            self.server_credentials.target,
            self.clock,
            wall_clock=wall_clock,
        )
        opening = ready.addCallback(lambda session: session.open("app", Recorder()))
        path = Path(self.clock)
        path.connect(build(factory), build(self.factory))
        error = self.failureResultOf(opening, SessionLost).value
        self.assertIn("the client's credentials were revoked", str(error))
        self.assertEqual((self.apps, self.log), ([], []))
        path.advance(TURN_OUT_WITHIN)
        self.assert_quiet()


class RevokedServerTests(SessionCase):
    """A client turns away from a server whose certificate was revoked."""

    def test_running_session(self) -> None:
        """The client ends the session; its application is told why."""
        app = Recorder()
        path, session = self.opened(app)
        session.turn_out("the server's credentials were revoked")
        path.pump()
        assert app.lost is not None and self.apps[0].lost is not None
        self.assertEqual(str(app.lost.value), "the server's credentials were revoked")
        path.advance(TURN_OUT_WITHIN)
        self.assert_quiet()

    def test_before_the_handshake_is_done(self) -> None:
        """A path that is only being made is given up."""
        factory, ready = connect_session(
            self.client_credentials,
            self.server_credentials.target,
            self.clock,
            wall_clock=wall_clock,
        )
        client = build(factory)
        client.wrappedProtocol.turn_out("it was revoked")  # type: ignore[attr-defined]
        path = Path(self.clock)
        path.connect(client, build(self.factory))
        self.assertEqual(str(self.failureResultOf(ready, NotAllowed).value), "it was revoked")
        path.advance(TURN_OUT_WITHIN)
        self.assert_quiet()
