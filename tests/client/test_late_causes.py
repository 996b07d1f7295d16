"""What a client says that had no time to wait for the end of all attempts."""

from twisted.trial.unittest import SynchronousTestCase

from tests.client.support import OWN
from tests.client.world import MemoryReactor
from tests.signalling.provers import NOW, client, server
from tests.tunnel.endpoint_case import SILENT, STRANGE
from tests.tunnel.ways_world import WaysWorld
from wavesync.client.introducer import INTRODUCTION_TIMEOUT, Introducer
from wavesync.errors import ConnectFailed
from wavesync.signalling.urls import Mediator, parse_mediators
from wavesync.tunnel.endpoint import AnyWayEndpoint
from wavesync.tunnel.way import ways_of

ONE = "192.0.2.1"


class _Outward:
    """The way out, to one mediator only."""

    limit, proxied = INTRODUCTION_TIMEOUT, False

    def __init__(self, endpoint: AnyWayEndpoint) -> None:
        self._endpoint = endpoint

    def mediator(self, mediator: Mediator) -> AnyWayEndpoint:
        """Give the endpoint."""
        return self._endpoint


class LateCauseTests(SynchronousTestCase):
    """Three seconds are all that a client has; what it found out until then is told."""

    def test_captive_portal(self) -> None:
        """Where a captive portal lets nothing pass, the sentence says so, though all else is silent."""
        mediators = parse_mediators([f"tcp://{ONE}", f"http://{ONE}"])
        world = WaysWorld(ways_of(mediators[0].raw, mediators[0].tunnels, lambda url: None))
        world.behave(upgrade=STRANGE, websocket=SILENT)
        reactor = MemoryReactor()
        introducer = Introducer(
            reactor,  # type: ignore[arg-type]
            client(),
            mediators,
            send_udp=None,
            own_addresses=lambda: [OWN],
            wall_clock=lambda: NOW + reactor.seconds(),
            outward=_Outward(world.endpoint()),  # type: ignore[arg-type]
        )
        introducing = introducer.introduce(server().target)
        world.run(1.0)
        reactor.advance(INTRODUCTION_TIMEOUT + 0.1)
        told = self.failureResultOf(introducing.result, ConnectFailed).getErrorMessage()
        self.assertEqual(told, f"the mediator {ONE}:3345 does not answer: an HTML page came")
