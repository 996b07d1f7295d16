"""Tests of what a session carries and how it ends: real TLS, path and time in memory."""

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IPushProducer,
)
from zope.interface import implementer

from tests.session.cases import SessionCase
from tests.session.support import (
    HalfCloser,
    Path,
    PathEnd,
    Recorder,
    build,
)
from wavesync.errors import ConnectFailed
from wavesync.session.client import CONTROL
from wavesync.session.errors import SessionLost
from wavesync.session.frames import HEADER_SIZE, encode_data
from wavesync.session.server import (
    EARLY_BYTES,
    EVENT_SIZE,
)
from wavesync.session.shell import CLOSE_PATH_WITHIN, HANDSHAKE_WITHIN


class StreamTests(SessionCase):
    """Bytes and the ends of the stream."""

    def test_answer_after_end(self) -> None:
        """``printf question | wavesync connect``: the answer comes after our end."""
        self.app_class = HalfCloser
        HalfCloser.answer = b"answer"
        self.addCleanup(setattr, HalfCloser, "answer", b"")
        app = HalfCloser(b"question")
        path, session = self.session()
        opening = session.open("app", app)
        app.answer = b""
        app.transport.loseWriteConnection()
        path.pump()
        self.successResultOf(opening)
        server = self.apps[0]
        self.assertEqual(bytes(server.received), b"question")
        self.assertEqual(bytes(app.received), b"answer")
        self.assertTrue(app.read_ended and app.write_ended)
        for end in (app, server):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assertTrue(path.client.lost and path.server.lost)
        self.assert_quiet()

    def test_end_without_half_close(self) -> None:
        """A protocol without half-close is closed by the peer's end, its writes flushed."""
        app = HalfCloser()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.transport.write(b"x" * 300_000)
        app.transport.loseWriteConnection()
        path.pump()
        self.assertEqual(len(app.received), 300_000)
        for end in (app, server):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_lose_connection(self) -> None:
        """Closing flushes what was written, then both sides are done."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.write(b"y" * 200_000)
        app.transport.loseConnection()
        app.transport.write(b"too late")
        app.transport.loseConnection()
        path.pump()
        self.assertEqual(bytes(self.apps[0].received), b"y" * 200_000)
        for end in (app, self.apps[0]):
            assert end.lost is not None
            end.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_no_bytes_after_close(self) -> None:
        """An application that has closed is not told of anything but the end."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.transport.write(b"under way")
        app.transport.loseConnection()
        path.pump()
        self.assertEqual(bytes(app.received), b"")
        self.assert_quiet()

    def test_abort(self) -> None:
        """Aborting is not an orderly end for either side."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.abortConnection()
        self.assertIs(app.lost, None)  # not from within the call
        path.pump()
        assert app.lost is not None and self.apps[0].lost is not None
        app.lost.trap(ConnectionAborted)
        self.apps[0].lost.trap(ConnectionLost)
        self.assertIn("gave up", self.apps[0].lost.getErrorMessage())
        self.assert_quiet()

    def test_truncated(self) -> None:
        """A bare close of the path, orderly or not, is an error on both sides, never an EOF."""
        for how in ("fin", "reset", "close_notify"):
            self.app_class = HalfCloser
            app = HalfCloser(b"some")
            path, session = self.opened(app)
            server = self.apps[-1]
            if how == "fin":
                path.client.loseConnection()
            elif how == "reset":
                path.client.abortConnection()
            else:
                session.transport.unregisterProducer()
                session.transport.loseConnection()
            path.pump()
            for end in (app, server):
                assert isinstance(end, HalfCloser) and end.lost is not None
                end.lost.trap(SessionLost)
                end.lost.trap(ConnectionLost)
                self.assertIn("in the middle of the session", end.lost.getErrorMessage())
                self.assertFalse(end.read_ended)
            self.assert_quiet()

    def test_truncated_after(self) -> None:
        """Whoever made the path has it called by its name, and told how long it lasted."""
        app = Recorder()
        path, session = self.opened(app)
        session.path_words = "through the relay r.example:443"
        path.server.abortConnection()
        path.pump()
        assert app.lost is not None
        self.assertEqual(
            app.lost.getErrorMessage(),
            "the path through the relay r.example:443 broke in the middle of the session, after 0 s",
        )

    def test_truncated_after_one_end(self) -> None:
        """One END does not make the other direction complete."""
        app = HalfCloser()
        path, _ = self.opened(app, "app")
        server = self.apps[0]
        server.transport.loseConnection()
        path.server.buffer.clear()
        path.client.loseConnection()
        path.pump()
        assert server.lost is not None
        server.lost.trap(SessionLost)
        self.assert_quiet()

    def test_peer_breaks_protocol(self) -> None:
        """Garbage inside TLS ends the session with a sentence."""
        app = Recorder()
        path, session = self.opened(app)
        session.transport.write(b"\x00\x00\x00\x00")
        path.pump()
        assert self.apps[0].lost is not None and app.lost is not None
        self.assertIn("broke the protocol", self.apps[0].lost.getErrorMessage())
        self.assertIn("unknown type", app.lost.getErrorMessage())
        self.assert_quiet()


class TimeTests(SessionCase):
    """Nothing waits for ever."""

    def test_handshake_in_time(self) -> None:
        """Somebody who connects and says nothing is let go after ten seconds; so is a server."""
        path = Path(self.clock)
        server = build(self.factory)
        path.connect(Recorder(), server)
        path.advance(HANDSHAKE_WITHIN - 0.5)
        self.assertFalse(path.server.lost)
        path.advance(0.5)
        self.assertTrue(path.server.lost)
        path, ready = self.start(server=Recorder())
        path.advance(HANDSHAKE_WITHIN - 0.5)
        self.assertNoResult(ready)
        path.advance(0.5)
        message = self.failureResultOf(ready, ConnectFailed).getErrorMessage()
        self.assertIn("in time", message)
        self.assert_quiet()

    def test_open_in_time(self) -> None:
        """A client that authenticates and opens nothing is let go after ten seconds."""
        path, session = self.session()
        path.advance(9.5)
        self.assertFalse(session.lost)
        path.advance(0.5)
        self.assertTrue(session.lost and path.server.lost)
        self.assertEqual(self.log[-1][0], "lost")
        self.assert_quiet()

    def test_silence(self) -> None:
        """A dead path is noticed within eight seconds by both sides."""
        app = Recorder()
        path, _ = self.opened(app)
        path.stalled = True
        path.advance(7.5)
        self.assertIs(app.lost, None)
        path.advance(0.5)
        for end in (app, self.apps[0]):
            assert end.lost is not None
            end.lost.trap(SessionLost)
            self.assertIn("nothing has come", end.lost.getErrorMessage())
        path.advance(CLOSE_PATH_WITHIN)
        self.assertTrue(path.client.lost and path.server.lost)
        self.assert_quiet()

    def test_quiet_session_lives(self) -> None:
        """A session with nothing to say stays open."""
        app = Recorder()
        path, _ = self.opened(app)
        path.advance(60, step=0.5)
        self.assertIs(app.lost, None)

    def test_control_session(self) -> None:
        """A control session lives, carries no bytes, and can be closed."""
        app = Recorder()
        path, session = self.opened(app, CONTROL)
        self.assertEqual(self.apps, [])
        path.advance(60, step=0.5)
        self.assertFalse(session.lost)
        session.close()
        path.pump()
        self.assertTrue(session.lost)
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_path_that_does_not_close(self) -> None:
        """A peer that never closes its end of TLS is cut off."""
        app = Recorder()
        path, session = self.opened(app)
        path.server.pauseProducing()
        session.abort()
        path.advance(CLOSE_PATH_WITHIN - 0.5)
        self.assertFalse(path.client.lost)
        path.advance(0.5)
        self.assertTrue(path.client.lost)
        self.assert_quiet()


@implementer(IPushProducer)
class Producer:
    """A producer that notes whether it may produce."""

    def __init__(self) -> None:
        self.paused = False
        self.stopped = False

    def pauseProducing(self) -> None:
        """Note it."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Note it."""
        self.paused = False

    def stopProducing(self) -> None:
        """Note it."""
        self.stopped = True


