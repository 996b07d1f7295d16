"""Tests of short polls between both ends of ours in memory: :mod:`wavesync.tunnel.poll_tunnel`, ``poll_server``."""

from random import Random
from typing import cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import Recorder
from tests.tunnel.world import HELLO, PLACE, Gusher, RawClient, request
from tests.tunnel.world import World as _World
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.poll_core import GIVE_UP, MAX_REQUESTS, WINDOW
from wavesync.tunnel.poll_links import IDLE_LIFE
from wavesync.tunnel.poll_past import MAX_REMEMBERED, Past
from wavesync.tunnel.poll_patience import HOLD
from wavesync.tunnel.poll_role import MAX_AHEAD
from wavesync.tunnel.poll_server import (
    CONNECTION_TIME,
    FIRST_TIME,
    SESSION_TIME,
)
from wavesync.tunnel.poll_wire import MAX_BODY_DOWN, MAX_BODY_UP

_ID = "ab" * 16


class World(_World):
    """One whose connections carry bytes while time passes."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        self.pump()
        while self.clock.seconds() < end:
            self.clock.advance(min(0.05, end - self.clock.seconds()))
            self.pump()


def poll(
    body: bytes = b"",
    *,
    serial: int = 1,
    at: int = 0,
    got: int = 0,
    hold: int = 20_000,
    more: str = "",
    tunnel: str = _ID,
    version: str = "1.1",
    length: int | None = None,
) -> bytes:
    """A poll written by hand."""
    header = (
        f"Wavesync-Poll: serial={serial}; at={at}; got={got}; room=262144; keep=1; hold={hold}; "
        f"live={serial}{more}"
    )
    size = len(body) if length is None else length
    fields = [header, f"Content-Length: {size}"] if body or length is not None else [header]
    verb = "POST" if body or length is not None else "GET"
    return request(verb, "poll", tunnel, *fields, version=version) + body


def status_of(data: bytes) -> tuple[int, str]:
    """The status of the last answer, and its reason where it is a refusal."""
    head = data[data.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")[0].decode()
    lines = head.split("\r\n")
    reasons = [line.partition(": ")[2] for line in lines if line.startswith("Wavesync-Reason")]
    return int(lines[0].split()[1]), "".join(reasons)


class PollCase(SynchronousTestCase):
    """Opens tunnels."""

    def opened(self, world: World, protocol: Recorder | None = None) -> tuple[Recorder, Recorder]:
        """Open a tunnel: the client's protocol and the server's."""
        opening = world.open("poll", protocol)
        world.pump()
        client = self.successResultOf(opening)
        assert isinstance(client, Recorder)
        return client, world.guests[-1]

    def nothing_left(self, world: World) -> None:
        """No tunnel, no connection, no timer."""
        self.assertEqual((len(world.server), len(world.front)), (0, 0))
        self.assertEqual(sum(world.server.statistics.open.values()), 0)
        self.assertEqual(world.clock.getDelayedCalls(), [])


class OpenTests(PollCase):
    """A tunnel that works."""

    def test_both_ways(self) -> None:
        """What either side writes arrives at the other one, in order; both know who is there."""
        for limit in (1, 100_000):
            world = World(limit=limit)
            world.make = lambda: Recorder(b"welcome")
            client, guest = self.opened(world, Recorder(b"here I am"))
            for number in range(30):
                client.transport.write(b"up %d" % number)
                guest.transport.writeSequence([b"down", b" %d" % number])
            world.pump()
            up, down = (
                b"".join(b"%s %d" % (word, each) for each in range(30)) for word in (b"up", b"down")
            )
            self.assertEqual(guest.received, b"here I am" + up)
            self.assertEqual(client.received, b"welcome" + down)
            self.assertEqual(world.told, [guest.transport.getPeer()])
            self.assertEqual(client.transport.getPeer().host, "198.51.100.1")
            self.assertEqual(world.server.statistics.opened["poll"], 1)

    def test_bulk(self) -> None:
        """Megabytes arrive both ways, over no more connections than there may be."""
        world = World()
        client, guest = self.opened(world)
        data = Random(1).randbytes(2_000_000)
        client.transport.write(data)
        guest.transport.write(data[::-1])
        world.pump()
        self.assertEqual(guest.received, data)
        self.assertEqual(client.received, data[::-1])
        self.assertLessEqual(len(world.paths), MAX_REQUESTS)

    def test_pieces_of_one_turn(self) -> None:
        """What is written at one time goes in one request."""
        world = World()
        client, _ = self.opened(world)
        before = sum(path[0].sent.count(b"POST ") for path in world.paths)
        for _ in range(100):
            client.transport.write(b"piece")
        world.pump()
        self.assertEqual(sum(path[0].sent.count(b"POST ") for path in world.paths), before + 1)

    def test_idle_connections(self) -> None:
        """A tunnel that is idle for long keeps one connection."""
        world = World()
        client, guest = self.opened(world)
        guest.transport.write(bytes(1_000_000))
        world.pump()
        self.assertGreater(len(world.front), 2)
        world.wait(IDLE_LIFE + HOLD + 1.0)
        self.assertEqual(len(world.front), 1)
        client.transport.write(b"still here")
        world.pump()
        self.assertEqual(guest.received, b"still here")

    def test_ids_and_urls(self) -> None:
        """The id is in no URL, and no URL comes twice."""
        world = World()
        self.opened(world)
        world.wait(2 * HOLD)
        sent = b"".join(bytes(path[0].sent) for path in world.paths)
        lines = [line for line in sent.split(b"\r\n") if line.endswith(b" HTTP/1.1")]
        self.assertEqual(len(set(lines)), len(lines))
        self.assertGreater(len(lines), 2)
        tunnel = sent.partition(b"Wavesync-Tunnel: ")[2][:32]
        self.assertFalse([line for line in lines if tunnel in line])

    def test_absolute(self) -> None:
        """Through a proxy every request has the whole URL, and the proxy's headers."""
        world = World()
        secret = ("Proxy-Authorization", "Basic c2VjcmV0")
        place = type(PLACE)(PLACE.authority, False, f"http://{PLACE.authority}", (secret,))
        opening = world.open("poll", place=place)
        world.pump()
        self.successResultOf(opening)
        for path in world.paths:
            heads = [head for head in bytes(path[0].sent).split(b"\r\n\r\n") if b"HTTP/1.1" in head]
            for head in heads:
                self.assertIn(b" http://mediator.example:3355/wavesync/1/tunnel/poll?n=", head)
                self.assertIn(b"Proxy-Authorization: Basic c2VjcmV0", head)


