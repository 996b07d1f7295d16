"""Tests for :mod:`wavesync.tunnel.server`: what strangers and broken clients say to it."""

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import Recorder
from tests.tunnel.world import CLIENT, HELLO, SIZE, RawClient, World, request
from wavesync.tunnel.heads import MAX_HEAD
from wavesync.tunnel.limits import TunnelLimits
from wavesync.tunnel.server_roles import EARLY

_UPGRADE = ("Connection: Upgrade", "Upgrade: wavesync-tunnel/1")
_SOCKET = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: chat, wavesync-tunnel-1",
)
_BODY = (f"Content-Length: {SIZE}",)


def _id(number: int) -> str:
    return f"{number:032x}"


def _status(client: RawClient) -> int:
    """The status that was answered; 0 where nothing was."""
    head = bytes(client.received)
    return int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 0


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_upgrade(self) -> None:
        """The answer of RFC 9110 section 7.8, the hello back, then raw bytes."""
        world = World()
        client = world.raw(request("GET", "upgrade", "ab" * 16, *_UPGRADE))
        head, _, rest = bytes(client.received).partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        self.assertEqual(lines[0], "HTTP/1.1 101 Switching Protocols")
        self.assertIn("Upgrade: wavesync-tunnel/1", lines)
        self.assertIn("Cache-Control: no-store, no-transform", lines)
        self.assertIn("X-Accel-Buffering: no", lines)
        self.assertEqual(rest, b"")
        self.assertEqual(world.guests, [])
        client.say(HELLO + b"bytes")
        world.pump()
        self.assertTrue(bytes(client.received).endswith(b"\r\n\r\n" + HELLO))
        self.assertEqual(world.guests[0].received, b"bytes")

    def test_websocket(self) -> None:
        """The answer of RFC 6455 section 4.2.2, to the key of its section 1.3."""
        world = World()
        client = world.raw(request("GET", "websocket", "ab" * 16, *_SOCKET))
        lines = bytes(client.received).decode("ascii").split("\r\n")
        self.assertEqual(lines[0], "HTTP/1.1 101 Switching Protocols")
        self.assertIn("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", lines)
        self.assertIn("Sec-WebSocket-Protocol: wavesync-tunnel-1", lines)
        frame = b"\x82\x90" + bytes(4) + HELLO  # a mask of zeros leaves the bytes as they are
        client.say(frame)
        world.pump()
        self.assertTrue(bytes(client.received).endswith(b"\x82\x10" + HELLO))
        self.assertEqual(len(world.guests), 1)

    def test_get_post(self) -> None:
        """Both requests and the hello at once, as a client sends them that saves a round trip."""
        world = World()
        post = request("POST", "get-post", "ab" * 16, *_BODY)
        client = world.raw(request("GET", "get-post") + post + HELLO + b"up")
        head, _, rest = bytes(client.received).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"\r\nContent-Length: 1000000000000", head)
        self.assertIn(b"\r\nContent-Type: application/octet-stream", head)
        self.assertNotIn(b"close", head)
        self.assertEqual(rest, HELLO)
        self.assertEqual(world.guests[0].received, b"up")

    def test_two(self) -> None:
        """The connections may come in either order, from different addresses: the id counts.

        A proxy farm has several addresses.
        """
        get, post = request("GET", "two"), request("POST", "two", "ab" * 16, *_BODY)
        for order in (0, 1):
            world = World()
            if order:
                down, up = world.raw(get, "192.0.2.1"), world.raw(post + HELLO + b"up", "192.0.2.2")
            else:
                up, down = world.raw(post + HELLO + b"up", "192.0.2.2"), world.raw(get, "192.0.2.1")
            self.assertEqual(bytes(down.received).partition(b"\r\n\r\n")[2], HELLO)
            self.assertEqual(world.guests[0].received, b"up")
            self.assertEqual(world.guests[0].transport.getPeer().host, "192.0.2.1")
            self.assertEqual(up.received, b"")
            world.guests[0].transport.loseConnection()
            world.pump()
            self.assertTrue(up.received.startswith(b"HTTP/1.1 200 OK\r\n"))
            self.assertIn(b"\r\nContent-Length: 0\r\n", bytes(up.received))

    def test_absolute_form(self) -> None:
        """A request that names the whole URL is as good (RFC 9112 section 3.2.2)."""
        world = World()
        text = request("GET", "upgrade", "ab" * 16, *_UPGRADE)
        text = text.replace(b"GET /", b"GET http://mediator.example:3355/")
        self.assertEqual(_status(world.raw(text)), 101)

    def test_refused(self) -> None:
        """Each request that is none gets a status, a word and a sentence; the connection ends."""
        get, post = request("GET", "two"), request("POST", "two", "ab" * 16, *_BODY)
        table = {
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n": (404, "path"),
            b"GET /wavesync/1/park HTTP/1.1\r\nHost: x\r\n\r\n": (404, "path"),
            b"GET * HTTP/1.1\r\nHost: x\r\n\r\n": (404, "path"),
            b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n": (404, "path"),
            b"GET http://[/wavesync/1/tunnel/two HTTP/1.1\r\nHost: x\r\n\r\n": (404, "path"),
            request("GET", "carrier-pigeon"): (404, "path"),
            request("GET", "two/"): (404, "path"),
            request("PUT", "two"): (405, "verb"),
            request("PUT", "poll"): (405, "verb"),
            request("POST", "upgrade", "ab" * 16, *_UPGRADE): (405, "verb"),
            request("GET", "upgrade"): (426, "no-upgrade"),
            request("GET", "upgrade", "ab" * 16, "Connection: Upgrade", "Upgrade: h2c"): (
                426,
                "no-upgrade",
            ),
            request("GET", "upgrade", "ab" * 16, *_UPGRADE, version="1.0"): (426, "no-upgrade"),
            request("GET", "upgrade", "AB" * 16, *_UPGRADE): (400, "id"),
            request("GET", "upgrade", "ab" * 17, *_UPGRADE): (400, "id"),
            request("GET", "upgrade", "", *_UPGRADE): (400, "id"),
            request("GET", "two", "ab" * 16, "Wavesync-Tunnel: " + "cd" * 16): (400, "head"),
            request("GET", "two", "ab" * 16, "X: \xe9"): (400, "head"),
            request("GET", "two", "ab" * 16, "Content-Length: 5"): (400, "length"),
            request("GET", "two", "ab" * 16, "Transfer-Encoding: chunked"): (411, "length"),
            request("POST", "two"): (411, "length"),
            request("POST", "two", "ab" * 16, "Content-Length: 5"): (400, "length"),
            request("POST", "get-post", "ab" * 16, *_BODY): (404, "no-get"),
            request("GET", "get-post", "ab" * 16, version="1.0"): (404, "no-get"),
            request("GET", "websocket"): (426, "no-upgrade"),
            request("GET", "websocket", "ab" * 16, *_SOCKET[:2], "Sec-WebSocket-Version: 8"): (
                426,
                "version",
            ),
            request("GET", "websocket", "ab" * 16, *_SOCKET[:3]): (400, "key"),
            request("GET", "websocket", "ab" * 16, *_SOCKET[:3], "Sec-WebSocket-Key: YWJj"): (
                400,
                "key",
            ),
            request("GET", "websocket", "ab" * 16, *_SOCKET[:4]): (400, "subprotocol"),
            b"hello\r\n\r\n": (400, "head"),
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n": (400, "head"),
            get[:-2] + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n": (431, "head"),
            get[:-2] + b"X: " + b"x" * MAX_HEAD: (431, "head"),
        }
        for data, (status, reason) in table.items():
            for limit in (1, 65536):
                world = World(limit=limit)
                client = world.raw(data)
                self.assertEqual(_status(client), status, data)
                head, _, body = bytes(client.received).partition(b"\r\n\r\n")
                self.assertIn(f"\r\nWavesync-Reason: {reason}".encode("ascii"), head, data)
                self.assertIn(b"\r\nConnection: close", head)
                self.assertIn(f"\r\nContent-Length: {len(body)}".encode("ascii"), head)
                self.assertRegex(body, rb"^[ -~]{10,200}\n$")
                self.assertIsNotNone(client.lost)
                self.assertEqual(world.server.statistics.refused, {reason: 1}, data)
                self.assertEqual((len(world.server), len(world.front)), (0, 0))
                self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(_status(World().raw(get)), 200)
        self.assertEqual(_status(World().raw(post)), 0)

    def test_longest_head(self) -> None:
        """The longest head that may be is read."""
        text = request("GET", "two")
        filled = text[:-2] + b"X: " + b"x" * (MAX_HEAD - len(text) - 5) + b"\r\n\r\n"
        self.assertEqual(len(filled), MAX_HEAD)
        self.assertEqual(_status(World().raw(filled)), 200)


