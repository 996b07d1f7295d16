"""Behaviour discovery between wavesync and coturn, both ways, behind real NATs."""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.behaviour import Asked, claims, discover_both_ways
from tests.lab.case import LabCase
from tests.lab.discovery import Behaviour
from tests.lab.kinds import KINDS
from tests.lab.sites import SiteSettings

_KINDS = ("none", "full", "restricted", "port", "linux", "symmetric")
_TURNING = ("port", "symmetric")


@functools.cache
def _all_asked() -> dict[str, Asked]:
    """Discover every kind at once, because each waits seconds for answers that do not come."""
    sites = {name: SiteSettings(name) for name in _KINDS}
    sites |= {f"{name}, hairpin": SiteSettings(name, hairpin=True) for name in _TURNING}
    return dict(zip(sites, discover_both_ways(list(sites.values())), strict=True))


class BehaviourTests(LabCase):
    """Our client with coturn's server and with ours, coturn's client with our mediator."""

    def _check(self, name: str) -> None:
        self.assertEqual(_all_asked()[name].differences(KINDS[name]), [])

    def test_none(self) -> None:
        """Public addresses that anybody reaches."""
        self._check("none")

    def test_full(self) -> None:
        """A full cone."""
        self._check("full")

    def test_restricted(self) -> None:
        """A NAT that filters by address."""
        self._check("restricted")

    def test_port(self) -> None:
        """A NAT that filters by address and port."""
        self._check("port")

    def test_linux(self) -> None:
        """A Linux router, which keeps the port."""
        self._check("linux")

    def test_symmetric(self) -> None:
        """A NAT with another port for each remote."""
        self._check("symmetric")

    def test_hairpin(self) -> None:
        """Routers that turn packets to their outside address around, by both clients' word; one that
        does not never passes for one that does."""
        for name in _TURNING:
            turning, plain = _all_asked()[f"{name}, hairpin"], _all_asked()[name]
            self.assertEqual(turning.differences(KINDS[name], hairpin=True), [])
            self.assertEqual(len(turning.differences(KINDS[name])), 3)
            self.assertEqual(len(plain.differences(KINDS[name], hairpin=True)), 3)

    def test_no_kind_passes_for_another(self) -> None:
        """What was seen of one kind does not satisfy the claims of another one."""
        for name in _KINDS:
            for claimed in _KINDS:
                kind = KINDS[claimed]
                if claims(kind) == claims(KINDS[name]):
                    continue
                found = "\n".join(_all_asked()[name].differences(kind))
                for who in (
                    "our client, coturn's server",
                    "our client, our mediator",
                    "coturn's client, our mediator",
                ):
                    self.assertIn(who, found, f"{name} passes for {claimed}")


class ComparisonTests(SynchronousTestCase):
    """Comparing without a laboratory."""

    def test_nothing_came(self) -> None:
        """A client that printed nothing has not confirmed anything, but that there is no UDP."""
        silent = Asked(({}, {}), Behaviour(None, None, None, ()), None, "192.0.2.1", "10.0.0.2")
        self.assertEqual(len(silent.differences(KINDS["port"])), 14)
        self.assertEqual(silent.differences(KINDS["no-udp"]), [])
