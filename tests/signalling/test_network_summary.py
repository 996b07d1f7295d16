"""Tests of :mod:`wavesync.signalling.network_summary`."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import prover, server
from wavesync.signalling.messages import Bind
from wavesync.signalling.network_summary import MAX_SUMMARY, ROUTERS, NetworkSummary
from wavesync.stun.behaviour_words import Dependence
from wavesync.stun.message import decode

_FLAG = st.none() | st.booleans()
_DEPENDENCE = st.none() | st.sampled_from(Dependence)
SUMMARIES = st.builds(
    NetworkSummary,
    _DEPENDENCE,
    _DEPENDENCE,
    st.integers(0, 65535),
    st.sampled_from(ROUTERS),
    *[_FLAG] * 7,
)
TRANSACTION = bytes(range(12))
SYMMETRIC = NetworkSummary(
    Dependence.ADDRESS_AND_PORT_DEPENDENT,
    Dependence.ENDPOINT_INDEPENDENT,
    120,
    "UPnP",
    translated=True,
    udp=True,
    ipv6=False,
    lan=True,
)


class SummaryTests(SynchronousTestCase):
    """Whoever cannot reach a server still learns what its network is like."""

    @given(SUMMARIES)
    def test_round_trip(self, summary: NetworkSummary) -> None:
        """Everything that is told arrives, "not known" as well."""
        self.assertEqual(NetworkSummary.decode(summary.encode()), summary)

    @given(st.binary(max_size=MAX_SUMMARY + 1))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes, nothing is raised; what is too long is not read."""
        summary = NetworkSummary.decode(data)
        if len(data) > MAX_SUMMARY or len(data) < 10:
            self.assertIsNone(summary)

    def test_later_versions(self) -> None:
        """What a later version adds is passed over, and what it knows better is not known."""
        later = b"\x02\x09" + SYMMETRIC.encode()[2:] + b"more"
        summary = NetworkSummary.decode(later)
        assert summary is not None
        self.assertIsNone(summary.mapping)
        self.assertEqual(summary.router, "UPnP")
        self.assertIsNone(NetworkSummary.decode(b"\x00" + SYMMETRIC.encode()[1:]))

    def test_longest_lifetime(self) -> None:
        """A mapping that lives for days counts as one of the longest that can be told."""
        summary = NetworkSummary.decode(NetworkSummary(lifetime=10**6).encode())
        assert summary is not None
        self.assertEqual(summary.lifetime, 65535)

    def test_signed(self) -> None:
        """The summary is part of what the server signs; an older server tells none."""
        raw = Bind(1, (), (), (), SYMMETRIC).encode(TRANSACTION, prover(server()))
        self.assertEqual(Bind.decode(decode(raw)).network, SYMMETRIC)
        raw = Bind(1, (), ()).encode(TRANSACTION, prover(server()))
        self.assertIsNone(Bind.decode(decode(raw)).network)

    def test_words(self) -> None:
        """Reports show what is known and leave out the rest."""
        words = SYMMETRIC.words()
        self.assertEqual(words["mapping"], "Address and Port-Dependent")
        self.assertIs(words["ipv6"], False)
        self.assertNotIn("proxy", words)
        self.assertFalse(NetworkSummary().known)

    def test_document(self) -> None:
        """The example in docs/mediator.rst is what is sent."""
        text = (Path(__file__).parents[2] / "docs" / "mediator.rst").read_text(encoding="utf-8")
        found = re.search(r"NETWORK\*\*.*?::\n\n    ([0-9a-f ]+)\n", text, re.DOTALL)
        assert found is not None
        self.assertEqual(bytes.fromhex(found[1]), SYMMETRIC.encode())
