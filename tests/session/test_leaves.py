"""Tests of :mod:`wavesync.session.tls`: certificates that are shown again."""

from twisted.trial.unittest import SynchronousTestCase

from tests.session.support import NOW, System, wall_clock
from tests.session.test_tls import Handshake, both
from wavesync.session.tls import MAX_LEAVES, client_context, server_context, verdict_of


class LeafTests(SynchronousTestCase):
    """A certificate is read once; whether it is good is judged each time."""

    def setUp(self) -> None:
        """Make a system."""
        self.system = System()
        self.client, self.server = self.system.client(), self.system.server()

    def test_read_once(self) -> None:
        """The second handshake believes the same certificate without reading it again."""
        ours, theirs = both(self.client, self.server, self.server.target)
        for _ in range(2):
            done = Handshake(ours, theirs)
            self.assertEqual(verdict_of(done.client).peer, self.server.peer)
            self.assertEqual(verdict_of(done.server).peer, self.client.peer)
            self.assertEqual((len(ours.leaves), len(theirs.leaves)), (1, 1))

    def test_expires(self) -> None:
        """What was good yesterday may have expired today."""
        now = NOW
        client = client_context(self.client, self.server.target, wall_clock=lambda: now)
        server = server_context(self.server, wall_clock=wall_clock)
        self.assertEqual(verdict_of(Handshake(client, server).client).peer, self.server.peer)
        now = NOW + 366 * 86400
        self.assertEqual(verdict_of(Handshake(client, server).client).reason, "expired")

    def test_revoked(self) -> None:
        """What was good a moment ago may have been revoked."""
        revoked: set[int] = set()
        client = client_context(self.client, self.server.target, wall_clock=wall_clock)
        server = server_context(
            self.server, wall_clock=wall_clock, revoked=lambda serial: serial in revoked
        )
        self.assertEqual(verdict_of(Handshake(client, server).server).peer, self.client.peer)
        revoked.add(self.client.certificate.serial_number)
        self.assertEqual(verdict_of(Handshake(client, server).server).reason, "revoked")

    def test_strangers_are_not_remembered(self) -> None:
        """Certificates that are no good take no place."""
        stranger = System(seed=2).client()
        ours, theirs = both(stranger, self.server, self.server.target)
        Handshake(ours, theirs)
        self.assertEqual(theirs.leaves, {})

    def test_limit(self) -> None:
        """So many are remembered and not one more: the one that was shown the longest ago goes."""
        ours, theirs = both(self.client, self.server, self.server.target)
        Handshake(ours, theirs)
        ((der, leaf),) = theirs.leaves.items()
        theirs.leaves.clear()
        for number in range(MAX_LEAVES - 1):
            theirs.leaves[number.to_bytes(4, "big")] = leaf
        Handshake(ours, theirs)
        self.assertEqual(len(theirs.leaves), MAX_LEAVES)
        self.assertEqual(next(iter(theirs.leaves)), bytes(4))
        del theirs.leaves[der]
        theirs.leaves[b"one more"] = leaf
        Handshake(ours, theirs)
        self.assertEqual(len(theirs.leaves), MAX_LEAVES)
        self.assertNotIn(bytes(4), theirs.leaves)
        self.assertIn(der, theirs.leaves)