class EndTests(PollCase):
    """The end of a tunnel."""

    def test_in_order(self) -> None:
        """Either side's end comes behind what it wrote, and is the end of everything."""
        for which in (0, 1):
            world = World()
            ends = self.opened(world)
            ends[which].transport.write(bytes(300_000))
            ends[which].transport.loseConnection()
            world.pump()
            self.assertEqual(len(ends[1 - which].received), 300_000)
            for end in ends:
                assert end.lost is not None
                end.lost.trap(ConnectionDone)
            world.wait(10.0)
            self.nothing_left(world)

    def test_aborted(self) -> None:
        """Either side can break off; the other one is told that it was broken off."""
        for which in (0, 1):
            world = World()
            ends = self.opened(world)
            ends[which].transport.abortConnection()
            self.assertIsNone(ends[which].lost)
            world.pump()
            ours, theirs = ends[which].lost, ends[1 - which].lost
            assert ours is not None and theirs is not None
            ours.trap(ConnectionAborted)
            theirs.trap(ConnectionLost)
            world.wait(10.0)
            self.nothing_left(world)

    def test_client_vanishes(self) -> None:
        """A client that asks no more is lost after 30 s."""
        world = World()
        client = world.raw(poll(HELLO))
        client.say(poll(serial=2, at=16, got=16))
        world.wait(SESSION_TIME - 0.1)
        guest = world.guests[0]
        self.assertIsNone(guest.lost)
        world.wait(0.2)
        assert guest.lost is not None
        guest.lost.trap(ConnectionLost)
        self.assertEqual(len(world.server), 0)

    def test_stalled_reader_hears_everything(self) -> None:
        """An end that comes while a protocol does not read waits for it."""
        world = World()
        client, guest = self.opened(world)
        client.transport.pauseProducing()
        guest.transport.write(bytes(300_000))
        guest.transport.loseConnection()
        world.wait(5.0)
        self.assertEqual((len(client.received), client.lost), (0, None))
        client.transport.resumeProducing()
        world.pump()
        self.assertEqual(len(client.received), 300_000)
        assert client.lost is not None
        client.lost.trap(ConnectionDone)

    def test_server_stops(self) -> None:
        """A server that stops breaks every tunnel off, and closes every connection."""
        world = World()
        client, guest = self.opened(world)
        world.front.abort_all()
        world.pump()
        self.assertIsNotNone(guest.lost)
        world.wait(GIVE_UP + 5.0)
        assert client.lost is not None
        client.lost.trap(ConnectionLost)

    def test_server_stops_between_requests(self) -> None:
        """Connections that wait for their next request are closed, and nothing waits for them."""
        world = World()
        client = world.raw(poll(HELLO))
        world.front.abort_all()
        world.pump()
        self.assertIsNotNone(client.lost)
        self.nothing_left(world)

    def test_cancelled(self) -> None:
        """An opening that is given up closes its connection; the server soon forgets it."""
        world = World()
        opening = world.open("poll")
        opening.cancel()
        self.failureResultOf(opening)
        world.wait(FIRST_TIME + 0.1)
        self.nothing_left(world)


