"""One cell of the matrix for each class of pairs that behave alike; and the truth table itself.

``python -m tests.lab --full`` runs them all.
"""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.case import LabCase
from tests.lab.kinds import KINDS, Filtering, Kind, Mapping
from tests.lab.matrix import Cell, Trial, all_cells, as_markdown, run_cells
from tests.lab.sites import SiteSettings
from tests.lab.truth import ERROR_LIMIT, SCENES, TRUTH, Scene, expected

_BY_REMOTE = (Mapping.ADDRESS_DEPENDENT, Mapping.RANDOM, Mapping.SEQUENTIAL)


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


@functools.cache
def _all_cells() -> dict[str, Cell]:
    """Run one trial of each at once, because those without a way take their time to say so."""
    cells = [Cell.between(*pair) for pair in _PAIRS]
    cells += [Cell.of(scene) for scene in SCENES if scene.name in _SCENES]
    list(run_cells(cells, rounds=1, delay=_DELAY, jobs=4))
    return {cell.name: cell for cell in cells}


class PairTests(LabCase):
    """Each class of pairs ends as the truth table says."""

    def check(self, *names: str) -> None:
        """Nothing deviates, and nothing was left undone."""
        for name in names:
            cell = _all_cells()[name]
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
        (trial,) = _all_cells()["IPv6-only client, IPv4 server"].trials
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


class TruthTests(SynchronousTestCase):
    """The truth table against the rules of RFC 4787; needs no laboratory."""

    def punches(self, one: Kind, other: Kind) -> bool:
        """Tell whether punching works, by the axes of both sides alone."""
        if not (one.udp and other.udp):
            return False
        sides = (one.outermost, other.outermost)
        lenient = any(side.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT for side in sides)
        return lenient or not any(side.mapping in _BY_REMOTE for side in sides)

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
            from_both_ends = not any(side.mapping in _BY_REMOTE for side in sides)
            self.assertEqual("tcp" in paths, lenient or from_both_ends, f"{client} to {server}")

    def test_symmetry(self) -> None:
        """Roles do not matter."""
        for (client, server), paths in TRUTH.items():
            self.assertEqual(paths, TRUTH[server, client], (client, server))

    def test_complete(self) -> None:
        """Every pair of kinds has an entry: paths, or an error, never both or nothing."""
        self.assertEqual(set(TRUTH), {(one, other) for one in KINDS for other in KINDS})
        for paths in (*TRUTH.values(), *(scene.expected for scene in SCENES)):
            self.assertTrue(paths == {"error"} or (paths and paths <= {"udp", "tcp"}), paths)

    def test_unknown_kind(self) -> None:
        """A mistyped kind has no truth."""
        self.assertRaises(KeyError, expected, "cone", "port")


class VerdictTests(SynchronousTestCase):
    """What counts as a deviation, and how it is shown; needs no laboratory."""

    def deviations(self, client: str, server: str, *trials: Trial) -> list[str]:
        """Judge trials of a pair."""
        cell = Cell.between(client, server)
        cell.trials += trials
        return cell.deviations

    def test_as_expected(self) -> None:
        """The right path, either of two right ones, and an error in time."""
        for server, path, seconds in (
            ("linux", "udp", 0.1),
            ("none", "udp", 0.1),
            ("none", "tcp", 0.1),
            ("symmetric", "error", ERROR_LIMIT),
        ):
            self.assertEqual(self.deviations("port", server, Trial(path, seconds)), [])

    def test_deviations(self) -> None:
        """Errors, wrong paths, paths that cannot be, late errors and broken laboratories."""
        for server, path, seconds, told in (
            ("symmetric-open", "error", 0.1, "error instead of udp: why"),
            ("symmetric-open", "tcp", 0.1, "tcp instead of udp: why"),
            ("no-udp", "udp", 0.1, "udp instead of tcp: why"),
            ("none", "error", 0.1, "error instead of tcp or udp: why"),
            ("symmetric", "udp", 0.1, "udp instead of error: why"),
            ("symmetric", "broken", 0.1, "broken instead of error: why"),
            ("symmetric", "error", ERROR_LIMIT + 0.1, "the error took 3.1 s"),
        ):
            self.assertEqual(
                self.deviations("port", server, Trial(path, seconds, "why")), [told], path
            )

    def test_spare(self) -> None:
        """Where the right moment decides, 57 of 60 are enough, and 2 of 3 are not; nowhere else."""
        late, good = Trial("error", 2.8, "why"), Trial("udp", 0.1)
        for client, bad, trials, deviating in (
            ("linux-accept", 3, 60, 0),
            ("linux-accept", 4, 60, 4),
            ("linux-accept", 1, 3, 1),
            ("linux", 1, 60, 1),
        ):
            told = self.deviations(client, "port", *[late] * bad, *[good] * (trials - bad))
            self.assertEqual(len(told), deviating, (client, bad, trials))

    def test_faster_path(self) -> None:
        """TCP from both ends may win now and then where UDP works too, not mostly; open servers differ."""
        tcp, udp = Trial("tcp", 0.6), Trial("udp", 0.3)
        for server, trials, deviating in (
            ("linux", [tcp, udp, udp], 0),
            ("linux", [tcp, tcp, udp], 1),
            ("linux", [tcp], 0),
            ("none", [tcp, tcp, tcp], 0),
            ("no-udp", [tcp, tcp, tcp], 0),
        ):
            told = self.deviations("port", server, *trials)
            self.assertEqual(len(told), deviating, (server, trials))

    def test_all(self) -> None:
        """Everything is every pair in both roles and every scene; some kinds are their pairs alone."""
        self.assertEqual(len(all_cells()), len(KINDS) ** 2 + len(SCENES))
        self.assertEqual(
            [cell.name for cell in all_cells(["port", "linux"])],
            ["port to port", "port to linux", "linux to port", "linux to linux"],
        )

    def test_table(self) -> None:
        """The table has a row and a column for each kind, and names what deviates."""
        good, bad = Cell.between("port", "port"), Cell.between("port", "linux")
        good.trials += [Trial("udp", 0.1), Trial("udp", 0.3), Trial("udp", 0.2)]
        bad.trials += [Trial("udp", 0.1), Trial("error", 2.5, "no path works")]
        text = as_markdown([good, bad, Cell.between("linux", "linux")], rounds=3, delay=0.02)
        self.assertIn("| client \\ server | port | linux |", text)
        self.assertIn("| port | udp 200 | udp 1/2, error 1/2 1300 **!** |", text)
        self.assertIn(
            "* port to linux, 1 of 2:\n  error instead of tcp or udp: no path works", text
        )
