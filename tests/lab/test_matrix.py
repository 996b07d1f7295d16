"""One cell of the matrix for each class of pairs that behave alike; and the truth table itself.

``python -m tests.lab --full`` runs them all.
"""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.case import LabCase
from tests.lab.kinds import KINDS, Filtering, Kind
from tests.lab.matrix import Cell, Trial, as_markdown, run_cells
from tests.lab.sites import SiteSettings
from tests.lab.truth import (
    BY_REMOTE,
    ERROR_LIMIT,
    SCENES,
    TRUTH,
    Scene,
    expected,
    heard_late,
    with_relay,
)

_DELAY = 0.02

#: Client and server of one pair for each class of pairs that behave alike, both ways where roles differ.
_PAIRS = (
    ("symmetric", "restricted"),
    ("restricted", "symmetric"),
    ("symmetric-open", "port"),
    ("port", "symmetric-open"),
    ("linux-reject", "port"),
    ("port", "linux-reject"),
    ("linux-accept", "linux"),
    ("linux", "linux-accept"),
    ("cgnat", "linux"),
    ("linux", "cgnat"),
    ("firewall", "port"),
    ("symmetric", "port"),
    ("port", "symmetric"),
    ("no-udp", "none"),
    ("no-udp", "linux"),
    ("linux", "no-udp"),
    ("no-udp", "symmetric"),
)

_SCENES = (
    "one LAN, no hairpin",
    "one CGNAT, hairpin",
    "one CGNAT, no hairpin",
    "IPv6 only, firewalls",
    "dual stack, symmetric for IPv4",
    "dual-stack client, IPv4 server",
    "IPv4 client, dual-stack server",
    "IPv6-only client, IPv4 server",
    "client near the mediator, linux-accept far away",
)

#: The same where there is a relay, one for each class of what then happens.
_RELAYED_PAIRS = (
    ("port", "linux"),
    ("symmetric", "port"),
    ("no-udp", "symmetric"),
    ("linux", "no-udp"),
)
_RELAYED_SCENE = "one CGNAT, no hairpin"


@functools.cache
def _all_cells() -> dict[tuple[str, bool], Cell]:
    """Run one trial of each at once, because those without a way take their time to say so.

    :return: by name, and whether with a relay.
    """
    cells = [Cell.between(*pair) for pair in _PAIRS]
    cells += [Cell.of(scene) for scene in SCENES if scene.name in _SCENES]
    cells += [Cell.between(*pair, relay=True) for pair in _RELAYED_PAIRS]
    cells += [Cell.of(scene, relay=True) for scene in SCENES if scene.name == _RELAYED_SCENE]
    list(run_cells(cells, rounds=1, delay=_DELAY, jobs=4))
    return {(cell.name, bool(cell.later)): cell for cell in cells}


