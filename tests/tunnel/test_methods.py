"""Tests for :mod:`wavesync.tunnel.methods`: every method between both ends of ours, in memory."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import Recorder
from tests.tunnel.world import CLIENT, STREAMS, Gusher, World
from wavesync.tunnel.errors import TunnelError, Why

_PIECE = bytes(range(256)) * 40


class MethodCase(SynchronousTestCase):
    """Tests that every method has to pass."""

    def opened(
        self, world: World, method: str, protocol: Recorder | None = None
    ) -> tuple[Recorder, Recorder]:
        """Open a tunnel: the client's protocol and the server's."""
        opening = world.open(method, protocol)
        world.pump()
        client = self.successResultOf(opening)
        assert isinstance(client, Recorder)
        return client, world.guests[-1]

    def over(self, world: World, *ends: Recorder) -> None:
        """Everything is closed on both sides, and nothing is left."""
        self.assertEqual([end.lost is not None for end in ends], [True] * len(ends))
        for path in world.paths:
            self.assertEqual([end.lost for end in path], [True, True])
        self.assertEqual((len(world.server), len(world.front)), (0, 0))
        self.assertEqual(sum(world.server.statistics.open.values()), 0)
        self.assertEqual(world.clock.getDelayedCalls(), [])


class OpenTests(MethodCase):
    """Opening, and bytes both ways."""

    def test_both_ways(self) -> None:
        """What either side writes arrives at the other, whole and in order; both know who is there."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            guest.transport.write(b"first")
            for _ in range(30):
                client.transport.write(_PIECE)
                guest.transport.writeSequence([_PIECE, b"."])
            world.pump()
            self.assertEqual(guest.received, _PIECE * 30, method)
            self.assertEqual(client.received, b"first" + (_PIECE + b".") * 30, method)
            self.assertEqual(guest.transport.getPeer().host, CLIENT)
            self.assertEqual(world.told, [guest.transport.getPeer()])
            self.assertEqual(client.transport.getPeer().host, "198.51.100.1")
            self.assertEqual(world.server.statistics.opened[method], 1)
            self.assertEqual(world.server.statistics.open[method], 1)

    def test_byte_by_byte(self) -> None:
        """A network that delivers single bytes changes nothing."""
        for method in STREAMS:
            world = World(limit=1)
            client, guest = self.opened(world, method)
            client.transport.write(b"up" * 100)
            guest.transport.write(b"down" * 100)
            world.pump()
            self.assertEqual(guest.received, b"up" * 100, method)
            self.assertEqual(client.received, b"down" * 100, method)

    def test_first_words(self) -> None:
        """A protocol that speaks first is heard, on either side."""
        for method in STREAMS:
            world = World()
            world.make = lambda: Recorder(b"welcome")
            client, guest = self.opened(world, method, Recorder(b"here I am"))
            self.assertEqual(client.received, b"welcome", method)
            self.assertEqual(guest.received, b"here I am", method)

    def test_connections(self) -> None:
        """One connection each, but for the method that is named for its two."""
        for method in STREAMS:
            world = World()
            self.opened(world, method)
            self.assertEqual(len(world.paths), 2 if method == "two" else 1)

    def test_many(self) -> None:
        """Tunnels at the same time do not get into each other's way."""
        world = World()
        ends = [self.opened(world, method) for method in STREAMS * 3]
        for number, (client, _) in enumerate(ends):
            client.transport.write(b"%d" % number)
        world.pump()
        said = [bytes(guest.received) for _, guest in ends]
        self.assertEqual(said, [b"%d" % number for number in range(len(ends))])

    def test_ids_and_urls(self) -> None:
        """No two requests have the same URL, and none has the tunnel's id in it."""
        targets = []
        for method in STREAMS:
            world = World()
            self.opened(world, method)
            for client, _ in world.paths:
                head = bytes(client.sent).partition(b"\r\n\r\n")[0].decode("ascii")
                line, *fields = head.split("\r\n")
                names = dict(field.split(": ", 1) for field in fields)
                self.assertRegex(names["Wavesync-Tunnel"], "^[0-9a-f]{32}$")
                self.assertNotIn(names["Wavesync-Tunnel"], line)
                self.assertEqual(names["Cache-Control"], "no-store, no-transform")
                if line.startswith("GET"):
                    self.assertRegex(line, rf"^GET /wavesync/1/tunnel/{method}\?n=[0-9a-f]{{8}} ")
                    targets.append(line)
        self.assertEqual(len(set(targets)), len(STREAMS))


class EndTests(MethodCase):
    """The end of a tunnel."""

    def test_client_ends(self) -> None:
        """All that was written before arrives, and both sides learn of an orderly end."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            client.transport.write(_PIECE * 30)
            client.transport.loseConnection()
            world.pump()
            self.assertEqual(guest.received, _PIECE * 30, method)
            self.over(world, client, guest)
            for end in (client, guest):
                assert end.lost is not None
                end.lost.trap(ConnectionDone)

    def test_server_ends(self) -> None:
        """The same the other way."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            guest.transport.write(_PIECE * 30)
            guest.transport.loseConnection()
            world.pump()
            self.assertEqual(client.received, _PIECE * 30, method)
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
            client.transport.write(_PIECE * 30)
            client.transport.loseConnection()
            world.pump()
            world.wait(30.0)
            self.assertIsNone(guest.lost)
            guest.transport.resumeProducing()
            world.pump()
            self.assertEqual(guest.received, _PIECE * 30, method)
            self.over(world, client, guest)


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


