"""Tests for :mod:`wavesync.tunnel.channel`: how tunnels of every method end."""

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from tests.session.support import Recorder
from tests.tunnel.cases import PIECE, MethodCase
from tests.tunnel.world import HELLO, STREAMS, RawClient, World, request


class EndTests(MethodCase):
    """The end of a tunnel."""

    def test_client_ends(self) -> None:
        """All that was written before arrives, and both sides learn of an orderly end."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            client.transport.write(PIECE * 30)
            client.transport.loseConnection()
            world.pump()
            self.assertEqual(guest.received, PIECE * 30, method)
            self.over(world, client, guest)
            for end in (client, guest):
                assert end.lost is not None
                end.lost.trap(ConnectionDone)

    def test_server_ends(self) -> None:
        """The same the other way."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            guest.transport.write(PIECE * 30)
            guest.transport.loseConnection()
            world.pump()
            self.assertEqual(client.received, PIECE * 30, method)
            self.over(world, client, guest)
            for end in (client, guest):
                assert end.lost is not None
                end.lost.trap(ConnectionDone)

    def test_end_within(self) -> None:
        """A protocol may close from within what it is told; it is told the end later, not in between."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)

            def close(data: bytes, guest: Recorder = guest) -> None:
                guest.transport.write(b"bye")
                guest.transport.loseConnection()
                self.assertIsNone(guest.lost)

            guest.on_data = close
            client.transport.write(b"x")
            world.pump()
            self.assertEqual(client.received, b"bye", method)
            self.over(world, client, guest)

    def test_aborts(self) -> None:
        """Either side may break off: the other learns that this was no orderly end."""
        for method in STREAMS:
            for which in (0, 1):
                world = World()
                ends = self.opened(world, method)
                ends[which].transport.abortConnection()
                self.assertIsNone(ends[which].lost)
                world.pump()
                world.wait(5.0)
                self.over(world, *ends)
                ours, theirs = ends[which].lost, ends[1 - which].lost
                assert ours is not None and theirs is not None
                ours.trap(ConnectionAborted)
                theirs.trap(ConnectionLost)

    def test_end_of_a_websocket(self) -> None:
        """A WebSocket's TCP connection that ends without a word is no orderly end."""
        world = World()
        client, _ = self.opened(world, "websocket")
        world.paths[0][1].unregisterProducer()
        world.paths[0][1].loseConnection()
        world.pump()
        assert client.lost is not None
        client.lost.trap(ConnectionLost)

    def test_end_while_the_other_does_not_read(self) -> None:
        """What was written goes out when the other side reads again, and the end behind it."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            guest.transport.pauseProducing()
            client.transport.write(PIECE * 30)
            client.transport.loseConnection()
            world.pump()
            world.wait(30.0)
            self.assertIsNone(guest.lost)
            guest.transport.resumeProducing()
            world.pump()
            self.assertEqual(guest.received, PIECE * 30, method)
            self.over(world, client, guest)


class SocketTests(MethodCase):
    """What is special about a WebSocket."""

    def begun(self, world: World) -> RawClient:
        """A client that writes its frames by hand, with a mask of zeros."""
        fields = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: wavesync-tunnel-1",
        )
        return world.raw(
            request("GET", "websocket", "ab" * 16, *fields) + b"\x82\x90\0\0\0\0" + HELLO
        )

    def test_broken_frames(self) -> None:
        """What came before them is delivered, the client is told why, and the tunnel broke."""
        world = World()
        client = self.begun(world)
        client.say(b"\x82\x82\0\0\0\0up" + b"\x82\x02up")
        world.pump()
        self.assertEqual(world.guests[0].received, b"up")
        self.assertTrue(bytes(client.received).endswith(b"\x88\x02\x03\xea"))
        self.over(world, world.guests[0])
        assert world.guests[0].lost is not None
        world.guests[0].lost.trap(ConnectionLost)

    def test_answer_to_last_words(self) -> None:
        """A protocol that answers, closes or breaks off when the last bytes come with the end."""

        def echo(guest: Recorder) -> None:
            guest.transport.write(b"answer")

        def close(guest: Recorder) -> None:
            guest.transport.loseConnection()

        def abort(guest: Recorder) -> None:
            guest.transport.abortConnection()

        for react in (echo, close, abort):
            world = World()
            client = self.begun(world)
            guest = world.guests[0]
            guest.on_data = lambda data, react=react, guest=guest: react(guest)
            client.say(b"\x82\x82\0\0\0\0up" + b"\x88\x82\0\0\0\0\x03\xe8")
            world.pump()
            self.over(world, guest)
            self.assertEqual(guest.received, b"up")
            if react is not abort:
                self.assertTrue(bytes(client.received).endswith(b"\x88\x02\x03\xe8"))

    def test_end_while_full(self) -> None:
        """The peer's end while ours waits for what was written: it is over, and said in order."""
        world = World()
        client = self.begun(world)
        guest = world.guests[0]
        world.paths[0][0].reading = False
        guest.transport.write(bytes(300_000))
        guest.transport.loseConnection()
        client.say(b"\x88\x82\0\0\0\0\x03\xe8")
        world.pump()
        self.assertIsNotNone(guest.lost)
        world.paths[0][0].reading = True
        world.pump()
        self.assertTrue(bytes(client.received).endswith(b"\x88\x02\x03\xe8"))
        self.over(world, guest)

    def test_pings(self) -> None:
        """Pings are answered; those of a client that reads nothing do not fill the server's memory."""
        ping = b"\x89\x84\0\0\0\0ping"
        world = World()
        client = self.begun(world)
        client.say(ping)
        world.pump()
        self.assertTrue(bytes(client.received).endswith(b"\x8a\x04ping"))
        server = world.paths[0][1]
        world.paths[0][0].reading = False
        world.guests[0].transport.write(bytes(100_000))
        world.pump()
        held = len(server.buffer)
        for _ in range(1000):
            client.say(ping)
            world.pump()
        self.assertEqual(len(server.buffer), held)
        self.assertIsNone(client.lost)