class BackPressureTests(SessionCase):
    """Who is slow slows down the other, and nobody's memory fills."""

    def test_slow_reader_pauses_writer(self) -> None:
        """A reader that pauses stops the other side's producer, and bytes come on when it resumes."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        producer = Producer()
        app.transport.registerProducer(producer, True)
        server.transport.pauseProducing()
        written = 0
        while not producer.paused:
            app.transport.write(b"z" * 10_000)
            written += 10_000
            path.pump()
            self.assertLess(written, 1_000_000)
        self.assertLess(path.client.peak, 2 * PathEnd.BUFFER)
        path.advance(60)
        self.assertEqual(bytes(server.received), b"")
        self.assertIs(app.lost, None)
        server.transport.resumeProducing()
        self.assertEqual(bytes(server.received), b"")  # not from within the call
        path.pump()
        self.assertFalse(producer.paused)
        self.assertEqual(len(server.received), written)
        app.transport.unregisterProducer()
        app.transport.loseConnection()
        path.pump()
        self.assert_quiet()

    def test_pause_within_delivery(self) -> None:
        """A protocol that pauses while it is given bytes gets no more in that turn."""
        app = Recorder()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.on_data = lambda data: server.transport.pauseProducing()
        app.transport.write(b"1" * 100_000)
        app.transport.loseConnection()
        path.pump()
        first = len(server.received)
        self.assertLess(first, 100_000)
        self.assertIs(server.lost, None)
        for _ in range(20):
            server.transport.resumeProducing()
            path.pump()
        self.assertEqual(len(server.received), 100_000)
        self.assert_quiet()

    def test_end_waits_for_held_bytes(self) -> None:
        """A paused reader gets all bytes and the orderly end even if the path closed meanwhile."""
        app = HalfCloser()
        path, _ = self.opened(app)
        server = self.apps[0]
        app.transport.loseWriteConnection()
        app.transport.pauseProducing()
        server.transport.write(b"last words")
        path.pump()
        path.advance(30)
        self.assertEqual(bytes(app.received), b"")
        app.transport.resumeProducing()
        path.pump()
        self.assertEqual(bytes(app.received), b"last words")
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assert_quiet()

    def test_close_while_paused(self) -> None:
        """Closing works while one's reading is paused."""
        app = Recorder()
        path, _ = self.opened(app)
        app.transport.pauseProducing()
        self.apps[0].transport.write(b"unread")
        path.pump()
        app.transport.loseConnection()
        path.pump()
        assert app.lost is not None
        app.lost.trap(ConnectionDone)
        self.assertEqual(bytes(app.received), b"")
        self.assert_quiet()

    def test_consumer_gone(self) -> None:
        """A consumer that breaks stops the flow; that alone never looks like an orderly end."""
        app = HalfCloser()
        path, _ = self.opened(app)
        server = self.apps[0]
        server.transport.stopProducing()
        app.transport.write(b"for nobody")
        path.advance(20)
        self.assertEqual(bytes(server.received), b"")
        self.assertFalse(app.read_ended)
        server.transport.abortConnection()
        path.pump()
        assert app.lost is not None
        app.lost.trap(SessionLost)
        self.assert_quiet()

    def test_close_waits_for_producer(self) -> None:
        """A registered producer may finish after loseConnection."""
        app = Recorder()
        path, _ = self.opened(app)
        transport = app.transport
        transport.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, transport.registerProducer, Producer(), True)
        transport.loseConnection()
        transport.write(b"still")
        path.pump()
        self.assertIs(app.lost, None)
        transport.unregisterProducer()
        path.pump()
        self.assertEqual(bytes(self.apps[0].received), b"still")
        self.assertIsNot(app.lost, None)
        late = Producer()
        transport.registerProducer(late, True)
        self.assertTrue(late.stopped)

    def test_pull_producer(self) -> None:
        """A pull producer is asked as long as the path takes bytes."""
        app = Recorder()
        path, _ = self.opened(app)
        transport = app.transport

        class Pull:
            """Writes a hundred pieces."""

            left = 100
            stopped = False

            def resumeProducing(self) -> None:
                self.left -= 1
                transport.write(b"p" * 5000)
                if not self.left:
                    transport.unregisterProducer()

            def stopProducing(self) -> None:
                self.stopped = True

        pull = Pull()
        self.apps[0].transport.pauseProducing()
        transport.registerProducer(pull, False)
        path.pump()
        self.assertGreater(pull.left, 20)
        self.apps[0].transport.resumeProducing()
        path.pump()
        self.assertEqual(len(self.apps[0].received), 500_000)
        self.assertFalse(pull.stopped)

    def test_lost_path_stops_producer(self) -> None:
        """A producer is stopped when the session is lost."""
        app = Recorder()
        path, _ = self.opened(app)
        producer = Producer()
        app.transport.registerProducer(producer, True)
        path.client.abortConnection()
        self.assertTrue(producer.stopped)

    def test_early_pieces_are_bounded(self) -> None:
        """A client cannot make us keep a piece of memory for each of its bytes meanwhile."""
        path, session = self.session()
        session.open("dial", Recorder())
        path.pump()
        session.transport.write(b"".join(encode_data(b"e")) * 30_000)
        path.pump()
        (server,) = self.factory.serving
        most = EARLY_BYTES // EVENT_SIZE + 2 * path.limit // (HEADER_SIZE + 1)
        self.assertLess(len(server._delivery.stream), most)

    def test_early_bytes_are_bounded(self) -> None:
        """While the service is dialled, a client's bytes are held up to a bound, and none is lost."""
        path, session = self.session()
        app = Recorder()
        session.open("dial", app)
        app.transport.write(b"e" * 1_000_000)
        path.pump()
        (server,) = self.factory.serving
        held = sum(len(getattr(event, "data", b"")) for event in server._delivery.stream)
        self.assertGreaterEqual(held, EARLY_BYTES)
        self.assertLess(held, EARLY_BYTES + 2 * path.limit)
        path.advance(15)
        local = self.endpoint.succeed()
        for _ in range(40):
            path.pump()
            local.sent, local.buffer = local.sent + b"", bytearray()
            local.producer_paused = False
            if local.producer is not None:
                local.producer.resumeProducing()
        self.assertEqual(len(local.sent), 1_000_000)
