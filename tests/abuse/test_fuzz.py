"""The fuzz targets find nothing in what is installed, and do find bugs planted in it."""

import itertools

from twisted.trial.unittest import SynchronousTestCase

from tests.abuse.fuzz_identity import IDENTITY_TARGETS
from tests.abuse.fuzz_lan import LAN_TARGETS
from tests.abuse.fuzz_legs import LEG_TARGETS
from tests.abuse.fuzz_messages import MESSAGE_TARGETS
from tests.abuse.fuzz_polls import POLL_TARGETS
from tests.abuse.fuzz_relay import RELAY_TARGETS
from tests.abuse.fuzz_relay_peers import RELAY_PEER_TARGETS
from tests.abuse.fuzz_streams import STREAM_TARGETS
from tests.abuse.fuzz_tunnel import TUNNEL_TARGETS
from tests.abuse.fuzzing import Target, fuzz, mutants, planted

TARGETS = (
    *IDENTITY_TARGETS,
    *MESSAGE_TARGETS,
    *LEG_TARGETS,
    *LAN_TARGETS,
    *POLL_TARGETS,
    *RELAY_TARGETS,
    *RELAY_PEER_TARGETS,
    *STREAM_TARGETS,
    *TUNNEL_TARGETS,
)


class FuzzTests(SynchronousTestCase):
    """Everything that reads a peer's bytes, or a file."""

    def check(self, target: Target) -> None:
        """A fixed number of inputs finds nothing, and each planted bug is found by them."""
        report = fuzz(target, target.count)
        self.assertEqual(report.findings, [], target.name)
        self.assertEqual(report.count, target.count)
        self.assertGreater(report.accepted, 0, target.name)
        for reason in target.reasons:
            first = report.reached(reason)
            assert first is not None, (target.name, reason)
            found = fuzz(target, first + 1, read=planted(target, reason))
            self.assertEqual(len(found.findings), 1, (target.name, reason))
        if target.careless is not None:
            found = fuzz(target, target.count, read=target.careless)
            self.assertNotEqual(found.findings, [], target.name)
        self.assertTrue(target.reasons or target.careless is not None, target.name)

    def test_identity(self) -> None:
        """Proofs, certificates and revocation lists."""
        for target in IDENTITY_TARGETS:
            self.check(target)

    def test_relay(self) -> None:
        """What is said to a relay, and by it."""
        for target in RELAY_TARGETS:
            self.check(target)

    def test_relay_peers(self) -> None:
        """Connections to a relay, from both ends, and what is known of relays."""
        for target in RELAY_PEER_TARGETS:
            self.check(target)

    def test_messages(self) -> None:
        """Messages over STUN, and who answers them."""
        for target in MESSAGE_TARGETS:
            self.check(target)

    def test_legs(self) -> None:
        """Connections between mediators and others, and who agrees on a connection over them."""
        for target in LEG_TARGETS:
            self.check(target)

    def test_lan(self) -> None:
        """Who searches on his own network, and who answers."""
        for target in LAN_TARGETS:
            self.check(target)

    def test_streams(self) -> None:
        """UDT, sessions, settings, credentials and names."""
        for target in STREAM_TARGETS:
            self.check(target)

    def test_tunnels(self) -> None:
        """What is said through HTTP, by clients, servers, and whatever is in between."""
        for target in TUNNEL_TARGETS:
            self.check(target)

    def test_polls(self) -> None:
        """Short polls: requests and answers that something changed, and ends that lie."""
        for target in POLL_TARGETS:
            self.check(target)

    def test_repeatable(self) -> None:
        """The same inputs come every time, and a larger count begins with the smaller one's."""
        for target in TARGETS:
            first = list(mutants(target, 20))
            self.assertEqual(first, list(itertools.islice(mutants(target, 50), 20)), target.name)
            self.assertNotEqual(first, list(mutants(target, 20, seed=1)), target.name)
        self.assertEqual(len({target.name for target in TARGETS}), len(TARGETS))
