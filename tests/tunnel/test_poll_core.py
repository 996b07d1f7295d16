"""Tests of :mod:`wavesync.tunnel.poll_core` and :mod:`wavesync.tunnel.poll_held` against each other."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.poll_world import PollWorld
from wavesync.tunnel.poll_core import GIVE_UP, MANY, MAX_KEEP, WINDOW, ClientCore
from wavesync.tunnel.poll_held import ServerCore
from wavesync.tunnel.poll_patience import HOLD
from wavesync.tunnel.poll_wire import PollAnswer, PollRequest

_CHANCES = st.sampled_from([0.0, 0.05, 0.2, 0.4])


class WorstTests(SynchronousTestCase):
    """Whatever a proxy does to requests and answers, both streams arrive as they were sent."""

    @given(
        seed=st.integers(0, 2**32),
        lose=_CHANCES,
        swallow=st.sampled_from([0.0, 0.05]),
        repeat=_CHANCES,
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
        cut=st.sampled_from([None, None, 5.0]),
    )
    @settings(max_examples=60, deadline=None)
    def test_streams_arrive(
        self,
        seed: int,
        lose: float,
        swallow: float,
        repeat: float,
        jitter: float,
        cut: float | None,
    ) -> None:
        """Lost, repeated, overtaken and cut requests change no byte in either direction."""
        world = PollWorld(seed, lose=lose, swallow=swallow, repeat=repeat, jitter=jitter, cut=cut)
        random = Random(seed)
        up, down = bytearray(), bytearray()
        for _ in range(6):
            for stream, write in ((up, world.write_up), (down, world.write_down)):
                data = random.randbytes(random.choice([0, 1, 200, 70_000, 150_000]))
                stream += data
                write(data)
            world.advance(random.choice([0.0, 0.1, 5.0]))
        world.client.outgoing.end()
        world.server.outgoing.end()

        def over() -> bool:
            ends = world.client.outgoing.arrived, world.server.outgoing.arrived
            return all(ends) or world.client.dead is not None

        world.until(over, 600.0)
        if world.client.dead is None:
            self.assertTrue(world.client.outgoing.arrived)
            self.assertTrue(world.server.outgoing.arrived)
            self.assertEqual(world.arrived_up, up)
            self.assertEqual(world.arrived_down, down)
        else:
            self.assertEqual(world.arrived_up, up[: len(world.arrived_up)])
            self.assertEqual(world.arrived_down, down[: len(world.arrived_down)])
            self.assertGreaterEqual(lose + swallow, 0.05)


class SpeedTests(SynchronousTestCase):
    """How long bytes take, on a path without losses and a round trip of 60 ms."""

    def world(self) -> PollWorld:
        """Two ends that have exchanged their first requests."""
        world = PollWorld(delay=0.03)
        world.write_up(b"hello")
        world.write_down(b"hello")
        world.advance(1.0)
        return world

    def test_idle(self) -> None:
        """An idle tunnel makes one request in 20 s."""
        world = self.world()
        before = len(world.requests)
        world.advance(100.0)
        self.assertIn(len(world.requests) - before, range(4, 7))
        self.assertEqual(world.client.under_way, 1)

    def test_lone_echo(self) -> None:
        """An echo takes one round trip and one request, which is the one that is held then."""
        world = self.world()
        world.echo = True
        before = len(world.requests)
        for number in range(20):
            began, came = world.now, len(world.arrived_down)
            world.write_up(b"x" * 200)
            self.assertTrue(world.until_down(came + 200, 5.0))
            self.assertAlmostEqual(world.now - began, 0.06, places=3)
            world.advance(0.1 * number)
        self.assertEqual(len(world.requests) - before, 20)

    def test_late_echo(self) -> None:
        """Bytes down that come of themselves take one way, even many times in a row."""
        world = self.world()
        for _ in range(10):
            began, came = world.now, len(world.arrived_down)
            world.write_down(b"news")
            world.until_down(came + 4, 5.0)
            self.assertAlmostEqual(world.now - began, 0.03, places=3)
            world.advance(0.2)

    def test_bulk(self) -> None:
        """Many bytes use several requests at a time, each way."""
        world = self.world()
        size = 3_000_000
        for write, until in (
            (world.write_up, world.until_up),
            (world.write_down, world.until_down),
        ):
            began = world.now
            write(bytes(size))
            self.assertTrue(until(size + len(b"hello"), 60.0))
            self.assertGreater(8e-6 * size / (world.now - began), 15.0)

    def test_down_while_much_goes_up(self) -> None:
        """Bytes down do not wait for a long stream up to end."""
        world = self.world()
        world.write_up(bytes(3_000_000))
        world.advance(0.2)
        began, came = world.now, len(world.arrived_down)
        world.write_down(b"news")
        world.until_down(came + 4, 5.0)
        self.assertLess(world.now - began, 0.15)


class StalledTests(SynchronousTestCase):
    """An application that does not read."""

    def test_up(self) -> None:
        """The server holds one window of it; the rest waits with the client, then all goes on."""
        world = PollWorld()
        world.advance(1.0)
        world.reading_up = False
        world.write_up(bytes(1_000_000))
        world.advance(10.0)
        self.assertEqual(world.server.incoming.got, WINDOW)
        self.assertEqual(len(world.client.outgoing), 1_000_000 - WINDOW)
        before = len(world.requests)
        world.advance(100.0)
        self.assertLess(len(world.requests) - before, 20)
        self.assertIsNone(world.client.dead)
        world.reading_up = True
        self.assertTrue(world.until_up(1_000_000, 5.0))

    def test_down(self) -> None:
        """The same the other way."""
        world = PollWorld()
        world.advance(1.0)
        world.reading_down = False
        world.write_down(bytes(1_000_000))
        world.advance(10.0)
        self.assertEqual(world.client.incoming.got, WINDOW)
        before = len(world.requests)
        world.advance(100.0)
        self.assertLess(len(world.requests) - before, 20)
        world.reading_down = True
        self.assertTrue(world.until_down(1_000_000, 5.0))


class FaultTests(SynchronousTestCase):
    """Proxies that go, cut, or swallow."""

    def test_gone_for_a_while(self) -> None:
        """Ten seconds without the proxy break nothing, and it is asked again soon when it is back."""
        world = PollWorld()
        world.echo = True
        world.advance(1.0)
        world.down = True
        world.write_up(b"x" * 100_000)
        world.advance(10.0)
        self.assertLess(len(world.requests), 60)
        world.down = False
        self.assertTrue(world.until_down(100_000, 2.0))
        self.assertIsNone(world.client.dead)

    def test_gone_for_good(self) -> None:
        """Fifteen seconds after the first failure the tunnel is lost, with the last reason."""
        world = PollWorld()
        world.advance(1.0)
        world.down = True
        world.write_up(b"x")
        began = world.now
        self.assertTrue(world.until(lambda: world.client.dead is not None, 60.0))
        self.assertEqual(world.client.dead, "the proxy closed the connection")
        self.assertTrue(GIVE_UP <= world.now - began < GIVE_UP + 3.0)
        before = len(world.requests)
        world.advance(60.0)
        self.assertEqual(len(world.requests), before)

    def test_black_hole(self) -> None:
        """A proxy that swallows everything and says nothing: lost in well under a minute."""
        world = PollWorld()
        world.advance(1.0)
        world.swallow = 1.0
        world.write_up(b"x")
        began = world.now
        self.assertTrue(world.until(lambda: world.client.dead is not None, 90.0))
        self.assertLess(world.now - began, 45.0)

    def test_one_is_swallowed(self) -> None:
        """Bytes whose request vanishes are sent again after 3 s, while others go on."""
        world = PollWorld()
        world.advance(1.0)
        world.swallow = 1.0
        world.write_up(b"lost")
        world.swallow = 0.0
        self.assertTrue(world.until(lambda: bytes(world.arrived_up) == b"lost", 3.5))

    def test_answer_is_swallowed(self) -> None:
        """Bytes whose answer was cut come with the answer to the next request."""
        world = PollWorld()
        world.advance(1.0)
        world.lose = 1.0
        world.write_down(b"lost")
        world.lose = 0.0
        self.assertTrue(world.until(lambda: bytes(world.arrived_down) == b"lost", 0.5))

    def test_repeated_request(self) -> None:
        """A request that a proxy repeats gets the answer that it got, whatever has happened since."""
        server: ServerCore[str] = ServerCore()
        first = PollRequest(1, 0, 0, 1000, 1, 20_000, (1,))
        server.request("a", first, b"up", 0.0)
        server.outgoing.write(b"down")
        (answer,) = server.answers(0.0)
        server.outgoing.write(b"more")
        server.request("b", first, b"up", 0.1)
        (again,) = server.answers(0.1)
        self.assertEqual((again.carrier, again.answer, again.body), ("b", *answer[1:]))
        self.assertEqual(server.incoming.deliver(), b"up")
        # Also one whose answer was empty: the client may think that it has that one.
        server.request("c", PollRequest(2, 2, 4, 1000, 1, 0, (2,)), b"", 0.2)
        self.assertEqual([each.body for each in server.answers(0.2)], [b"more"])

    def test_repeated_while_held(self) -> None:
        """Of a held request's two copies one is answered at once, the other one is held."""
        server: ServerCore[str] = ServerCore()
        server.request("first", PollRequest(1, 0, 0, 1000, 1, 20_000, (1,)), b"", 0.0)
        server.answers(0.0)
        held = PollRequest(2, 0, 0, 1000, 1, 20_000, (2,))
        server.request("a", held, b"", 0.0)
        self.assertEqual(server.answers(0.0), [])
        server.request("b", held, b"", 0.0)
        self.assertEqual([each.carrier for each in server.answers(0.0)], ["a"])
        self.assertEqual(len(server), 1)

    def test_cut_for_their_age(self) -> None:
        """A proxy that cuts requests after 15 s is soon asked for shorter ones, and loses nothing."""
        world = PollWorld(cut=15.0)
        world.echo = True
        for number in range(6):
            world.write_up(b"x")
            self.assertTrue(world.until_down(number + 1, 2.0))
            world.advance(40.0)
        self.assertIsNone(world.client.dead)
        self.assertLess(world.client.patience.hold, HOLD)


