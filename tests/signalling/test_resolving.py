"""Tests for :mod:`wavesync.signalling.resolving`."""

from collections.abc import Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wavesync.signalling.resolving import _Collector, resolve


@implementer(IHostnameResolver)
class FakeResolver:
    """Knows one name."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Answer at once."""
        if hostName == "mediator.example":
            resolutionReceiver.addressResolved(IPv6Address("TCP", "2001:db8::1", 0))
            resolutionReceiver.addressResolved(IPv4Address("TCP", "192.0.2.1", 0))
            resolutionReceiver.addressResolved(IPv4Address("TCP", "192.0.2.1", 0))
        resolutionReceiver.resolutionComplete()
        return None  # type: ignore[return-value]


class FakeReactor:
    """A reactor with that resolver."""

    nameResolver = FakeResolver()


class ResolveTests(SynchronousTestCase):
    """Mediators are named by people and reached by address."""

    def test_name(self) -> None:
        """A name gives its addresses, each once, in the resolver's order."""
        found = self.successResultOf(resolve(FakeReactor(), "mediator.example"))  # type: ignore[arg-type]
        self.assertEqual(found, ["2001:db8::1", "192.0.2.1"])

    def test_unknown(self) -> None:
        """An unknown name gives none."""
        self.assertEqual(self.successResultOf(resolve(FakeReactor(), "x.example")), [])  # type: ignore[arg-type]

    def test_numeric(self) -> None:
        """A numeric address needs no resolver."""
        for host in ("192.0.2.1", "::1"):
            self.assertEqual(self.successResultOf(resolve(None, host)), [host])  # type: ignore[arg-type]

    def test_interface(self) -> None:
        """The collector is what Twisted's resolvers want."""
        verifyObject(IResolutionReceiver, _Collector())
