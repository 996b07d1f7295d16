"""Tests of :mod:`wavesync.tunnel.poll_core` and :mod:`wavesync.tunnel.poll_held` against each other."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.poll_world import PollWorld

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