class IdTests(SynchronousTestCase):
    """Ids of tunnels."""

    def test_in_use(self) -> None:
        """Nobody gets into a tunnel by its id, whatever the method; the tunnel goes on."""
        for method, fields in (("upgrade", _UPGRADE), ("two", ()), ("get-post", ())):
            world = World()
            first = world.raw(request("GET", "upgrade", "ab" * 16, *_UPGRADE) + HELLO)
            second = world.raw(request("GET", method, "ab" * 16, *fields), "192.0.2.66")
            self.assertEqual(_status(second), 409)
            third = world.raw(request("POST", "two", "ab" * 16, *_BODY) + HELLO, "192.0.2.66")
            self.assertEqual(_status(third), 409)
            first.say(b"still here")
            world.pump()
            self.assertEqual(world.guests[0].received, b"still here")
            self.assertEqual(world.server.statistics.refused, {"id-in-use": 2})

    def test_twice(self) -> None:
        """A second GET, or a second POST, of a tunnel of two connections: before and after both came."""
        get, post = request("GET", "two"), request("POST", "two", "ab" * 16, *_BODY)
        world = World()
        down = world.raw(get)
        self.assertEqual(_status(world.raw(get)), 409)
        world.raw(post + HELLO)
        self.assertEqual(_status(world.raw(post + HELLO)), 409)
        self.assertEqual(_status(world.raw(get)), 409)
        self.assertIsNone(down.lost)
        self.assertEqual(len(world.guests), 1)
        self.assertEqual(len(world.server), 1)

    def test_again(self) -> None:
        """Once a tunnel is over its id is free."""
        world = World()
        for _ in range(2):
            client = world.raw(request("GET", "upgrade", "ab" * 16, *_UPGRADE) + HELLO)
            self.assertEqual(_status(client), 101)
            client.transport.loseConnection()
            world.pump()
        self.assertEqual(len(world.server), 0)

    def test_post_for_another(self) -> None:
        """The POST on a connection has to name the tunnel of its GET, and be one."""
        posts = {
            "id": request("POST", "get-post", "cd" * 16, *_BODY),
            "no-post": request("GET", "get-post", "ab" * 16),
            "length": request("POST", "get-post", "ab" * 16, "Content-Length: 3"),
            "head": b"\0" * 20 + b"\r\n\r\n",
            "path": request("POST", "other", "ab" * 16),
        }
        for reason, post in posts.items():
            for limit in (1, 65536):
                world = World(limit=limit)
                client = world.raw(request("GET", "get-post") + post + HELLO)
                assert client.lost is not None, reason
                client.lost.trap(ConnectionLost)
                self.assertEqual(world.server.statistics.refused, {reason: 1})
                self.assertEqual((world.guests, len(world.server)), ([], 0))