class PressureTests(PollCase):
    """A side that does not read."""

    def test_up(self) -> None:
        """The client's producer is paused, and goes on once the server reads."""
        world = World()
        gusher = Gusher()
        _, guest = self.opened(world, gusher)
        guest.transport.pauseProducing()
        gusher.start()
        world.wait(5.0)
        self.assertTrue(gusher.paused)
        self.assertLessEqual(gusher.written, 2 * WINDOW + 8192)
        self.assertEqual(guest.received, b"")
        guest.transport.resumeProducing()
        world.pump()
        self.assertEqual(len(guest.received), gusher.written)
        self.assertGreaterEqual(gusher.written, gusher.most)

    def test_down(self) -> None:
        """The same the other way."""
        world = World()
        gusher = Gusher()
        world.make = lambda: gusher
        client, _ = self.opened(world)
        client.transport.pauseProducing()
        gusher.start()
        world.wait(5.0)
        self.assertTrue(gusher.paused)
        self.assertLessEqual(gusher.written, 2 * WINDOW + 8192)
        client.transport.resumeProducing()
        world.pump()
        self.assertEqual(len(client.received), gusher.written)


class BytesTests(PollCase):
    """An operator says how much is held for each."""

    def test_down(self) -> None:
        """Who writes down is paused at that."""
        world = World(TunnelLimits(poll_bytes=50_000))
        gusher = Gusher()
        world.make = lambda: gusher
        client, _ = self.opened(world)
        client.transport.pauseProducing()
        gusher.start()
        world.wait(5.0)
        self.assertTrue(gusher.paused)
        self.assertLessEqual(gusher.written, WINDOW + 50_000 + 8192)
        client.transport.resumeProducing()
        world.pump()
        self.assertEqual(len(client.received), gusher.written)


