"""docs/tunnel.rst says of short polls what the code does."""

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.test_docs import TEXT, WORDS, indented
from tests.tunnel.world import HELLO, World
from wavesync.tunnel import poll_core, poll_held, poll_past, poll_patience, poll_server, poll_wire
from wavesync.tunnel.poll_links import IDLE_LIFE
from wavesync.tunnel.poll_tunnel import FAREWELLS


class PollDocumentTests(SynchronousTestCase):
    """Somebody who writes a peer from the text gets one that works."""

    def test_examples(self) -> None:
        """The example's request is answered by the example's answer."""
        request, answer = (part for part in TEXT.split("\n\n") if "Wavesync-Poll: serial=3" in part)
        ask, news = (TEXT.partition(f"{part}\n\n    ")[2][:4] for part in (request, answer))
        head = "\r\n".join(line.strip() for line in request.splitlines()) + "\r\n\r\n"
        first = head.replace("serial=3; at=16; got=20", "serial=1; at=0; got=0")
        first = first.replace("Length: 3", "Length: 16")
        world = World()
        client = world.raw(first.encode() + HELLO)
        world.guests[0].transport.write(b"down")
        poll = head.replace("serial=3; at=16; got=20", "serial=2; at=16; got=16")
        client.say(poll.replace("Length: 3", "Length: 0").encode())
        world.pump()
        client.received.clear()
        world.guests[0].on_data = lambda data: world.guests[0].transport.write(news.encode())
        client.say(head.encode() + ask.strip().encode())
        world.pump()
        self.assertIn(indented(bytes(client.received)), TEXT)
        self.assertEqual(bytes(client.received).partition(b"\r\n\r\n")[2], b"news")
        self.assertEqual(world.guests[0].received, b"ask")

    def test_numbers(self) -> None:
        """Numbers in the text are those of the code."""
        section = WORDS.partition("Short polls -----------")[2].partition("The end -------")[0]
        for expected in (
            f"A body up has {poll_wire.MAX_BODY_UP:,} bytes at most",
            f"a body down {poll_wire.MAX_BODY_DOWN:,}",
            f"we say {poll_core.WINDOW:,} less",
            f"hold, 1 to {poll_wire.MAX_LIVE}",
            f"{poll_wire.MAX_HOLD:,} at most",
            f"by dots, {poll_wire.MAX_LIVE} at most",
            f"the last {poll_past.MAX_REMEMBERED}",
            f"pieces of {poll_held.LEAST_PIECE >> 10} KiB or more",
            f"no answer has said so for {poll_held.ACK_DELAY:g} s",
            f"when it takes {poll_core.WINDOW >> 12} KiB more",
            f"Without a request for {poll_server.SESSION_TIME:g} s",
            f"({poll_server.FIRST_TIME:g} s for the second one)",
            f"A connection has {poll_server.CONNECTION_TIME:g} s for each request",
            "up to three while answers",
            "up to five requests in all",
            f"when {poll_core.ACK_EVERY >> 10} KiB are not",
            f"nothing has come {poll_core.SLACK:g} s after ``hold``",
            f"after {poll_core.PATIENCE:g} s",
            f"{poll_core.SLOWEST / 1024:g} KiB/s are thought to be the slowest",
            f"``hold`` is {poll_patience.HOLD:g} s",
            f"idle for {IDLE_LIFE:g} s is closed",
            "three at most, if they fail",
        ):
            self.assertIn(expected, section)
        self.assertEqual((poll_core.MAX_REQUESTS, poll_core.MAX_KEEP, FAREWELLS), (5, 3, 3))
        self.assertEqual(poll_core.GIVE_UP, 15.0)
        self.assertIn("Fifteen seconds after the first failure", section)