class PairTests(LabCase):
    """Each class of pairs ends as the truth table says."""

    def check(self, *names: str) -> None:
        """Nothing deviates, and nothing was left undone."""
        for name in names:
            cell = _all_cells()[name, False]
            self.assertEqual(len(cell.trials), 1, name)
            self.assertEqual(cell.deviations, [], name)

    def both(self, one: str, other: str) -> None:
        """The same in both roles."""
        self.check(f"{one} to {other}", f"{other} to {one}")

    def test_peer_reflexive(self) -> None:
        """A symmetric NAT's port for the peer is learnt from its packets and answered."""
        self.both("symmetric", "restricted")

    def test_open_filtering(self) -> None:
        """A symmetric NAT that lets strangers in is reached at the port for the mediator."""
        self.both("symmetric-open", "port")

    def test_refusals(self) -> None:
        """ICMP errors by routers that refuse early punches stop nobody."""
        self.both("linux-reject", "port")

    def test_occupied_ports(self) -> None:
        """Routers that take early punches for their own get none: both sides start together."""
        self.both("linux-accept", "linux")

    def test_unequal_legs(self) -> None:
        """The same where the server hears of the client much later than the client of the server."""
        self.check("client near the mediator, linux-accept far away")

    def test_two_translations(self) -> None:
        """A home's NAT behind an ISP's one."""
        self.both("cgnat", "linux")

    def test_firewall(self) -> None:
        """Public addresses behind a filter."""
        self.check("firewall to port")

    def test_no_way(self) -> None:
        """Where no punching helps, the client is told so in time."""
        self.both("symmetric", "port")

    def test_no_udp(self) -> None:
        """Without UDP, TCP reaches an open site, and from both ends most others, but not all."""
        self.check("no-udp to none", "no-udp to symmetric")
        self.both("no-udp", "linux")

    def test_one_lan(self) -> None:
        """Hosts of one network meet at their own addresses, whatever its router does."""
        self.check("one LAN, no hairpin")

    def test_one_isp(self) -> None:
        """Homes of one ISP meet at its router, if that turns packets around."""
        self.check("one CGNAT, hairpin", "one CGNAT, no hairpin")

    def test_ipv6(self) -> None:
        """Two firewalls, no IPv4."""
        self.check("IPv6 only, firewalls")

    def test_dual_stack(self) -> None:
        """IPv6 is the way where IPv4's NATs allow none."""
        self.check("dual stack, symmetric for IPv4")

    def test_one_side_dual(self) -> None:
        """A mediator that is asked over both families shows each side the family it can use."""
        self.check("dual-stack client, IPv4 server", "IPv4 client, dual-stack server")

    def test_no_common_family(self) -> None:
        """Who has no address family in common with the server is told so at once."""
        self.check("IPv6-only client, IPv4 server")
        (trial,) = _all_cells()["IPv6-only client, IPv4 server", False].trials
        self.assertIn("this host has IPv6 only", trial.why)
        self.assertLess(trial.seconds, 2.0)

    def test_shared_sites(self) -> None:
        """What cannot be built is told in every cell, and none is taken for done."""
        impossible = Scene("odd", frozenset({"udp"}), SiteSettings("cgnat", ipv6=True))
        cells = [Cell.between("none", "none"), Cell.of(impossible)]
        done = list(run_cells(cells, rounds=2))
        self.assertEqual([len(cell.trials) for cell in done], [2, 2])
        for cell in done:
            self.assertEqual(len(cell.deviations), 2)


class TableTests(SynchronousTestCase):
    """What a table says of cells that deviated in the crowd."""

    def cell(self, *paths: str) -> Cell:
        """A cell that is direct by UDP, and what became of it."""
        cell = Cell.between("port", "linux")
        cell.trials = [Trial(path, 0.3) for path in paths]
        return cell

    def test_doubted(self) -> None:
        """They count as they are alone, and the table tells both."""
        cell = self.cell("udp", "relay")
        cell.doubt()
        cell.trials = [Trial("udp", 0.2), Trial("udp", 0.2)]
        table = as_markdown([cell], rounds=2, delay=0.0)
        self.assertIn("0 cells deviate", table)
        self.assertIn("udp 1/2, relay 1/2 300 (port to linux)", table)
        self.assertIn("| udp 200 |", table)

    def test_deviates_alone(self) -> None:
        """What deviates again deviates."""
        cell = self.cell("relay")
        cell.doubt()
        cell.trials = [Trial("relay", 0.2)]
        table = as_markdown([cell], rounds=1, delay=0.0)
        self.assertIn("1 cells deviate", table)
        self.assertIn("relay instead of tcp or udp", table)


class RelayedTests(LabCase):
    """The same with a relay in the core: everybody connects, and by a direct path where there is one."""

    def trial(self, name: str) -> Trial:
        """Give a cell's only one."""
        (trial,) = _all_cells()[name, True].trials
        return trial

    def test_direct(self) -> None:
        """A relay does not keep the punched hole from being found: at once, or for later connections."""
        trial = self.trial("port to linux")
        # On a busy machine the hole may be verified when the relay has had its turn.
        self.assertIn(trial.path, ("udp", "tcp", "relay"), trial.why)
        self.assertIn(trial.again, ("udp", "tcp"))

    def test_relay_only(self) -> None:
        """Where no punching helps, the relay is the way, and nobody waits for a time limit."""
        for name in ("symmetric to port", "no-udp to symmetric", _RELAYED_SCENE):
            cell = _all_cells()[name, True]
            self.assertEqual(cell.deviations, [], name)
            print(f"\n{name}: {cell.round_trips:.2f} round trips by the relay")
            self.assertLess(self.trial(name).seconds, ERROR_LIMIT, name)

    def test_tcp_later(self) -> None:
        """TCP from both ends takes its time: the relay comes first, and TCP carries what comes later."""
        trial = self.trial("linux to no-udp")
        self.assertIn(trial.path, ("relay", "tcp"), trial.why)
        self.assertEqual(trial.again, "tcp")


