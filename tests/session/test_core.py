"""Tests of :mod:`wavesync.session.core`: two cores, a clock that is a number, no I/O."""

from twisted.trial.unittest import SynchronousTestCase

from tests.session.core_pair import Pair, frames
from wavesync.session.core import (
    SessionCore,
    Side,
)
from wavesync.session.events import (
    DataReceived,
    EndAcknowledged,
    EndReceived,
    Finished,
    Lost,
    OpenAccepted,
    OpenRefused,
    OpenRequested,
)
from wavesync.session.frames import (
    MAX_DATA,
    Ack,
    Data,
    End,
    Open,
    Opened,
    Ping,
    Refused,
    Reset,
    encode,
)
from wavesync.session.receipts import ACKNOWLEDGE_BESIDE, ACKNOWLEDGE_EVERY


class OpeningTests(SynchronousTestCase):
    """A service is opened by the first frame, and its first bytes travel with it."""

    def test_early_bytes_travel_with_open(self) -> None:
        """OPEN, bytes and END leave in one piece, and arrive before the service is accepted."""
        pair = Pair()
        pair.client.open("echo", 100.0)
        pair.client.write(b"hello", 100.0)
        pair.client.end(100.0)
        flight = pair.client.data_to_send()
        self.assertEqual(frames(flight), [Open("echo"), Data(b"hello"), End()])
        pair.server.receive(flight, 100.0)
        self.assertEqual(
            pair.server.events(), [OpenRequested("echo"), DataReceived(b"hello"), EndReceived()]
        )
        self.assertEqual(pair.server.service, "echo")

    def test_accepted(self) -> None:
        """The client learns that the service is there."""
        pair = Pair()
        pair.client.open("echo", 100.0)
        pair.exchange()
        pair.server.accept(100.0)
        self.assertEqual(pair.exchange()[0], [OpenAccepted()])

    def test_refused(self) -> None:
        """The client learns why the service is not there, and both ends are over."""
        pair = Pair()
        pair.client.open("echo", 100.0)
        pair.exchange()
        pair.server.refuse(404, "no service 'echo' here", 100.0)
        self.assertEqual(pair.exchange()[0], [OpenRefused(404, "no service 'echo' here")])
        self.assertTrue(pair.client.over and pair.server.over)
        self.assertIs(pair.client.deadline(), None)

    def test_first_frame_must_be_open(self) -> None:
        """Whatever else comes first ends the session."""
        for first in (
            Data(b"x"),
            End(),
            Ping(b"12345678"),
            Ack(0),
            Opened(),
            Refused(1, ""),
        ):
            server = SessionCore(Side.SERVER, 0.0)
            server.receive(encode(first), 0.0)
            self.assertTrue(server.over, first)
            (answer,) = frames(server.data_to_send())
            self.assertIsInstance(answer, Reset)
            self.assertIsInstance(server.events()[-1], Lost)

    def test_server_data_before_opened(self) -> None:
        """A server that sends bytes before OPENED breaks the protocol; an ACK is in order."""
        for frame, over in ((Data(b"x"), True), (End(), True), (Ack(0), False)):
            client = SessionCore(Side.CLIENT, 0.0)
            client.open("echo", 0.0)
            client.receive(encode(frame), 0.0)
            self.assertIs(client.over, over, frame)

    def test_open_in_time(self) -> None:
        """A client that authenticates and then says nothing is let go after ten seconds."""
        server = SessionCore(Side.SERVER, 100.0)
        self.assertEqual(server.deadline(), 110.0)
        server.timer(109.999)
        self.assertFalse(server.over)
        server.timer(110.0)
        self.assertEqual(server.events(), [Lost("no OPEN came in time", 408)])
        self.assertTrue(server.over)

    def test_open_stops_that_clock(self) -> None:
        """Once OPEN came, dialling may take its time."""
        pair = Pair()
        pair.client.open("echo", 100.0)
        pair.exchange()
        pair.until(130.0)
        self.assertFalse(pair.server.over or pair.client.over)

    def test_our_mistakes(self) -> None:
        """Wrong calls are told to the caller and change nothing."""
        client = SessionCore(Side.CLIENT, 0.0)
        self.assertRaises(ValueError, client.write, b"x", 0.0)
        self.assertRaises(ValueError, client.open, "No Name", 0.0)
        client.open("echo", 0.0)
        self.assertRaises(ValueError, client.open, "echo", 0.0)
        server = SessionCore(Side.SERVER, 0.0)
        self.assertRaises(ValueError, server.open, "echo", 0.0)
        self.assertEqual(frames(client.data_to_send()), [Open("echo")])