class HelloTests(SynchronousTestCase):
    """The first bytes."""

    def begun(self, world: World, data: bytes = b"", number: int = 0) -> RawClient:
        """A tunnel whose request was agreed to."""
        return world.raw(request("GET", "upgrade", _id(number), *_UPGRADE) + data)

    def test_wrong(self) -> None:
        """What is no hello is closed at its first wrong byte."""
        for wrong in (b"X", b"WST2", b"\0" * 16, b"GET / HTTP/1.1\r\n"):
            world = World()
            client = self.begun(world, wrong)
            self.assertIsNotNone(client.lost, wrong)
            self.assertEqual(world.server.statistics.refused, {"hello": 1})
            self.assertEqual((world.guests, len(world.server)), ([], 0))

    def test_late(self) -> None:
        """A hello has 10 s."""
        for piece in (b"", HELLO[:15]):
            world = World()
            client = self.begun(world, piece)
            world.wait(9.9)
            self.assertIsNone(client.lost)
            world.wait(0.2)
            self.assertIsNotNone(client.lost)
            self.assertEqual(world.server.statistics.refused, {"hello-time": 1})
            self.assertEqual((len(world.server), len(world.front)), (0, 0))
            self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_in_time(self) -> None:
        """One that comes in time is good for as long as the tunnel lasts."""
        world = World()
        client = self.begun(world)
        world.wait(9.9)
        client.say(HELLO)
        world.wait(60.0)
        self.assertIsNone(client.lost)

    def test_one_connection_only(self) -> None:
        """A tunnel of two connections of which one never comes ends after 10 s, whichever it is."""
        get, post = request("GET", "two"), request("POST", "two", "ab" * 16, *_BODY)
        for only in (get, post + HELLO, post):
            world = World()
            client = world.raw(only)
            world.wait(9.9)
            self.assertIsNone(client.lost)
            world.wait(0.2)
            self.assertIsNotNone(client.lost)
            self.assertEqual((len(world.server), len(world.front)), (0, 0))

    def test_one_connection_leaves(self) -> None:
        """One that goes before the other comes leaves no trace, and frees the id."""
        get, post = request("GET", "two"), request("POST", "two", "ab" * 16, *_BODY)
        for first in (get, post):
            world = World()
            world.raw(first).transport.loseConnection()
            world.pump()
            self.assertEqual((len(world.server), len(world.front)), (0, 0))
            down, _ = world.raw(get), world.raw(post + HELLO)
            self.assertEqual(bytes(down.received)[-16:], HELLO)
            self.assertEqual(len(world.server), 1)

    def test_leaves_after_get(self) -> None:
        """A client that goes between its GET and its POST."""
        world = World()
        world.raw(request("GET", "get-post")).transport.loseConnection()
        world.pump()
        self.assertEqual((len(world.server), len(world.front)), (0, 0))

    def test_early_bytes(self) -> None:
        """Before the GET comes, little of what its POST brings is taken, and nothing is lost."""
        world = World()
        up = world.raw(request("POST", "two", "ab" * 16, *_BODY) + HELLO + b"x" * 500_000)
        _, server = world.paths[0]
        self.assertFalse(server.reading)
        self.assertGreater(len(server.other.buffer), 500_000 - 2 * EARLY - 65536)
        world.raw(request("GET", "two"))
        self.assertEqual(len(world.guests[0].received), 500_000)
        self.assertIsNone(up.lost)

    def test_broken_factory(self) -> None:
        """A service whose protocol cannot be made refuses the tunnel; the server goes on."""

        def broken() -> Recorder:
            raise RuntimeError("planted")

        world = World()
        world.make = broken
        client = self.begun(world, HELLO)
        self.assertIsNotNone(client.lost)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(world.server), 0)


