"""What the tests of every method share."""

from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import Recorder
from tests.tunnel.world import World

PIECE = bytes(range(256)) * 40


__all__ = ["PIECE", "MethodCase"]


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