class ClientTests(SynchronousTestCase):
    """What one end asks for, step by step."""

    def client(self) -> ClientCore:
        """One that has had its first answer; its second request is held."""
        client = ClientCore(lambda: 0.5)
        client.outgoing.write(b"hello")
        client.requests(0.0)
        client.answered(1, PollAnswer(1, 0, 5, WINDOW), b"hello", 0.1)
        self.assertEqual([each.request.live for each in client.requests(0.1)], [(2,)])
        return client

    def down(self, client: ClientCore, serial: int, at: int, size: int) -> list[PollRequest]:
        """A request is answered with bytes: the requests that are sent then."""
        client.answered(serial, PollAnswer(serial, at, 5, WINDOW), bytes(size), 1.0)
        client.incoming.deliver()
        return [each.request for each in client.requests(1.0)]

    def test_more_are_held_while_much_comes(self) -> None:
        """Answers with many bytes raise the number of requests, up to three; small ones lower it."""
        client = self.client()
        counts = [
            len(self.down(client, 2 + number, 5 + number * MANY, MANY)) for number in range(4)
        ]
        self.assertEqual(counts, [2, 2, 1, 1])
        self.assertEqual(client.under_way, MAX_KEEP)
        for number in range(4):
            self.down(client, 6 + number, 5 + 4 * MANY + number, 1)
        self.assertEqual(client.under_way, 1)

    def test_failed(self) -> None:
        """After a failure one request more than is held: that the server answers it tells that all is well."""
        client = self.client()
        client.failed(2, "cut", 1.0)
        self.assertEqual(len(client.requests(1.0)), 2)
        self.assertEqual(self.down(client, 3, 5, 0), [])

    def test_ahead_of_a_gap(self) -> None:
        """What has come ahead of a gap is not asked for again."""
        client = self.client()
        self.down(client, 2, 5, MANY)
        (request, *_) = self.down(client, 4, 5 + 2 * MANY, MANY)
        self.assertEqual((request.got, request.live[0], request.live[-1]), (5 + MANY, 3, 4))
        (request, *_) = self.down(client, 3, 5 + MANY, MANY)
        self.assertEqual(request.got, 5 + 3 * MANY)
        self.assertNotIn(4, request.live)

    def test_server_holds_as_many_as_it_may(self) -> None:
        """Of more requests than may be held the oldest is answered, without a byte."""
        server: ServerCore[int] = ServerCore()
        for serial, expected in ((1, [1]), (2, []), (3, [2]), (4, [3])):
            request = PollRequest(serial, 0, 0, 1000, 1, 20_000, (serial,))
            server.request(serial, request, b"", 0.0)
            self.assertEqual([each.carrier for each in server.answers(0.0)], expected)
        server.request(5, PollRequest(5, 0, 0, 1000, 2, 20_000, (5,)), b"", 0.0)
        self.assertEqual(server.answers(0.0), [])