class StreamTests(SynchronousTestCase):
    """Bytes, their ends, and what the other side knows to have arrived."""

    def test_both_ways(self) -> None:
        """Bytes go both ways in order."""
        pair = Pair()
        pair.open()
        pair.client.write(b"a" * 100_000, 100.0)
        pair.server.write(b"b" * 50_000, 100.0)
        ours, theirs = pair.exchange()
        got = [
            b"".join(e.data for e in some if isinstance(e, DataReceived)) for some in (ours, theirs)
        ]
        self.assertEqual(got, [b"b" * 50_000, b"a" * 100_000])

    def test_clean_finish(self) -> None:
        """Both ends ended and acknowledged: finished on both sides, and only then."""
        pair = Pair()
        pair.open()
        pair.client.write(b"question", 100.0)
        pair.client.end(100.0)
        ours, theirs = pair.exchange()
        self.assertEqual(ours, [EndAcknowledged()])
        self.assertEqual(theirs, [DataReceived(b"question"), EndReceived()])
        self.assertFalse(pair.client.over or pair.server.over)
        pair.server.write(b"answer", 100.0)
        pair.server.end(100.0)
        ours, theirs = pair.exchange()
        self.assertEqual(ours, [DataReceived(b"answer"), EndReceived(), Finished()])
        self.assertEqual(theirs, [EndAcknowledged(), Finished()])
        self.assertTrue(pair.client.finished and pair.server.finished)

    def test_not_finished_before_acknowledged(self) -> None:
        """Two ENDs are not enough: the last bytes may not have arrived."""
        pair = Pair()
        pair.open()
        pair.client.end(100.0)
        pair.client.data_to_send()
        pair.client.receive(encode(End()), 100.0)
        self.assertEqual(pair.client.events(), [EndReceived()])
        self.assertFalse(pair.client.over)
        self.assertEqual(pair.client.dispatches.unacknowledged, 1)
        pair.client.receive(encode(Ack(1)), 100.0)
        self.assertTrue(pair.client.finished)

    def test_bare_end_of_the_path(self) -> None:
        """A path that ends in the middle is never taken for the end of the stream."""
        pair = Pair()
        pair.open()
        pair.client.lose("the path was closed")
        self.assertEqual(pair.client.events(), [Lost("the path was closed")])
        pair.client.lose("again")
        self.assertEqual(pair.client.events(), [])

    def test_nothing_after_end(self) -> None:
        """Writing after END has no effect; a peer that sends after END is reset."""
        pair = Pair()
        pair.open()
        pair.client.end(100.0)
        pair.client.write(b"late", 100.0)
        pair.client.end(100.0)
        self.assertEqual(frames(pair.client.data_to_send()), [End()])
        for late in (Data(b"x"), End()):
            server = Pair()
            server.open()
            server.server.receive(encode(End()) + encode(late), 100.0)
            self.assertTrue(server.server.over)

    def test_acknowledge_every_mebibyte(self) -> None:
        """A sender learns of each MiB at once, of less after a second."""
        pair = Pair()
        pair.open()
        chunk = encode(Data(b"d" * MAX_DATA))
        for _ in range(ACKNOWLEDGE_EVERY // MAX_DATA - 1):
            pair.server.receive(chunk, 100.5)
        pair.server.receive(encode(Data(b"d" * (MAX_DATA - 1))), 100.5)
        self.assertEqual(pair.server.data_to_send(), b"")
        pair.server.receive(encode(Data(b"d")), 100.5)
        self.assertEqual(frames(pair.server.data_to_send()), [Ack(ACKNOWLEDGE_EVERY)])
        pair.server.receive(encode(Data(b"d")), 100.6)
        self.assertEqual(pair.server.deadline(), 101.6)
        pair.server.timer(101.599)
        self.assertEqual(pair.server.data_to_send(), b"")
        pair.server.timer(101.6)
        self.assertEqual(frames(pair.server.data_to_send()), [Ack(ACKNOWLEDGE_EVERY + 1)])

    def test_sender_knows_what_arrived(self) -> None:
        """The count of unacknowledged bytes goes to nothing."""
        pair = Pair()
        pair.open()
        pair.client.write(b"x" * 1000, 100.0)
        self.assertEqual(pair.client.dispatches.unacknowledged, 1000)
        pair.exchange()
        pair.until(102.0)
        self.assertEqual(pair.client.dispatches.unacknowledged, 0)

    def test_acknowledged_beside_an_answer(self) -> None:
        """An answer carries the ACK for the question, so that none has to travel by itself later."""
        pair = Pair()
        pair.open()
        pair.client.write(b"question", pair.now)
        pair.server.receive(pair.client.data_to_send(), pair.now)
        pair.server.write(b"answer", pair.now)
        pair.server.write(b"more", pair.now)
        self.assertEqual(
            frames(pair.server.data_to_send()), [Data(b"answer"), Ack(8), Data(b"more")]
        )
        pair.client.write(b"again", pair.now)
        pair.server.receive(pair.client.data_to_send(), pair.now)
        large = bytes(ACKNOWLEDGE_BESIDE + 1)
        pair.server.write(large, pair.now)
        self.assertEqual(frames(pair.server.data_to_send()), [Data(large)])
        pair.server.write(large[1:], pair.now)
        self.assertEqual(frames(pair.server.data_to_send()), [Data(large[1:]), Ack(13)])
        pair.client.write(b"?", pair.now)
        pair.server.receive(pair.client.data_to_send(), pair.now)
        pair.server.end(pair.now)
        self.assertEqual(frames(pair.server.data_to_send()), [End(), Ack(14)])
        pair.client.write(b"and again", pair.now)
        pair.server.receive(pair.client.data_to_send(), pair.now)
        self.assertEqual(frames(pair.server.data_to_send()), [])
        self.assertEqual(pair.server.deadline(), pair.now + 1.0)

    def test_ack_of_what_was_not_sent(self) -> None:
        """An ACK one past what was sent is a lie, and ends the session."""
        for offset, over in ((5, False), (6, True)):
            pair = Pair()
            pair.open()
            pair.client.write(b"hello", 100.0)
            pair.client.receive(encode(Ack(offset)), 100.0)
            self.assertIs(pair.client.over, over)
        pair = Pair()
        pair.open()
        pair.client.end(100.0)
        pair.client.receive(encode(Ack(1)), 100.0)
        self.assertEqual(pair.client.events(), [EndAcknowledged()])

    def test_repeated_ack(self) -> None:
        """An older or repeated ACK says that the peer lives and nothing else."""
        pair = Pair()
        pair.open()
        pair.client.write(b"hello", 100.0)
        for offset in (5, 5, 0):
            pair.client.receive(encode(Ack(offset)), 100.0)
        self.assertEqual(pair.client.events(), [])
        self.assertEqual(pair.client.dispatches.unacknowledged, 0)

    def test_garbage(self) -> None:
        """Bytes that are no frame end the session with a sentence on both sides."""
        pair = Pair()
        pair.open()
        pair.server.receive(b"\x00GET / HTTP/1.1\r\n\r\n" * 2, 100.0)
        (event,) = pair.server.events()
        assert isinstance(event, Lost)
        self.assertIn("broke the protocol", event.sentence)
        (event,) = pair.exchange()[0]
        assert isinstance(event, Lost)
        self.assertEqual(event.code, 400)

    def test_reset(self) -> None:
        """Giving up tells the other side why."""
        pair = Pair()
        pair.open()
        pair.client.reset(499, "the application gave up", 100.0)
        ours, theirs = pair.exchange()
        self.assertEqual(ours, [])
        self.assertEqual(
            theirs, [Lost("the other side ended the session: the application gave up", 499)]
        )

    def test_nothing_matters_after_the_end(self) -> None:
        """An ended session ignores everything."""
        pair = Pair()
        pair.open()
        pair.client.reset(499, "bye", 100.0)
        pair.client.data_to_send()
        client = pair.client
        client.receive(encode(Data(b"x")) + b"\0garbage", 100.0)
        client.write(b"x", 100.0)
        client.end(100.0)
        client.close(100.0)
        client.ping(100.0)
        client.timer(1000.0)
        client.resume_writing(1000.0)
        self.assertEqual((client.data_to_send(), client.events()), (b"", []))
        self.assertIs(client.deadline(), None)


class ClosingTests(SynchronousTestCase):
    """An application that closes reads nothing any more, and is not kept waiting for ever."""

    def closing(self) -> Pair:
        """A client that has closed; the server knows, and has not ended."""
        pair = Pair()
        pair.open()
        pair.client.close(100.0)
        pair.exchange()
        return pair

    def test_bytes_under_way_are_dropped(self) -> None:
        """What was under way is dropped in silence."""
        pair = Pair()
        pair.open()
        pair.server.write(b"under way", 100.0)
        down = pair.server.data_to_send()
        pair.client.close(100.0)
        pair.client.receive(down, 100.0)
        self.assertEqual(pair.client.events(), [])
        self.assertFalse(pair.client.over)

    def test_peer_that_goes_on_is_reset(self) -> None:
        """A peer that sends although it knows of the end is told that nobody reads."""
        pair = self.closing()
        pair.server.write(b"more", 100.0)
        ours, theirs = pair.exchange()
        self.assertEqual(ours, [Finished()])
        (event,) = theirs
        assert isinstance(event, Lost)
        self.assertEqual(event.code, 499)

    def test_peer_that_never_ends(self) -> None:
        """A peer that neither sends nor ends is left after ten seconds."""
        pair = self.closing()
        pair.until(109.9)
        self.assertFalse(pair.client.over)
        pair.until(110.1)
        self.assertTrue(pair.client.over)
        self.assertFalse(pair.client.finished)

    def test_close_after_acknowledged_end(self) -> None:
        """The ten seconds also run when END was acknowledged before closing."""
        pair = Pair()
        pair.open()
        pair.client.end(100.0)
        pair.exchange()
        pair.client.close(101.0)
        pair.until(110.9)
        self.assertFalse(pair.client.over)
        pair.until(111.0)
        self.assertTrue(pair.client.over)