class LimitTests(SynchronousTestCase):
    """At each limit, and one past it."""

    def begun(
        self, world: World, number: int, hello: bytes = HELLO, host: str = CLIENT
    ) -> RawClient:
        """One more tunnel."""
        return world.raw(request("GET", "upgrade", _id(number), *_UPGRADE) + hello, host)

    def test_tunnels(self) -> None:
        """One more than there may be gets 503, until one is over."""
        world = World(TunnelLimits(tunnels=3))
        clients = [self.begun(world, number, host=f"192.0.2.{number}") for number in range(3)]
        refused = self.begun(world, 3)
        self.assertEqual(_status(refused), 503)
        self.assertIn(b"\r\nRetry-After: 5\r\n", bytes(refused.received))
        self.assertEqual(world.server.statistics.refused, {"tunnels": 1})
        clients[0].transport.loseConnection()
        world.pump()
        self.assertEqual(_status(self.begun(world, 3)), 101)
        self.assertEqual(len(world.server), 3)

    def test_tunnels_of_a_host(self) -> None:
        """One address cannot take all of them; an IPv6 /64 is one address."""
        world = World(TunnelLimits(tunnels_per_host=2))
        clients = [self.begun(world, number, host=f"2001:db8::{number}") for number in range(2)]
        self.assertEqual([_status(client) for client in clients], [101, 101])
        self.assertEqual(_status(self.begun(world, 2, host="2001:db8::77")), 429)
        self.assertEqual(_status(self.begun(world, 3, host="2001:db8:0:1::77")), 101)
        self.assertEqual(world.server.statistics.refused, {"tunnels-of-host": 1})
        clients[0].transport.loseConnection()
        world.pump()
        self.assertEqual(_status(self.begun(world, 4, host="2001:db8::77")), 101)

    def test_half_made(self) -> None:
        """Where too many have not sent their hello, the oldest goes: honest ones are quicker."""
        world = World(TunnelLimits(half_made=2))
        slow = [self.begun(world, number, b"") for number in range(2)]
        quick = self.begun(world, 2)
        self.assertIsNotNone(slow[0].lost)
        self.assertIsNone(slow[1].lost)
        self.assertIsNone(quick.lost)
        self.assertEqual(len(world.guests), 1)
        self.assertEqual(world.server.statistics.refused, {"half-made": 1})
        slow[1].say(HELLO)
        world.pump()
        self.assertEqual(len(world.guests), 2)

    def test_idle(self) -> None:
        """A tunnel through which nothing comes up ends after one to two times the limit; others stay."""
        world = World(TunnelLimits(idle_time=100.0))
        silent, lively = self.begun(world, 0), self.begun(world, 1)
        for _ in range(4):
            world.wait(49.0)
            lively.say(b"x")
            world.guests[0].transport.write(b"down does not count")
            world.pump()
        self.assertIsNone(silent.lost)
        world.wait(10.0)
        self.assertIsNotNone(silent.lost)
        self.assertIsNone(lively.lost)
        self.assertEqual(world.server.statistics.refused, {"idle": 1})

    def test_settings(self) -> None:
        """A limit of nothing is refused: it would switch tunnels off."""
        for name in TunnelLimits.__struct_fields__:
            for value in (0, -1, float("nan")):
                if (name, value) == ("poll_rate", 0):
                    continue  # as many as come
                self.assertRaises(ValueError, TunnelLimits, **{name: value})


