"""Tests for :mod:`wavesync.portmap.pcp_method`, ``natpmp_method`` and ``upnp_method``."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.portmap.routers import EXTERNAL, GATEWAY, GATEWAY6, Router
from wavesync.interfaces import Address
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.sockets import Datagrams, Received
from wavesync.portmap.upnp_method import MAX_TRIES, SEARCH_TIME
from wavesync.portmap.words import (
    LONGEST,
    SHORTEST,
    TCP,
    UDP,
    Lease,
    Method,
    PortMapError,
    Reason,
    Wanted,
)

_TCP, _UDP = Wanted(TCP, 5000), Wanted(UDP, 6000)


class MethodCase(SynchronousTestCase):
    """A router in memory, which speaks everything."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.router = Router(self.clock, "PCP", "NAT-PMP", "UPnP")

    def mapped(self, method: Method, wanted: Wanted = _TCP, external: int = 0) -> Lease:
        """Map a port."""
        return self.successResultOf(method.map(wanted, external or wanted.port))

    def error(self, method: Method, wanted: Wanted = _TCP) -> PortMapError:
        """Try in vain to map a port."""
        asked = method.map(wanted, wanted.port)
        self.clock.pump([0.25] * 20)
        error = self.failureResultOf(asked, PortMapError).value
        assert isinstance(error, PortMapError)
        return error


