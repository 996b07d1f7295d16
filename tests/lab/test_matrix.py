"""One cell of the matrix for each class of pairs that behave alike; and the truth table itself.

``python -m tests.lab --full`` runs them all.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.case import LabCase
from tests.lab.kinds import KINDS, Filtering, Kind, Mapping
from tests.lab.matrix import Cell, Trial, as_markdown, run_pair, run_scene
from tests.lab.truth import ERROR_LIMIT, SCENES, TRUTH, expected

_BY_REMOTE = (Mapping.ADDRESS_DEPENDENT, Mapping.RANDOM, Mapping.SEQUENTIAL)


class PairTests(LabCase):
    """Both directions between two kinds of site end as the truth table says."""

    def check(self, *cells: Cell) -> None:
        """Nothing deviates, and nothing was left undone."""
        for cell in cells:
            self.assertNotEqual(cell.trials, [], cell.name)
            self.assertEqual(cell.deviations, [], cell.name)

    def pair(self, a: str, b: str, *, delay: float = 0.0) -> None:
        """Connect in both directions, once each."""
        self.check(*run_pair(a, b, rounds=1, delay=delay))

    def scene(self, name: str) -> None:
        """Connect once in a scene."""
        (scene,) = (scene for scene in SCENES if scene.name == name)
        self.check(*run_scene(scene, rounds=1))

    def test_peer_reflexive(self) -> None:
        """A symmetric NAT's port for the peer is learnt from its packets and answered."""
        self.pair("symmetric", "restricted")

    def test_open_filtering(self) -> None:
        """A symmetric NAT that lets strangers in is reached at the port for the mediator."""
        self.pair("symmetric-open", "port")

    def test_refusals(self) -> None:
        """ICMP errors by routers that refuse early punches stop nobody."""
        self.pair("linux-reject", "port")

    def test_occupied_ports(self) -> None:
        """Routers that take early punches for their own get none: both sides start together."""
        self.pair("linux-accept", "linux", delay=0.05)

    def test_two_translations(self) -> None:
        """A home's NAT behind an ISP's one."""
        self.pair("cgnat", "linux")

    def test_no_way(self) -> None:
        """Where no punching helps, the client is told so in time."""
        self.pair("symmetric", "port")

    def test_no_udp(self) -> None:
        """Without UDP, TCP reaches an open site; the other direction has no way."""
        self.pair("no-udp", "none")

    def test_one_lan(self) -> None:
        """Hosts of one network meet at their own addresses, whatever its router does."""
        self.scene("one LAN, no hairpin")

    def test_one_isp(self) -> None:
        """Homes of one ISP meet at its router."""
        self.scene("one CGNAT, hairpin")

    def test_ipv6(self) -> None:
        """Two firewalls, no IPv4."""
        self.scene("IPv6 only, firewalls")

    def test_dual_stack(self) -> None:
        """IPv6 is the way where IPv4's NATs allow none."""
        self.scene("dual stack, symmetric for IPv4")


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
        """A server is reached by TCP exactly where its site lets strangers in."""
        for (client, server), paths in TRUTH.items():
            open_server = KINDS[server].filtering is Filtering.OPEN
            self.assertEqual("tcp" in paths, open_server, f"{client} to {server}")

    def test_symmetry(self) -> None:
        """By UDP, roles do not matter."""
        for (client, server), paths in TRUTH.items():
            self.assertEqual("udp" in paths, "udp" in TRUTH[server, client], (client, server))

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
            ("linux", "error", 0.1, "error instead of udp: why"),
            ("linux", "tcp", 0.1, "tcp instead of udp: why"),
            ("none", "error", 0.1, "error instead of tcp or udp: why"),
            ("symmetric", "udp", 0.1, "udp instead of error: why"),
            ("symmetric", "broken", 0.1, "broken instead of error: why"),
            ("symmetric", "error", ERROR_LIMIT + 0.1, "the error took 3.1 s"),
        ):
            self.assertEqual(
                self.deviations("port", server, Trial(path, seconds, "why")), [told], path
            )

    def test_table(self) -> None:
        """The table has a row and a column for each kind, and names what deviates."""
        good, bad = Cell.between("port", "port"), Cell.between("port", "linux")
        good.trials += [Trial("udp", 0.1), Trial("udp", 0.3), Trial("udp", 0.2)]
        bad.trials += [Trial("udp", 0.1), Trial("error", 2.5, "no path works")]
        text = as_markdown([good, bad, Cell.between("linux", "linux")], rounds=3, delay=0.02)
        self.assertIn("| client \\ server | port | linux |", text)
        self.assertIn("| port | udp 200 | udp 1/2, error 1/2 1300 **!** |", text)
        self.assertIn("* port to linux, 1 of 2:\n  error instead of udp: no path works", text)