class StopTests(SynchronousTestCase):
    """The server's own end."""

    def test_close(self) -> None:
        """Nobody new is taken; half-made tunnels end; others are their protocols' to end."""
        world = World()
        good = world.raw(request("GET", "upgrade", _id(1), *_UPGRADE) + HELLO)
        half = world.raw(request("GET", "two", _id(2)))
        early = world.raw(request("POST", "two", _id(3), *_BODY) + HELLO)
        empty = world.server.when_empty()
        world.server.close()
        world.pump()
        self.assertIsNotNone(half.lost)
        self.assertIsNotNone(early.lost)
        self.assertIsNone(good.lost)
        self.assertEqual(_status(world.raw(request("GET", "two", _id(4)))), 503)
        self.assertNoResult(empty)
        world.guests[0].transport.loseConnection()
        world.pump()
        self.successResultOf(empty)
        self.successResultOf(world.server.when_empty())

    def test_abort(self) -> None:
        """All at once."""
        world = World()
        good = world.raw(request("GET", "upgrade", _id(1), *_UPGRADE) + HELLO)
        mute = world.raw()
        world.raw(b"GET /")
        empty = world.front.when_empty()
        world.front.abort_all()
        world.pump()
        self.assertIsNotNone(good.lost)
        self.assertIsNotNone(mute.lost)
        self.assertIsNotNone(world.guests[0].lost)
        self.successResultOf(empty)
        self.assertEqual(world.clock.getDelayedCalls(), [])
