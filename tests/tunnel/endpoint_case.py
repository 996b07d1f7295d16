"""An endpoint to a destination with all ways, each of which does as a test says."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.test_ladder import WAYS, direct
from tests.tunnel.ways_world import Behaviour, Speaker, WaysWorld
from wavesync.tunnel.endpoint import (
    AnyWayEndpoint,
)
from wavesync.tunnel.errors import TunnelError, Why

__all__ = ["DEAF", "GOOD", "REFUSED", "SILENT", "STRANGE", "EndpointCase"]

REFUSED = Behaviour(None, 0.02, TunnelError("refused", Why.UNREACHABLE))
STRANGE = Behaviour(0.02, 0.04, TunnelError("an HTML page came", Why.PAGE))
SILENT = Behaviour(0.02, None)
DEAF = Behaviour(None, None)
GOOD = Behaviour(0.05, 0.1)


class EndpointCase(SynchronousTestCase):
    """An endpoint to a destination with all ways."""

    def setUp(self) -> None:
        self.world = WaysWorld(WAYS, Path(self.mktemp()))
        self.endpoint = self.world.endpoint()

    def depth(self, method: str) -> float:
        """How far a method has sunk."""
        way = direct(method)
        return self.endpoint.ladder().depth(way, self.world.clock.seconds()) - way.cost

    def connected(self, endpoint: AnyWayEndpoint | None = None) -> Speaker:
        """Connect, and come through."""
        connecting, speaker = self.world.connect(endpoint or self.endpoint)
        self.world.run(2.0)
        self.assertIs(self.successResultOf(connecting), speaker)
        return speaker