class TwoTests(MethodCase):
    """What is special about a tunnel of two connections."""

    def test_one_is_lost(self) -> None:
        """One connection that breaks takes the other one with it, and both sides are told."""
        for which in (0, 1):
            world = World()
            client, guest = self.opened(world, "two")
            world.paths[which][0].abortConnection()
            world.pump()
            self.over(world, client, guest)
            assert client.lost is not None and guest.lost is not None
            client.lost.trap(ConnectionLost, ConnectionAborted)
            guest.lost.trap(ConnectionLost)

    def test_answers_are_lost(self) -> None:
        """What is under way up still arrives when the connection down breaks, for 5 s."""
        world = World()
        client, guest = self.opened(world, "two")
        down, _ = world.paths
        down[1].lose(ConnectionLost())
        world.wait(4.9)
        client.transport.write(b"last")
        world.pump()
        self.assertEqual(guest.received, b"last")
        self.assertIsNone(guest.lost)
        guest.transport.write(b"nobody gets this")
        world.wait(0.2)
        assert guest.lost is not None
        guest.lost.trap(ConnectionLost)
        self.assertEqual((len(world.server), len(world.front)), (0, 0))

    def test_nothing_behind_our_end(self) -> None:
        """Whoever has closed gets no more bytes, although the other connection still brings some."""
        world = World()
        client, guest = self.opened(world, "two")
        client.transport.loseConnection()
        guest.transport.write(b"too late")
        world.pump()
        self.assertEqual(client.received, b"")
        self.over(world, client, guest)

    def test_end_of_a_paused_client(self) -> None:
        """A client that reads nothing and closes is done when the server is, not 5 s later."""
        world = World()
        client, guest = self.opened(world, "two")
        client.transport.pauseProducing()
        client.transport.loseConnection()
        world.pump()
        self.over(world, client, guest)

    def test_silent_proxy(self) -> None:
        """A server that does not answer our end with its own is not waited for longer than 5 s."""
        world = World()
        client, _ = self.opened(world, "two")
        for _, server in world.paths:
            server.reading = False
        client.transport.loseConnection()
        world.pump()
        self.assertIsNone(client.lost)
        world.wait(4.9)
        self.assertIsNone(client.lost)
        world.wait(0.2)
        assert client.lost is not None
        client.lost.trap(ConnectionDone)