class TruthTests(SynchronousTestCase):
    """The truth table against the rules of RFC 4787; needs no laboratory."""

    def punches(self, one: Kind, other: Kind) -> bool:
        """Tell whether punching works, by the axes of both sides alone."""
        if not (one.udp and other.udp):
            return False
        sides = (one.outermost, other.outermost)
        lenient = any(side.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT for side in sides)
        return lenient or not any(side.mapping in BY_REMOTE for side in sides)

    def test_udp(self) -> None:
        """Every pair is direct by UDP exactly where mapping and filtering let it be."""
        for client in KINDS.values():
            for server in KINDS.values():
                self.assertEqual(
                    "udp" in expected(client.name, server.name),
                    self.punches(client, server),
                    f"{client.name} to {server.name}",
                )

    def test_tcp(self) -> None:
        """TCP is a way where one site lets strangers in, or both mappings look at no remote."""
        for (client, server), paths in TRUTH.items():
            sides = (KINDS[client].outermost, KINDS[server].outermost)
            lenient = any(side.filtering is Filtering.OPEN for side in sides)
            from_both_ends = not any(side.mapping in BY_REMOTE for side in sides)
            self.assertEqual("tcp" in paths, lenient or from_both_ends, f"{client} to {server}")

    def test_symmetry(self) -> None:
        """Roles do not matter."""
        for (client, server), paths in TRUTH.items():
            self.assertEqual(paths, TRUTH[server, client], (client, server))

    def test_complete(self) -> None:
        """Every pair of kinds has an entry: paths, or an error, never both or nothing."""
        self.assertEqual(set(TRUTH), {(one, other) for one in KINDS for other in KINDS})
        for paths in (*TRUTH.values(), *(scene.expected for scene in SCENES)):
            self.assertTrue(
                paths in ({"error"}, {"lan"}) or (paths and paths <= {"udp", "tcp"}), paths
            )

    def test_with_relay(self) -> None:
        """A relay leaves no errors, comes after UDP, and may come before TCP, but not for later ones."""
        for direct, first, later in (
            ({"error"}, {"relay"}, {"relay"}),
            ({"lan"}, {"lan"}, {"lan"}),
            ({"udp"}, {"udp"}, {"udp"}),
            ({"udp", "tcp"}, {"udp", "tcp"}, {"udp", "tcp"}),
            ({"tcp"}, {"tcp", "relay"}, {"tcp"}),
        ):
            self.assertEqual(with_relay(frozenset(direct)), (first, later), direct)
        for direct, first in (({"error"}, {"relay"}), ({"udp"}, {"udp", "relay"})):
            self.assertEqual(with_relay(frozenset(direct), late=True)[0], first, direct)

    def test_heard_late(self) -> None:
        """Who lets in only answers hears late of a server, if one of them has a port for each peer."""
        for client, server, late in (
            ("port", "symmetric-open", True),
            ("firewall", "symmetric-open", True),
            ("symmetric", "restricted", True),
            ("cgnat-symmetric", "none", True),
            ("restricted", "symmetric", False),
            ("symmetric-open", "symmetric", False),
            ("symmetric-open", "port", False),
            ("port", "linux", False),
        ):
            self.assertEqual(heard_late(client, server), late, f"{client} to {server}")

    def test_unknown_kind(self) -> None:
        """A mistyped kind has no truth."""
        self.assertRaises(KeyError, expected, "cone", "port")
