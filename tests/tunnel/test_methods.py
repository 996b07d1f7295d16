"""Tests for :mod:`wavesync.tunnel.methods`: every method between both ends of ours, in memory."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from zope.interface import implementer

from tests.session.support import Recorder
from tests.tunnel.cases import PIECE, MethodCase
from tests.tunnel.world import CLIENT, STREAMS, Gusher, World
from wavesync.tunnel.errors import TunnelError, Why


class OpenTests(MethodCase):
    """Opening, and bytes both ways."""

    def test_both_ways(self) -> None:
        """What either side writes arrives at the other, whole and in order; both know who is there."""
        for method in STREAMS:
            world = World()
            client, guest = self.opened(world, method)
            guest.transport.write(b"first")
            for _ in range(30):
                client.transport.write(PIECE)
                guest.transport.writeSequence([PIECE, b"."])
            world.pump()
            self.assertEqual(guest.received, PIECE * 30, method)
            self.assertEqual(client.received, b"first" + (PIECE + b".") * 30, method)
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

    def test_closes_at_once(self) -> None:
        """A protocol may close or break off as soon as it is connected, on either side."""

        class Shy(Recorder):
            broke = False

            def connectionMade(self) -> None:
                if self.broke:
                    self.transport.abortConnection()
                else:
                    self.transport.write(b"bye")
                    self.transport.loseConnection()

        for method in STREAMS:
            for broke in (False, True):
                for at_server in (False, True):
                    world = World()
                    shy = Shy()
                    shy.broke = broke
                    if at_server:
                        world.make = [shy].pop
                    opening = world.open(method, Recorder(b"hello") if at_server else shy)
                    world.pump()
                    world.wait(10.0)
                    if at_server and broke:
                        self.failureResultOf(opening, TunnelError)
                    else:
                        other = self.successResultOf(opening) if at_server else world.guests[0]
                        assert isinstance(other, Recorder)
                        self.assertEqual(other.received, b"" if broke else b"bye", method)
                        self.over(world, other)
                    self.over(world, shy)
                    self.assertEqual(shy.received, b"")

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

    def test_no_connection_yet(self) -> None:
        """Given up or out of time while the connection is being made: that is given up, too."""

        @implementer(IStreamClientEndpoint)
        class Slow:
            cancelled = 0

            def connect(self, protocolFactory: object) -> Deferred[IProtocol]:
                def cancelled(_: object) -> None:
                    self.cancelled += 1

                return Deferred(cancelled)

        for method in STREAMS:
            world, slow = World(), Slow()
            opening = world.open(method, dial=slow, timeout=3.0)
            opening.cancel()
            self.failureResultOf(opening, CancelledError)
            opening = world.open(method, dial=slow, timeout=3.0)
            world.wait(3.0)
            error = self.failed(world, opening)
            self.assertEqual(
                str(error), "no connection from http://mediator.example:3355 within 3 s"
            )
            self.assertEqual(slow.cancelled, 4 if method == "two" else 2)

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
