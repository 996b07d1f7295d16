"""Tests for :mod:`wavesync.portmap.keeper` and :mod:`wavesync.portmap.service`."""

from collections.abc import Callable, Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.portmap.routers import EXTERNAL, GATEWAY, Router
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.holding import CHECK_INTERVAL
from wavesync.portmap.keeper import AGAIN, AGAIN_SOON, POKE_INTERVAL, STOP_TIMEOUT
from wavesync.portmap.service import LOOK_INTERVAL, MAPPED, SEARCHING, STATES, PortMapper
from wavesync.portmap.sockets import Datagrams
from wavesync.portmap.words import TCP, UDP, Reason, Wanted

_TCP, _UDP = Wanted(TCP, 5000), Wanted(UDP, 6000)
_BOTH = (((EXTERNAL, 5000),), ((EXTERNAL, 6000),))
_NONE: tuple[tuple[()], tuple[()]] = ((), ())


class MapperCase(SynchronousTestCase):
    """A host behind a router."""

    def setUp(self) -> None:
        """Make both."""
        self.clock = Clock()
        self.router = Router(self.clock, "PCP", "NAT-PMP", "UPnP")
        self.gateways = [GATEWAY]
        self.observed: list[str] = []
        self.changes = 0
        self.heard: Callable[[str], None] = lambda host: None
        self.mapper = PortMapper(
            self.clock,
            self.change,
            gateways=lambda: self.gateways,
            methods=self.router.methods,
            observed=lambda: self.observed,
            announcements=self.hear,
            fraction=lambda: 0.0,
        )

    def hear(self, heard: Callable[[str], None]) -> Sequence[Datagrams]:
        """Keep what is told of announcements."""
        self.heard = heard
        return ()

    def change(self) -> None:
        """Count."""
        self.changes += 1

    def start(self) -> None:
        """Start to map two ports."""
        self.mapper.start((_TCP, _UDP))
        self.wait(5.0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def stop(self) -> None:
        """Stop, and see that nothing is left."""
        stopped = self.mapper.stop()
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual((self.router.open, self.clock.getDelayedCalls()), (0, []))

    @property
    def method(self) -> str:
        """The protocol in use."""
        (standing,) = self.mapper.standing
        return standing.method


class KeepingTests(MapperCase):
    """Mappings are made, kept, and given back."""

    def test_all_protocols(self) -> None:
        """Whatever the router speaks, both ports are mapped; the best protocol is used."""
        for speaks, best in (
            (("PCP", "NAT-PMP", "UPnP"), "PCP"),
            (("NAT-PMP", "UPnP"), "NAT-PMP"),
            (("UPnP",), "UPnP"),
        ):
            self.router.speaks = set(speaks)
            self.assertEqual(self.mapper.state, Reason.NO_GATEWAY)
            self.start()
            self.assertEqual((self.mapper.addresses, self.mapper.state), (_BOTH, MAPPED))
            self.assertEqual(self.method, best)
            self.stop()
            self.assertEqual((self.router.mappings, self.mapper.addresses), ({}, _NONE))

    def test_one_change(self) -> None:
        """Whoever wants to know hears of both ports at one time, and of nothing that is the same."""
        self.start()
        self.assertEqual(self.changes, 1)
        self.wait(CHECK_INTERVAL * 2)
        self.assertEqual(self.changes, 1)

    def test_next_protocol(self) -> None:
        """A router that speaks one protocol and refuses is asked by another."""
        self.router.spoil = lambda data: (
            data[:3] + b"\2" + data[4:] if data[:2] == b"\2\x81" else data
        )
        self.start()
        self.assertEqual((self.method, self.mapper.addresses), ("NAT-PMP", _BOTH))

    def test_nothing(self) -> None:
        """A router that maps nothing: that is told once, and asked again after five minutes."""
        self.router.speaks.clear()
        self.mapper.start((_TCP, _UDP))
        self.assertEqual(self.mapper.state, SEARCHING)
        self.wait(5.0)
        (standing,) = self.mapper.standing
        self.assertEqual((self.mapper.state, standing.state), (Reason.NO_ANSWER,) * 2)
        self.assertIn("answers to none of PCP, NAT-PMP, UPnP", standing.why)
        self.assertEqual(self.changes, 1)
        self.router.speaks = {"UPnP"}
        self.wait(AGAIN - 6.0)
        self.assertEqual(self.mapper.addresses, _NONE)
        self.wait(6.0)
        self.assertEqual(self.mapper.addresses, _BOTH)
        self.stop()

    def test_renewed(self) -> None:
        """Mappings are renewed at half their life, with the same ports."""
        self.router.lifetime = 200
        self.start()
        before = self.router.requests.count("pcp map 3600")
        self.wait(100.0)
        self.assertEqual(self.router.requests.count("pcp map 3600"), before + 2)
        self.assertEqual((self.changes, self.mapper.addresses), (1, _BOTH))

    def test_rebooted(self) -> None:
        """A router that has forgotten is asked again, within a minute whatever it speaks."""
        for speaks in ("PCP", "NAT-PMP", "UPnP"):
            self.router.speaks = {speaks}
            self.start()
            self.wait(10.0)
            self.router.reboot()
            self.router.web_port += 1
            self.wait(CHECK_INTERVAL)
            self.assertEqual(len(self.router.mappings), 2, speaks)
            self.assertEqual(self.mapper.addresses, _BOTH)
            self.stop()

    def test_announced(self) -> None:
        """A router that announces its start is asked at once; strangers and floods change nothing."""
        self.start()
        self.router.reboot()
        self.heard("192.168.1.77")
        self.wait(POKE_INTERVAL)
        self.assertEqual(self.router.mappings, {})
        before = len(self.router.requests)
        for _ in range(100):
            self.heard(GATEWAY.router)
        self.clock.advance(0)
        self.assertEqual(len(self.router.mappings), 2)
        self.assertLess(len(self.router.requests), before + 5)

    def test_new_address(self) -> None:
        """A router with another address outside: it is told."""
        for speaks in ("NAT-PMP", "UPnP"):
            self.router.external = EXTERNAL
            self.router.speaks = {speaks}
            self.start()
            self.router.external = "45.9.9.9"
            self.wait(CHECK_INTERVAL)
            self.assertEqual(
                self.mapper.addresses, ((("45.9.9.9", 5000),), (("45.9.9.9", 6000),)), speaks
            )
            self.stop()

    def test_gone(self) -> None:
        """A router that falls silent is waited for some time; then its mappings do not count."""
        self.start()
        speaks, self.router.speaks = self.router.speaks, set()
        self.wait(CHECK_INTERVAL)
        self.assertEqual(self.mapper.addresses, _BOTH)
        self.wait(25.0)
        self.assertEqual((self.mapper.addresses, self.mapper.state), (_NONE, Reason.NO_ANSWER))
        self.router.speaks = speaks
        self.wait(AGAIN_SOON * 4)
        self.assertEqual((self.mapper.addresses, self.mapper.state), (_BOTH, MAPPED))
        self.stop()

    def test_one_refused(self) -> None:
        """Where only one of the ports is mapped, that one counts; the other is asked for again."""
        real = self.router._map

        def no_udp(protocol: int, internal: int, suggested: int, lifetime: int) -> int:
            return real(protocol, internal, suggested, lifetime) if protocol == 6 else 0

        self.router._map = no_udp  # type: ignore[method-assign]
        self.router.speaks = {"PCP"}
        self.start()
        self.assertEqual(self.mapper.addresses, (((EXTERNAL, 5000),), ()))
        self.router._map = real  # type: ignore[method-assign]
        self.wait(CHECK_INTERVAL)
        self.assertEqual(self.mapper.addresses, _BOTH)

    def test_other_port(self) -> None:
        """Where another UDP port is used, that one is mapped and the old one given back."""
        self.start()
        self.mapper.want((_TCP, Wanted(UDP, 7000)))
        self.wait(1.0)
        self.assertEqual(self.mapper.addresses, (((EXTERNAL, 5000),), ((EXTERNAL, 7000),)))
        self.assertEqual(set(self.router.mappings), {(6, 5000), (17, 7000)})

    def test_kept_port(self) -> None:
        """A port that is kept for who knows it stays mapped, also by another router; it is not told."""
        self.start()
        old = next(each for each in self.mapper.standing[0].leases if each.wanted.transport == UDP)
        self.mapper.want((_TCP, Wanted(UDP, 7000)), [old.wanted])
        self.wait(1.0)
        self.assertEqual(self.mapper.addresses, (((EXTERNAL, 5000),), ((EXTERNAL, 7000),)))
        ports = {(6, 5000), (17, 7000), (17, old.wanted.port)}
        self.assertEqual(set(self.router.mappings), ports)
        self.mapper.want((_TCP, Wanted(UDP, 7000)))
        self.wait(1.0)
        self.assertEqual(set(self.router.mappings), {(6, 5000), (17, 7000)})

    def test_stop_early(self) -> None:
        """It can be stopped while it searches, and while the router says nothing."""
        self.mapper.start((_TCP,))
        self.stop()
        self.start()
        self.router.speaks.clear()
        self.stop()

    def test_stop_amid(self) -> None:
        """What was asked for and not answered yet is given back, too."""
        self.router.speaks = {"PCP"}

        real = self.router._pcp
        for count in (1, 2):

            def pcp(data: bytes, count: int = count) -> bytes:
                answer = real(data)
                self.router.mute = len(self.router.mappings) == count
                return answer

            self.router._pcp = pcp  # type: ignore[method-assign]
            self.mapper.start((_TCP, _UDP))
            self.clock.advance(0)
            self.assertEqual(len(self.router.mappings), count)
            stopped = self.mapper.stop()
            self.assertEqual(self.router.mappings, {})
            self.wait(STOP_TIMEOUT)
            self.successResultOf(stopped)


class MapperTests(MapperCase):
    """What the mapper makes of several routers, and of what they say."""

    def test_another_nat(self) -> None:
        """A router with a private address leads here from its neighbours only: that is told."""
        self.router.external = "100.64.1.2"
        self.start()
        self.assertEqual(self.mapper.state, Reason.ANOTHER_NAT)
        self.assertEqual(self.mapper.addresses[0], (("100.64.1.2", 5000),))
        self.assertIn("private address itself (100.64.1.2)", self.mapper.standing[0].why)

    def test_observed(self) -> None:
        """A router that names an address at which nobody sees us is not believed."""
        self.start()
        self.observed = ["2600::1"]
        self.assertEqual(self.mapper.addresses, _BOTH)
        self.observed = ["45.1.1.1", EXTERNAL]
        self.assertEqual((self.mapper.addresses, self.mapper.state), (_BOTH, MAPPED))
        self.observed = ["45.1.1.1"]
        self.assertEqual((self.mapper.addresses, self.mapper.state), (_NONE, Reason.ANOTHER_NAT))
        self.assertIn("others see this site at 45.1.1.1", self.mapper.standing[0].why)

    def test_network_changed(self) -> None:
        """A host that is carried elsewhere asks the router there, and forgets the other."""
        self.start()
        self.gateways = []
        self.wait(LOOK_INTERVAL)
        self.assertEqual((self.mapper.addresses, self.mapper.state), (_NONE, Reason.NO_GATEWAY))
        self.assertEqual(self.router.mappings, {})
        self.gateways = [GATEWAY]
        self.wait(LOOK_INTERVAL)
        self.assertEqual(self.mapper.addresses, _BOTH)
        self.stop()

    def test_public_first(self) -> None:
        """Of two routers, the one with a public address is told first; its state counts."""
        other = Gateway("eth1", "192.168.9.1", "192.168.9.5", "192.168.9.0/24")
        inner = Router(self.clock, "PCP", own=other.own, external="10.9.9.9")
        routers = {GATEWAY: self.router, other: inner}
        mapper = PortMapper(
            self.clock,
            self.change,
            gateways=lambda: [other, GATEWAY],
            methods=lambda gateway: routers[gateway].methods(gateway),
            fraction=lambda: 0.0,
        )
        mapper.start((_TCP,))
        self.wait(2.0)
        self.assertEqual(mapper.addresses[0], ((EXTERNAL, 5000), ("10.9.9.9", 5000)))
        self.assertEqual(mapper.state, MAPPED)
        mapper.stop()

    def test_states(self) -> None:
        """Every state is one of the known ones."""
        codes = {value for key, value in vars(Reason).items() if not key.startswith("_")}
        self.assertEqual(set(STATES), codes | {MAPPED, SEARCHING})