class PressureTests(MethodCase):
    """A side that does not read."""

    def test_up(self) -> None:
        """The client's producer is paused, little is held, and all arrives once the server reads."""
        for method in STREAMS:
            world = World()
            gusher = Gusher()
            _, guest = self.opened(world, method, gusher)
            guest.transport.pauseProducing()
            gusher.start()
            world.pump()
            self.stalled(world, gusher, guest)
            guest.transport.resumeProducing()
            world.pump()
            self.assertEqual(len(guest.received), gusher.most // 8192 * 8192 + 8192, method)
            self.assertEqual(guest.received[-1], (gusher.written - 1) // 8192 % 251)

    def test_down(self) -> None:
        """The same the other way."""
        for method in STREAMS:
            world = World()
            gusher = Gusher()
            world.make = lambda made=gusher: made  # type: ignore[misc]
            client, _ = self.opened(world, method)
            client.transport.pauseProducing()
            gusher.start()
            world.pump()
            self.stalled(world, gusher, client)
            client.transport.resumeProducing()
            world.pump()
            self.assertEqual(len(client.received), gusher.written, method)

    def test_abort_when_stalled(self) -> None:
        """A tunnel whose other side never reads can be broken off, and its producer is told."""
        for method in STREAMS:
            world = World()
            gusher = Gusher()
            client, guest = self.opened(world, method, gusher)
            guest.transport.pauseProducing()
            gusher.start()
            world.pump()
            gusher.transport.abortConnection()
            world.pump()
            world.wait(5.0)
            self.over(world, client, guest)

    def stalled(self, world: World, gusher: Gusher, reader: Recorder) -> None:
        """The writer waits, and what it wrote is in no more memory than it may be."""
        self.assertTrue(gusher.paused)
        self.assertLess(gusher.written, 256 * 1024)
        self.assertEqual(reader.received, b"")
        held = sum(len(end.buffer) for path in world.paths for end in path)
        self.assertGreater(held, 0.5 * gusher.written)


class FailureTests(MethodCase):
    """Tunnels that do not come about."""

    def failed(self, world: World, opening: "Deferred[IProtocol]") -> TunnelError:
        """How it failed; nothing is left of it."""
        error = self.failureResultOf(opening, TunnelError).value
        assert isinstance(error, TunnelError)
        world.pump()
        world.wait(15.0)
        for path in world.paths:
            self.assertTrue(path[0].lost)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        return error

    def test_silence(self) -> None:
        """A server that takes the request and says nothing: given up when the time is over."""
        for method in STREAMS:
            world = World()
            opening = world.open(method, dial=world.dial(Recorder), timeout=3.0)
            world.pump()
            world.wait(2.9)
            self.assertNoResult(opening)
            world.wait(0.2)
            error = self.failed(world, opening)
            self.assertEqual(error.reason, Why.SILENT)
            self.assertEqual(str(error), "no answer from http://mediator.example:3355 within 3 s")

    def test_no_byte_through(self) -> None:
        """An answer that agrees, but no byte through the tunnel: that is no working tunnel."""
        for method in STREAMS:
            world = World()
            opening = world.open(method, timeout=3.0)
            for _, server in world.paths:
                server.change = lambda data: data if data.startswith(b"HTTP/") else b""
            world.pump()
            world.wait(3.0)
            error = self.failed(world, opening)
            self.assertEqual(error.reason, Why.SILENT)
            self.assertIn("no byte through the tunnel", str(error))

    def test_changed_hello(self) -> None:
        """Something that answers in the server's stead, or changes bytes, is noticed."""
        for method in STREAMS:
            world = World()
            opening = world.open(method)
            for _, server in world.paths:
                server.change = lambda data: data.replace(b"WST1", b"WST2")
            world.pump()
            self.assertEqual(self.failed(world, opening).reason, Why.CHANGED)

    def test_closed(self) -> None:
        """A server that closes at once: for that the time is not waited for."""
        for method in STREAMS:
            world = World()
            opening = world.open(method, dial=world.dial(lambda: None))
            world.pump()
            self.assertEqual(self.failed(world, opening).reason, Why.CLOSED)

    def test_cancelled(self) -> None:
        """Whoever gives up leaves nothing behind, at whatever time."""
        for method in STREAMS:
            for steps in range(6):
                world = World(limit=100)
                opening = world.open(method)
                for _ in range(steps):
                    world.clock.advance(0)
                    for path in world.paths:
                        for end in path:
                            end.step(world.limit)
                if opening.called:
                    continue
                opening.cancel()
                self.failureResultOf(opening, CancelledError)
                world.pump()
                world.wait(20.0)
                self.over(world)

    def test_nobody_wants_it(self) -> None:
        """A factory that has changed its mind gets no tunnel, and the server none either."""
        for method in STREAMS:
            world = World()
            world.make = lambda: None
            opening = world.open(method)
            world.pump()
            self.assertEqual(self.failed(world, opening).reason, Why.CLOSED)
            self.assertEqual(world.server.statistics.refused["protocol"], 1)
            self.assertEqual(len(world.server), 0)

    def test_ids_are_secret(self) -> None:
        """No error tells the tunnel's id or a password."""
        world = World()
        opening = world.open("two", dial=world.dial(Recorder), timeout=1.0)
        world.wait(1.0)
        sent = bytes(world.paths[0][0].sent)
        tunnel = sent.partition(b"Wavesync-Tunnel: ")[2][:32].decode("ascii")
        error = self.failed(world, opening)
        self.assertNotIn(tunnel, f"{error!r} {error}")