class EveryMethodTests(MethodCase):
    """What all three protocols have in common."""

    def test_life(self) -> None:
        """Found, mapped, renewed, looked at, forgotten by a reboot, made again, removed."""
        for method in self.router.methods():
            self.successResultOf(method.discover())
            for wanted, number in ((_TCP, 6), (_UDP, 17)):
                lease = self.mapped(method, wanted)
                self.assertEqual(lease.external, (EXTERNAL, wanted.port), method.name)
                self.assertEqual(
                    self.router.mappings[number, wanted.port], (GATEWAY.own, wanted.port)
                )
                self.assertEqual(self.mapped(method, wanted), lease)
            self.clock.advance(60)
            self.assertTrue(self.successResultOf(method.holds((lease,))), method.name)
            self.router.reboot()
            self.clock.advance(5)
            self.assertFalse(self.successResultOf(method.holds((lease,))), method.name)
            again = self.mapped(method, _UDP), self.mapped(method, _TCP)
            self.clock.advance(60)
            self.assertTrue(self.successResultOf(method.holds(again)), method.name)
            for each in again:
                self.successResultOf(method.unmap(each))
            self.assertEqual(self.router.mappings, {}, method.name)
            method.close()
            self.assertEqual((self.router.open, self.clock.getDelayedCalls()), (0, []))

    def test_taken(self) -> None:
        """Where somebody else has the port outside, another one is given."""
        for method in self.router.methods():
            self.router.taken = {5000}
            self.successResultOf(method.discover())
            lease = self.mapped(method)
            self.assertNotEqual(lease.external[1], 5000)
            self.assertIn((6, lease.external[1]), self.router.mappings)
            self.successResultOf(method.unmap(lease))

    def test_external_addresses(self) -> None:
        """A private address is told as it is; one that nobody can have is nonsense."""
        for external, reason in (
            ("100.64.0.2", ""),
            ("127.0.0.1", Reason.MALFORMED),
            ("224.0.0.1", Reason.MALFORMED),
            ("169.254.3.4", Reason.MALFORMED),
            ("255.255.255.255", Reason.MALFORMED),
            ("0.0.0.0", Reason.NO_ADDRESS),
        ):
            for method in self.router.methods():
                self.router.external = EXTERNAL
                self.successResultOf(method.discover())
                self.router.external = external
                if reason:
                    self.assertEqual(self.error(method).reason, reason, (external, method.name))
                else:
                    self.assertEqual(self.mapped(method).external[0], external)

    def test_silent(self) -> None:
        """A router that speaks none of them: each says so, in bounded time."""
        self.router.speaks.clear()
        for method in self.router.methods():
            asked = method.discover()
            self.clock.pump([0.25] * 20)
            error = self.failureResultOf(asked, PortMapError).value
            self.assertEqual(error.reason, Reason.NO_ANSWER, method.name)
        self.assertEqual((self.router.open, self.clock.getDelayedCalls()), (0, []))

    def test_refused(self) -> None:
        """A router that does not want to: the sentence says so."""
        for method, code in zip(self.router.methods(), (2, 2, 606), strict=True):
            self.router.refuses = 0
            self.successResultOf(method.discover())
            self.router.refuses = code
            error = self.error(method)
            self.assertEqual(error.reason, Reason.REFUSED)
            self.assertIn("not allowed", str(error))

    def test_garbage(self) -> None:
        """Garbage from a router is one error, or as good as silence; nothing is left behind."""
        for spoil in (
            lambda data: b"",
            lambda data: data[: len(data) // 2],
            lambda data: data[:1] + b"\xff" * 40,
            lambda data: b"\0" * 2000,
        ):
            for method in self.router.methods():
                self.router.spoil = bytes
                self.successResultOf(method.discover())
                self.router.spoil = spoil
                self.error(method)
                self.assertEqual((self.router.open, self.clock.getDelayedCalls()), (0, []))

    def test_lifetimes(self) -> None:
        """A lifetime of no time, or of years, is not taken at its word."""
        for method in self.router.methods()[:2]:
            for told, taken in ((1, SHORTEST), (1 << 31, LONGEST), (500, 500.0)):
                self.router.lifetime = told
                self.assertEqual(self.mapped(method).lifetime, taken)
            self.router.lifetime = 0
            self.assertEqual(self.error(method).reason, Reason.MALFORMED)


class PCPTests(MethodCase):
    """PCP alone."""

    def test_pinhole(self) -> None:
        """For IPv6 the very own address and port is opened; anything else is not believed."""
        router = self.router
        router.own = router.external = GATEWAY6.own
        pcp = router.pcp()
        self.assertEqual(self.mapped(pcp).external, (GATEWAY6.own, 5000))
        router.external = "2600::6"
        self.assertEqual(self.error(pcp).reason, Reason.MALFORMED)
        router.external = EXTERNAL
        self.assertEqual(self.error(pcp).reason, Reason.MALFORMED)

    def test_no_ipv6_for_ipv4(self) -> None:
        """For IPv4 an IPv6 address is no answer."""
        self.router.external = "2600::6"
        self.assertEqual(self.error(self.router.pcp()).reason, Reason.MALFORMED)

    def test_other_nonce(self) -> None:
        """An answer to somebody else's request is not taken for ours."""
        self.router.spoil = lambda data: data.replace(b"n" * 12, b"m" * 12)
        self.assertEqual(self.error(self.router.pcp()).reason, Reason.NO_ANSWER)

    def test_nat_between(self) -> None:
        """A router that sees another address says that there is one more router in between."""
        pcp = self.router.pcp()
        self.router.refuses = 12
        self.assertEqual(self.error(pcp).reason, Reason.ANOTHER_NAT)

    def test_only_natpmp(self) -> None:
        """A router that answers in the older version is found out at once, without any wait."""
        self.router.spoil = lambda data: bytes((0, 128, 0, 1)) + bytes(4)
        self.failureResultOf(self.router.pcp().discover(), PortMapError)

    def test_nobody(self) -> None:
        """A router where nobody listens is found out at once."""
        self.router.refused_link = True
        for method in self.router.methods()[:2]:
            self.failureResultOf(method.discover(), PortMapError)


class UPnPTests(MethodCase):
    """UPnP alone."""

    def test_search(self) -> None:
        """It is searched by multicast and at the router itself; the router's answer ends it."""
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        asked = {each for each in self.router.requests if each.startswith("search")}
        self.assertEqual(
            asked, {"search ('239.255.255.250', 1900)", "search ('192.168.1.1', 1900)"}
        )

    def test_other_device(self) -> None:
        """A device beside the router is used where the router itself says nothing; strangers never."""
        for host, near in (("192.168.1.254", True), ("192.168.2.1", False)):

            def open_search(received: Received, host: str = host) -> Datagrams:
                def elsewhere(data: bytes, source: Address) -> None:
                    received(data.replace(GATEWAY.router.encode(), host.encode()), (host, 1900))

                return self.router.open_search(elsewhere)

            upnp = self.router.upnp(open_search=open_search)
            asked = upnp.discover()
            self.clock.advance(SEARCH_TIME)
            if near:
                self.successResultOf(asked)
            else:
                self.failureResultOf(asked, PortMapError)

    def test_unknown_router(self) -> None:
        """Where the router's address is not known, it is searched by multicast alone."""
        upnp = self.router.upnp(Gateway("en0", "", GATEWAY.own, GATEWAY.network))
        asked = upnp.discover()
        self.clock.advance(SEARCH_TIME)
        self.successResultOf(asked)
        self.assertEqual(
            {each for each in self.router.requests if each.startswith("search")},
            {"search ('239.255.255.250', 1900)"},
        )

    def test_permanent(self) -> None:
        """A router that knows no leases gets a mapping without an end, and looks at it as often."""
        self.router.permanent = True
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        self.assertEqual(self.mapped(upnp).external, (EXTERNAL, 5000))
        before = self.router.requests.count("upnp AddPortMapping")
        self.mapped(upnp)
        self.assertEqual(self.router.requests.count("upnp AddPortMapping"), before + 1)

    def test_not_overwritten(self) -> None:
        """What leads to another host, or to another port of this one, is left alone."""
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        for there in (("192.168.1.9", 5000), (GATEWAY.own, 80)):
            self.router.mappings = {(6, 5000): there}
            lease = self.mapped(upnp)
            self.assertEqual(self.router.mappings[6, 5000], there)
            self.assertNotEqual(lease.external[1], 5000)
            self.successResultOf(upnp.unmap(Lease(_TCP, (EXTERNAL, 5000), 60.0)))
            self.assertEqual(self.router.mappings[6, 5000], there)

    def test_all_taken(self) -> None:
        """It gives up after four ports."""
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        self.router.taken = set(range(65536))
        self.assertIn("taken", str(self.error(upnp)))
        self.assertEqual(self.router.requests.count("upnp AddPortMapping"), MAX_TRIES)

    def test_liar(self) -> None:
        """A router that says yes and maps nothing is found out."""
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        self.router.spoil = lambda data: data.replace(b">5000<", b">5001<")
        self.assertEqual(self.error(upnp).reason, Reason.MALFORMED)

    def test_web_server_moved(self) -> None:
        """A router that was started anew, with its web server elsewhere, is found again."""
        upnp = self.router.upnp()
        self.successResultOf(upnp.discover())
        lease = self.mapped(upnp)
        self.router.web_port = 5001
        self.router.reboot()
        self.assertFalse(self.successResultOf(upnp.holds((lease,))))
        self.assertEqual(self.mapped(upnp), lease)

    def test_close(self) -> None:
        """Closing ends a search under way."""
        self.router.speaks.clear()
        upnp = self.router.upnp()
        asked = upnp.discover()
        upnp.close()
        self.failureResultOf(asked, PortMapError)
        self.assertEqual((self.router.open, self.clock.getDelayedCalls()), (0, []))
