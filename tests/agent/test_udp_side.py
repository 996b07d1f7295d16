"""Tests for :mod:`wavesync.agent.udp_side`."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from wavesync.agent.enrolment import Granted
from wavesync.agent.udp_side import UdpSide
from wavesync.interfaces import Address
from wavesync.signalling.urls import Mediator

MEDIATOR = Mediator("mediator.example", 3345, 3345)


class Warm:
    """Notes what is kept warm (:class:`wavesync.agent.warm.WarmMapping`)."""

    def __init__(self) -> None:
        self.towards: list[Address] = []

    def begin(self, mediator: Address, registration: int, key: bytes) -> None:
        """The first address."""
        self.towards.append(mediator)

    def also(self, mediator: Address) -> None:
        """Another one."""
        self.towards.append(mediator)

    def end(self) -> None:
        """None."""
        self.towards.clear()


class Leg:
    """A leg to a mediator at *host*, or to a proxy."""

    def __init__(self, host: str | None) -> None:
        self.mediator_host = host


class UdpSideTests(SynchronousTestCase):
    """Where the UDP mapping of a registration goes to."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.warm = Warm()
        self.asked: list[Deferred[Sequence[str]]] = []
        self.granted = Granted(5, bytes(32), 15.0, 0.0, 0, ())

    def locate(self, host: str) -> Deferred[Sequence[str]]:
        """Find a mediator's addresses, later."""
        self.assertEqual(host, MEDIATOR.host)
        self.asked.append(Deferred())
        return self.asked[-1]

    def begin(
        self, host: str | None, *, both: bool = False, mediator: Mediator = MEDIATOR
    ) -> UdpSide:
        """Register over a leg."""
        side = UdpSide(
            mediator,
            self.warm,  # type: ignore[arg-type]
            self.locate if both else None,
            self.locate,
        )
        side.begin(Leg(host), self.granted)  # type: ignore[arg-type]
        return side

    def test_straight(self) -> None:
        """Where the leg leads to the mediator itself, UDP goes there, too."""
        self.begin("192.0.2.1")
        self.assertEqual((self.warm.towards, self.asked), ([("192.0.2.1", 3345)], []))

    def test_both_families(self) -> None:
        """The port is shown to the mediator in the other family as well."""
        self.begin("192.0.2.1", both=True)
        self.asked.pop().callback(["192.0.2.1", "2001:db8::1", "2001:db8::2"])
        self.assertEqual(self.warm.towards, [("192.0.2.1", 3345), ("2001:db8::1", 3345)])

    def test_proxy(self) -> None:
        """Where a proxy leads there, the mediator is found by its name."""
        self.begin(None)
        self.assertEqual(self.warm.towards, [])
        self.asked.pop().callback(["2001:db8::1", "192.0.2.1"])
        self.assertEqual(self.warm.towards, [("192.0.2.1", 3345)])

    def test_no_names(self) -> None:
        """A host behind a proxy may know no names: it goes without UDP."""
        self.begin(None)
        self.asked.pop().callback([])
        self.assertEqual(self.warm.towards, [])

    def test_too_late(self) -> None:
        """What is found when the registration is over changes nothing."""
        self.begin(None).end()
        self.asked.pop().callback(["192.0.2.1"])
        self.assertEqual(self.warm.towards, [])

    def test_no_udp(self) -> None:
        """A mediator that is named for HTTP only is asked nothing over UDP."""
        self.begin("192.0.2.1", mediator=Mediator("mediator.example", None, None, 80))
        self.assertEqual((self.warm.towards, self.asked), ([], []))
