"""Tests for wavesync.doctor.routers."""

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.findings import RouterFound
from wavesync.doctor.limits import LIMIT
from wavesync.doctor.routers import look_at_routers
from wavesync.interfaces import IReactor
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.words import Lease, PortMapError, Reason, Wanted

GATEWAY = Gateway("eth0", "192.168.1.1", "192.168.1.5", "192.168.1.0/24")
SILENT = PortMapError(Reason.NO_ANSWER, "it does not answer")
REFUSED = PortMapError(Reason.REFUSED, "it is not authorized")


class FakeMethod:
    """A protocol that does as told: an address, an error, or nothing at all (None)."""

    def __init__(
        self,
        name: str,
        discovered: PortMapError | str | None,
        mapped: PortMapError | str | None = None,
    ) -> None:
        self.name = name
        self.discovered = discovered
        self.mapped = mapped
        self.asked: list[Wanted] = []
        self.given_back: list[Lease] = []
        self.closed = False

    def discover(self) -> Deferred[None]:
        """Be found, or not."""
        if self.discovered is None:
            return Deferred()
        return succeed(None) if isinstance(self.discovered, str) else fail(self.discovered)

    def map(self, wanted: Wanted, external: int) -> Deferred[Lease]:
        """Map, or not."""
        self.asked.append(wanted)
        if self.mapped is None:
            return Deferred()
        if isinstance(self.mapped, PortMapError):
            return fail(self.mapped)
        return succeed(Lease(wanted, (self.mapped, external), 3600.0))

    def holds(self, leases: tuple[Lease, ...]) -> Deferred[bool]:
        """Nobody asks."""
        raise AssertionError

    def unmap(self, lease: Lease) -> Deferred[None]:
        """Take it back."""
        self.given_back.append(lease)
        return succeed(None)

    def close(self) -> None:
        """It is over."""
        self.closed = True


class RouterTests(SynchronousTestCase):
    """What a router is found to do."""

    def look(self, *methods: FakeMethod) -> RouterFound:
        """Ask a router that is spoken to so, for as long as it takes."""
        clock = Clock()

        def make(reactor: object, gateway: Gateway) -> Sequence[Any]:
            return methods

        looking = Deferred.fromCoroutine(
            look_at_routers(cast(IReactor, clock), gateways=lambda: [GATEWAY], methods=make)
        )
        clock.pump([0.1] * int(LIMIT * 10))
        (found,) = self.successResultOf(looking)
        self.assertTrue(all(each.closed for each in methods))
        self.assertEqual(clock.getDelayedCalls(), [])
        return found

    def test_maps(self) -> None:
        """A port is mapped by the best protocol that it speaks, and given back."""
        best, other = FakeMethod("PCP", "", "44.1.0.2"), FakeMethod("UPnP", "", "44.1.0.2")
        found = self.look(best, FakeMethod("NAT-PMP", SILENT), other)
        self.assertEqual(
            (found.speaks, found.maps, found.external, found.another_nat),
            (("PCP", "UPnP"), True, "44.1.0.2", False),
        )
        self.assertEqual([each.wanted for each in best.given_back], best.asked)
        self.assertEqual((len(best.asked), other.asked), (1, []))

    def test_double_nat(self) -> None:
        """A private address outside means one more router."""
        self.assertIs(self.look(FakeMethod("UPnP", "", "100.64.0.9")).another_nat, True)

    def test_refused(self) -> None:
        """What speaks and refuses is told, with its reason."""
        for method in (FakeMethod("PCP", "", REFUSED), FakeMethod("PCP", REFUSED, REFUSED)):
            found = self.look(method)
            self.assertEqual(
                (found.speaks, found.maps, found.why), (("PCP",), False, "it is not authorized")
            )

    def test_silent(self) -> None:
        """A router that speaks nothing is not blamed for not mapping."""
        found = self.look(FakeMethod("PCP", SILENT), FakeMethod("UPnP", None))
        self.assertEqual((found.speaks, found.maps, found.router), ((), None, "192.168.1.1"))

    def test_too_slow(self) -> None:
        """A router that begins to speak and says no more does not hold anything up."""
        found = self.look(FakeMethod("UPnP", "", None))
        self.assertEqual((found.speaks, found.maps), (("UPnP",), False))
        self.assertIn("in time", found.why)