class FaultTests(PollCase):
    """Connections that break, and what comes from somebody else."""

    def test_connections_break(self) -> None:
        """Every connection breaks again and again: every byte arrives."""
        world = World(limit=5000)
        client, guest = self.opened(world)
        data = Random(2).randbytes(300_000)
        client.transport.write(data)
        guest.transport.write(data[::-1])
        for _ in range(20):
            for _ in range(15):
                world.clock.advance(0)
                for path in list(world.paths):
                    for end in path:
                        if end.protocol is not None:
                            end.step(world.limit)
            for path in list(world.paths):
                if not path[1].lost:
                    path[1].abortConnection()
            world.clock.advance(0.3)
        world.wait(2.0)
        self.assertEqual(guest.received, data)
        self.assertEqual(client.received, data[::-1])
        self.assertGreater(len(world.paths), 10)

    def test_error_pages_for_a_while(self) -> None:
        """A proxy that says 502 for ten seconds breaks nothing; for good, it is the reason told."""
        for seconds in (10.0, 60.0):
            world = World()
            client, guest = self.opened(world)
            build = world.front.buildProtocol
            world.front.buildProtocol = lambda addr: _Page("502 Bad Gateway")  # type: ignore
            for path in list(world.paths):
                path[1].abortConnection()
            client.transport.write(b"in the meantime")
            world.wait(seconds)
            world.front.buildProtocol = build  # type: ignore[method-assign]
            world.wait(2.0)
            if seconds == 10.0:
                self.assertEqual(guest.received, b"in the meantime")
            else:
                assert client.lost is not None
                self.assertIn("502", client.lost.getErrorMessage())

    def test_not_opened(self) -> None:
        """Whatever answers instead of the server is told from it, and nothing is left."""
        for answer, why in (
            ("200 OK", Why.PAGE),
            ("302 Found", Why.PAGE),
            ("511 Network Authentication Required", Why.PAGE),
            ("403 Forbidden", Why.REFUSED),
            ("407 Proxy Authentication Required", Why.PROXY_PASSWORD),
            ("502 Bad Gateway", Why.REFUSED),
        ):
            world = World()
            opening = world.open("poll", dial=world.dial(lambda a=answer: _Page(a)))  # type: ignore
            world.pump()
            error = self.failureResultOf(opening, TunnelError).value
            self.assertEqual(error.reason, why, answer)
            world.pump()
            self.nothing_left(world)

    def test_odd_answers(self) -> None:
        """Answers that are not the server's, or have been changed, are not taken for its own."""
        good = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            b"Wavesync-Poll: serial=1; at=0; got=16; room=9\r\nContent-Length: 16\r\n\r\n"
            + bytes(16)
        )
        longest = MAX_BODY_DOWN
        packed = good.replace(b"octet-stream", b"octet-stream\r\nContent-Encoding: gzip")
        for answer, why, words in (
            (good, Why.CHANGED, "first bytes"),  # not the hello that was sent
            (good.replace(b"serial=1", b"serial=2"), Why.CHANGED, "another request"),
            (good.replace(b"got=16", b"got=17"), Why.CHANGED, "never sent"),
            (good.replace(b"at=0", b"at=-1"), Why.CHANGED, "malformed"),
            (packed, Why.CHANGED, "encoding"),
            (good.replace(b"Length: 16", b"Length: 999999"), Why.SILENT, "within 5 s"),
            (
                good.replace(b"Length: 16", b"Length: %d" % longest) + bytes(longest),
                Why.CHANGED,
                "first",
            ),
            (
                good.replace(b"Length: 16", b"Length: %d" % (longest + 1)) + bytes(longest),
                Why.CHANGED,
                "too long",
            ),
            (good.replace(b"Wavesync-Poll", b"Wavesync-Pull"), Why.CHANGED, "200"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", Why.NOT_HTTP, "HTTP/1.1"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, Why.CHANGED, "100"),
            (b"", Why.CLOSED, "closed"),
        ):
            world = World()
            opening = world.open("poll", dial=world.dial(lambda a=answer: _Saying(a)))  # type: ignore
            world.wait(5.1)
            error = self.failureResultOf(opening, TunnelError).value
            self.assertEqual(error.reason, why, answer)
            self.assertIn(words, str(error))
            world.pump()
            self.nothing_left(world)

    def test_no_secrets(self) -> None:
        """The tunnel's id and what goes through it are in no log line and no representation."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        world = World()
        client, _ = self.opened(world)
        client.transport.write(b"sesame")
        world.pump()
        client.transport.abortConnection()
        world.wait(20.0)
        sent = b"".join(bytes(path[0].sent) for path in world.paths)
        tunnel = sent.partition(b"Wavesync-Tunnel: ")[2][:32].decode()
        for text in (repr(events), repr(vars(client)), repr(world.server), str(client.lost)):
            self.assertNotIn("sesame", text)
            self.assertNotIn(tunnel, text)


class ServerTests(PollCase):
    """Requests written by hand."""

    def begun(self, world: World) -> RawClient:
        """A client whose tunnel has begun."""
        return world.raw(poll(HELLO))

    def test_as_documented(self) -> None:
        """The first requests and answers, byte by byte."""
        world = World()
        client = self.begun(world)
        self.assertEqual(
            client.received,
            b"HTTP/1.1 200 OK\r\n"
            b"Cache-Control: no-store, no-transform\r\n"
            b"Pragma: no-cache\r\n"
            b"X-Accel-Buffering: no\r\n"
            b"Content-Type: application/octet-stream\r\n"
            b"Content-Length: 16\r\n"
            b"Wavesync-Poll: serial=1; at=0; got=16; room=262144\r\n\r\n" + HELLO,
        )
        client.received.clear()
        client.say(poll(serial=2, at=16, got=16))
        world.wait(5.0)
        self.assertEqual(client.received, b"")
        world.guests[0].transport.write(b"news")
        world.pump()
        self.assertTrue(
            client.received.endswith(b"serial=2; at=16; got=16; room=262144\r\n\r\nnews")
        )
        client.say(poll(b"ask", serial=3, at=16, got=20))
        world.pump()
        self.assertEqual(world.guests[0].received, b"ask")
        client.say(b"")
        world.wait(0.6)  # nothing to say, but the bytes are to be acknowledged
        self.assertTrue(client.received.endswith(b"serial=3; at=20; got=19; room=262144\r\n\r\n"))

    def test_hold(self) -> None:
        """A request is held for as long as it says, then answered without a byte."""
        world = World()
        client = self.begun(world)
        client.received.clear()
        client.say(poll(serial=2, at=16, got=16, hold=7000))
        world.wait(6.9)
        self.assertEqual(client.received, b"")
        world.wait(0.2)
        self.assertIn(b"Content-Length: 0\r\n", client.received)

    def test_http_1_0(self) -> None:
        """A proxy that speaks HTTP/1.0 gets one answer a connection."""
        world = World()
        client = world.raw(poll(HELLO, version="1.0"))
        self.assertIn(b"Connection: close\r\n", client.received)
        self.assertTrue(client.received.endswith(HELLO))
        self.assertIsNotNone(client.lost)

    def test_chunked(self) -> None:
        """A proxy may write a body in chunks."""
        world = World()
        body = poll(HELLO).replace(b"Content-Length: 16", b"Transfer-Encoding: chunked")
        head, _, _ = body.partition(b"\r\n\r\n")
        client = world.raw(head + b"\r\n\r\n10\r\n" + HELLO + b"\r\n0\r\n\r\n")
        self.assertTrue(client.received.endswith(HELLO))

    def test_expect(self) -> None:
        """Who wants to be told to go on is told."""
        world = World()
        head, _, body = poll(HELLO).partition(b"\r\n\r\n")
        client = world.raw(head + b"\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(client.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.say(body)
        world.pump()
        self.assertTrue(client.received.endswith(HELLO))

    def test_refused(self) -> None:
        """What is wrong has its status and its word, and the connection ends."""
        no_header = poll(HELLO).replace(b"Wavesync-Poll", b"Wavesync-Pull")
        for data, expected in (
            (no_header, (400, "poll")),
            (poll(HELLO, serial=0), (400, "poll")),
            (poll(HELLO, tunnel="AB" * 16), (400, "id")),
            (poll(b"GET / HTTP/1.1\r\n"), (400, "hello")),
            (poll(HELLO[:15]), (400, "hello")),
            (poll(), (400, "hello")),
            (poll(HELLO, at=1), (404, "unknown")),
            (poll(HELLO, got=16), (404, "unknown")),
            (poll(HELLO, more="; over"), (404, "unknown")),
            (poll(HELLO, length=MAX_BODY_UP + 1), (413, "length")),
            (poll(HELLO).replace(b"POST", b"PUT"), (405, "verb")),
        ):
            world = World()
            client = world.raw(data)
            self.assertEqual(status_of(bytes(client.received)), expected, data)
            self.assertIsNotNone(client.lost)
            self.assertEqual(world.server.statistics.refused[expected[1]], 1)
            world.wait(6.0)
            self.nothing_left(world)

    def test_nonsense_in_a_tunnel(self) -> None:
        """A client that contradicts itself loses its tunnel."""
        for data in (
            poll(serial=2, at=16, got=17),
            poll(b"x", serial=2, at=16 + WINDOW, got=16),
            poll(b"x", serial=2, at=15, got=16, more="; last").replace(b"at=15", b"at=3"),
        ):
            world = World()
            client = self.begun(world)
            client.say(data)
            world.pump()
            self.assertEqual(status_of(bytes(client.received)), (400, "poll"))
            lost = world.guests[0].lost
            assert lost is not None
            lost.trap(ConnectionLost)
            self.assertEqual(len(world.server), 0)

    def test_longest_body(self) -> None:
        """The longest body is taken, as one that is written in chunks; a longer one is not."""
        for size, status in ((MAX_BODY_UP, 200), (MAX_BODY_UP + 1, 413)):
            world = World()
            body = HELLO + bytes(size - 16)
            head = poll(length=0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            client = world.raw(head + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
            self.assertEqual(status_of(bytes(client.received))[0], status)

    def test_behind_a_held_request(self) -> None:
        """A little may come behind a request that is held; more closes the connection."""
        world = World()
        for size, closed in ((MAX_AHEAD, False), (MAX_AHEAD + 1, True)):
            tunnel = f"{size:032x}"
            client = world.raw(poll(HELLO, tunnel=tunnel))
            client.say(poll(serial=2, at=16, got=16, tunnel=tunnel))
            world.pump()
            client.say(bytes(size))
            world.pump()
            self.assertEqual(client.lost is not None, closed)

    def test_pipelined(self) -> None:
        """Two requests at one time on one connection are answered one after the other."""
        world = World()
        client = world.raw(poll(HELLO) + poll(b"up", serial=2, at=16, got=16, hold=0))
        self.assertEqual(bytes(client.received).count(b"HTTP/1.1 200"), 2)
        self.assertEqual(world.guests[0].received, b"up")

    def test_limits_of_tunnels(self) -> None:
        """As many tunnels as there may be, in all and from one address; others are told why."""
        world = World(TunnelLimits(tunnels=3, tunnels_per_host=2))
        for number, (host, expected) in enumerate(
            (
                ("192.0.2.1", (200, "")),
                ("192.0.2.1", (200, "")),
                ("192.0.2.1", (429, "tunnels-of-host")),
                ("192.0.2.2", (200, "")),
                ("192.0.2.3", (503, "tunnels")),
            )
        ):
            client = world.raw(poll(HELLO, tunnel=f"{number:032x}"), host)
            self.assertEqual(status_of(bytes(client.received)), expected)
        self.assertEqual(len(world.server), 3)
        self.assertEqual(world.server.statistics.refused, {"tunnels-of-host": 1, "tunnels": 1})

    def test_going(self) -> None:
        """A server that is going waits for the tunnels there are, and takes no more."""
        world = World()
        client, guest = self.opened(world)
        world.server.close()
        empty = world.server.when_empty()
        late = world.raw(poll(HELLO))
        self.assertEqual(status_of(bytes(late.received)), (503, "going"))
        client.transport.write(b"the last words")
        world.wait(1.0)
        self.assertEqual(guest.received, b"the last words")
        self.assertNoResult(empty)
        guest.transport.loseConnection()
        world.wait(1.0)
        self.successResultOf(empty)
        self.assertIsNotNone(client.lost)

    def test_times(self) -> None:
        """A client that does not come back, and a connection that says nothing, are forgotten."""
        world = World()
        client = self.begun(world)
        world.wait(FIRST_TIME - 0.1)
        self.assertEqual(len(world.server), 1)
        world.wait(0.2)
        self.assertEqual(len(world.server), 0)
        self.assertIsNone(client.lost)
        world.wait(CONNECTION_TIME)
        self.assertIsNotNone(client.lost)
        self.nothing_left(world)

    def test_slow_body(self) -> None:
        """A request that does not become whole is not waited for."""
        world = World()
        client = world.raw(poll(HELLO, length=100))
        world.wait(CONNECTION_TIME + 0.1)
        self.assertIsNotNone(client.lost)
        self.nothing_left(world)

    def test_over_is_over(self) -> None:
        """Requests that come after the end begin no new tunnel, and are told how it ended."""
        world = World()
        client = self.begun(world)
        client.say(poll(b"bye", serial=2, at=16, got=16, more="; last"))
        world.pump()
        self.assertEqual(world.guests[0].received, b"bye")
        self.assertIsNotNone(world.guests[0].lost)
        self.assertIn(b"got=20;", client.received)
        for data in (poll(HELLO), poll(b"bye", serial=2, at=16, got=16, more="; last")):
            late = world.raw(data)
            self.assertEqual(status_of(bytes(late.received)), (404, "ended"))
        self.assertEqual(len(world.guests), 1)

    def test_remembered(self) -> None:
        """So many tunnels are remembered, and the oldest is forgotten then."""
        past = Past()
        for number in range(MAX_REMEMBERED):
            past.add(str(number), "ended")
        self.assertEqual(past.reason("0"), "ended")
        past.add("one more", "lost")
        self.assertEqual((past.reason("0"), past.reason("1")), (None, "ended"))
        self.assertEqual(past.reason("one more"), "lost")

    def test_protocol_wants_nothing(self) -> None:
        """A protocol that is not there, fails, or breaks off at once is no harm."""

        class Refusing(Recorder):
            def connectionMade(self) -> None:
                self.transport.abortConnection()

        def failing() -> Recorder:
            raise RuntimeError("no")

        for make, expected in (
            (lambda: None, (503, "protocol")),
            (failing, (503, "protocol")),
            (Refusing, (404, "lost")),
        ):
            world = World()
            world.make = make
            client = self.begun(world)
            self.assertEqual(status_of(bytes(client.received)), expected)
            world.wait(6.0)
            self.nothing_left(world)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class _Saying(Protocol):
    """Says the same to whatever comes; with nothing to say, closes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        if self._answer:
            self.transport.write(self._answer)
        else:
            self.transport.loseConnection()


class _Page(_Saying):
    """Answers with a page."""

    def __init__(self, status: str) -> None:
        body = b"<html>no</html>"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        super().__init__(head.encode() + body)
