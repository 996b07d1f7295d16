"""Tests for wavesync.doctor.pairing."""

import itertools

from twisted.trial.unittest import SynchronousTestCase

from tests.doctor.known import LAN_OF, known, pair_of
from tests.lab.doctors import direct_paths
from tests.lab.kinds import KINDS
from tests.lab.truth import SCENES, expected
from wavesync.doctor.findings import Dependence, Family, Findings, Interface, Place, Trial
from wavesync.doctor.pairing import (
    BOTH_ENDS,
    LAN,
    LIKELY,
    NO,
    PATHS,
    RELAY,
    TCP,
    UDP,
    UNKNOWN,
    YES,
    judge_paths,
)


def said(client: Findings, server: Findings, path: str) -> str:
    """What is said of one path."""
    return next(each for each in judge_paths(client, server) if each.path == path).possible


class TruthTests(SynchronousTestCase):
    """The verdicts agree with what the laboratory knows to be true."""

    def test_every_pair_of_kinds(self) -> None:
        """Whoever knows both routers is told the very paths that come about, for all kinds."""
        for client, server in itertools.product(KINDS, repeat=2):
            found = direct_paths(known(client, 1), known(server, 2))
            self.assertEqual(found, expected(client, server), f"{client} to {server}")

    def test_every_scene(self) -> None:
        """The same holds on one network, behind one ISP's router, and with IPv6."""
        for scene in SCENES:
            found = direct_paths(*pair_of(scene))
            self.assertTrue(scene.expected <= found, f"{scene.name}: {found}")
            if scene.expected == {"error"}:
                self.assertEqual(found, scene.expected, scene.name)

    def test_all_paths_are_judged(self) -> None:
        """Nobody has to wonder about a path that is not named."""
        paths = [each.path for each in judge_paths(Findings(), Findings())]
        self.assertEqual(tuple(paths), PATHS)


class UnknownTests(SynchronousTestCase):
    """What is not known is not invented."""

    def test_unknown_mapping(self) -> None:
        """A router whose mapping is not known is neither blamed nor trusted."""
        unknown = Findings(ipv4=Family(mapped="44.9.0.2", translated=True, udp=True, tcp=True))
        self.assertEqual(said(unknown, known("port", 2), UDP), UNKNOWN)
        self.assertEqual(said(unknown, known("port", 2), BOTH_ENDS), LIKELY)

    def test_unknown_does_not_hide_what_is_enough(self) -> None:
        """A side that takes packets from anybody is enough, whatever the other one does."""
        unknown = Findings(ipv4=Family(mapped="44.9.0.2", translated=True, udp=True, tcp=True))
        self.assertEqual(said(unknown, known("full", 2), UDP), YES)

    def test_filter_by_address_needs_a_mapping(self) -> None:
        """A filter by address helps nobody whose own port is another one for each remote."""
        odd = Family(
            mapped="44.9.0.2",
            translated=True,
            udp=True,
            tcp=True,
            mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT,
            filtering=Dependence.ADDRESS_DEPENDENT,
        )
        self.assertEqual(said(Findings(ipv4=odd), known("symmetric", 2), UDP), NO)

    def test_nothing_known(self) -> None:
        """Of two ends of which nothing is known nothing is promised."""
        blank = Findings(ipv4=Family())
        for each in judge_paths(blank, blank):
            self.assertNotEqual(each.possible, YES, each.path)


class PlacesTests(SynchronousTestCase):
    """Forwarded ports, relays, local networks."""

    def test_forwarded_port(self) -> None:
        """A port that a router forwards makes a symmetric site direct, but not a private one."""
        server = known("symmetric", 2)
        for address, wanted in (("44.2.0.2:7001", YES), ("100.64.0.9:7001", NO)):
            forwarding = Findings(ipv4=server.ipv4, forwarded=(f"tcp {address}",))
            self.assertEqual(said(known("symmetric", 1), forwarding, TCP), wanted)

    def test_relay(self) -> None:
        """A relay has to be reached by both."""

        def at(name: str, works: bool) -> Findings:
            return Findings(relays=(Place(name=name, host=name, tcp=Trial(works=works)),))

        for ours, theirs, wanted in (
            (at("a", True), at("a", True), YES),
            (at("a", True), at("b", True), NO),
            (at("a", False), at("a", True), NO),
            (at("a", True), at("a", False), NO),
            (at("a", True), Findings(), LIKELY),
            (Findings(), Findings(), UNKNOWN),
        ):
            self.assertEqual(said(ours, theirs, RELAY), wanted)

    def test_same_private_network_at_two_sites(self) -> None:
        """Two sites that both use 192.168.1.0/24 are not taken for one."""
        one, two = (
            Findings(
                ipv4=known("port", number).ipv4,
                interfaces=(Interface(name="eth0", networks=(LAN_OF,)),),
            )
            for number in (1, 2)
        )
        self.assertEqual(said(one, two, LAN), NO)
        self.assertEqual(said(one, one, LAN), YES)

    def test_same_name_at_two_sites(self) -> None:
        """Two networks that look alike, and are seen at two addresses, are two."""
        one, two = (
            Findings(ipv4=known("port", number).ipv4, network="1" * 16) for number in (1, 2)
        )
        self.assertEqual((said(one, two, LAN), said(one, two, TCP)), (NO, NO))

    def test_discovery_switched_off(self) -> None:
        """Without discovery on one side there is still the server's own address."""
        here = Findings(ipv4=known("port", 1).ipv4, network="1" * 16)
        off = Findings(ipv4=known("port", 1).ipv4, network="1" * 16, discovery=False)
        self.assertEqual(said(here, off, LAN), NO)
        self.assertEqual(said(here, off, TCP), YES)

    def test_no_multicast(self) -> None:
        """A host that swallows multicast is not promised the local network's path."""
        deaf = Findings(
            network="1" * 16,
            ipv4=known("port", 1).ipv4,
            interfaces=(Interface(name="eth0", networks=(LAN_OF,), multicast=False),),
        )
        self.assertEqual(said(deaf, deaf, LAN), NO)
