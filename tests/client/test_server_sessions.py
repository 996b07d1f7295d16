"""Tests for :mod:`wavesync.client.server_sessions`, on a network in memory."""

from typing import cast

from twisted.internet.interfaces import ITCPTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.client.relay_world import relayed_world
from tests.client.world import Talker
from wavesync.client.server_sessions import PART_WITHIN

DELAY = 0.01
"""Seconds from client to relay, and from there to the server."""

ROUND_TRIP = 4 * DELAY


class PartedTests(SynchronousTestCase):
    """A client that is through leaves nothing half said behind."""

    def setUp(self) -> None:
        """A client that speaks with a server through a relay."""
        self.world, self.relay = relayed_world(delay=DELAY, paths=["relay"])
        self.talker = self.open()

    def open(self) -> Talker:
        """Open the service once more."""
        talker, opening = self.world.open()
        self.world.run(1.0)
        self.successResultOf(opening)
        return talker

    def seconds(self) -> float:
        """Close the connector, and tell how long that took."""
        began = self.world.reactor.seconds()
        closed = self.world.connector.close()
        while not closed.called:
            self.world.run(0.005)
            self.assertLess(self.world.reactor.seconds(), began + 10)
        return self.world.reactor.seconds() - began

    def lose(self, talker: Talker) -> None:
        """The client has heard enough."""
        cast(ITCPTransport, talker.transport).loseConnection()

    def test_parting(self) -> None:
        """END is acknowledged, then both say goodbye: two round trips."""
        self.lose(self.talker)
        self.assertApproximates(self.seconds(), 2 * ROUND_TRIP, 0.02)
        self.world.run(0.0)

    def test_gone(self) -> None:
        """What is closed already holds nobody up."""
        self.lose(self.talker)
        self.world.run(2 * ROUND_TRIP + 0.02)
        self.assertLess(self.seconds(), 0.01)

    def test_still_used(self) -> None:
        """A connection that somebody still uses is not waited for: it is not ended by that."""
        self.assertLess(self.seconds(), 0.01)
        self.assertFalse(self.talker.lost)
        self.lose(self.talker)
        self.world.run(1.0)

    def test_no_answer(self) -> None:
        """A server that does not say goodbye is not waited for longer than it is worth."""
        other = self.open()
        for talker in (self.talker, other):
            self.lose(talker)
        for end, _ in self.relay.ends:
            end.broken = True
        self.assertApproximates(self.seconds(), PART_WITHIN, 0.01)
        self.relay.crash()
        self.assertLess(self.seconds(), 0.01)
