"""What counts as a deviation in the matrix, and how it is shown; needs no laboratory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.kinds import KINDS
from tests.lab.matrix import ENOUGH_TRIALS, Cell, Trial, all_cells, as_markdown
from tests.lab.sites import SiteSettings
from tests.lab.truth import ERROR_LIMIT, RELAY_LIMIT, SCENES
from tests.lab.wide import Meeting

_DELAY = 0.02


class VerdictTests(SynchronousTestCase):
    """Judging trials, and the table of them."""

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

    def test_relay(self) -> None:
        """With a relay an error is one, a relay is one where UDP works, and later the best path counts."""
        for client, server, path, again, told in (
            ("port", "symmetric", "relay", "relay", ""),
            ("port", "symmetric", "error", "relay", "error instead of relay: why"),
            ("port", "linux", "udp", "udp", ""),
            ("port", "linux", "udp", "tcp", ""),
            ("port", "linux", "relay", "udp", "relay instead of tcp or udp: why"),
            ("port", "linux", "udp", "relay", "later relay instead of tcp or udp"),
            ("port", "no-udp", "relay", "tcp", ""),
            ("port", "no-udp", "relay", "relay", "later relay instead of tcp"),
            ("port", "no-udp", "tcp", "", "later nothing instead of tcp"),
        ):
            cell = Cell.between(client, server, relay=True)
            cell.trials.append(Trial(path, 0.2, "why", again))
            self.assertEqual(cell.deviations, [told] if told else [], (server, path, again))

    def test_round_trips(self) -> None:
        """Where only a relay works, the median of enough connects has to be fast; not elsewhere."""
        fast, slow = ((RELAY_LIMIT + more) * 4 * _DELAY for more in (-0.01, 0.2))
        for server, seconds, told in (
            ("symmetric", [fast, fast, slow], []),
            ("symmetric", [fast, slow, slow], ["3.7 round trips by the relay instead of 3.5"]),
            ("symmetric", [slow] * (ENOUGH_TRIALS - 1), []),
            ("no-udp", [slow, slow, slow], []),
        ):
            cell = Cell.between("port", server, relay=True)
            cell.round_trip = cell.meeting.round_trip(_DELAY)
            later = "relay" if server == "symmetric" else "tcp"
            cell.trials += [Trial("relay", each, "", later) for each in seconds]
            self.assertEqual(cell.deviations, told, (server, seconds))
        cell.round_trip = 0.0
        self.assertEqual(cell.round_trips, 0.0)

    def test_distance(self) -> None:
        """A round trip leads from one site to the other over the core and back, an ISP's router besides."""
        near, far = SiteSettings("port"), SiteSettings("linux", delay=0.2)
        self.assertAlmostEqual(Meeting(near, near).round_trip(0.02), 0.08)
        self.assertAlmostEqual(Meeting(near, far).round_trip(0.02), 0.44)
        self.assertAlmostEqual(Meeting(near, None).round_trip(0.02), 0.08)
        self.assertAlmostEqual(Meeting(near, near, near).round_trip(0.02), 0.08)
        self.assertAlmostEqual(Meeting(near, near, far).round_trip(0.02), 0.8)

    def test_relayed_table(self) -> None:
        """The table tells the round trips by a relay, and what later connections took."""
        only, later = (Cell.between("port", each, relay=True) for each in ("symmetric", "no-udp"))
        for cell in (only, later):
            cell.round_trip = 0.08
        only.trials.append(Trial("relay", 0.22, "", "relay"))
        later.trials.append(Trial("relay", 0.22, "", "tcp"))
        text = as_markdown([only, later], rounds=1, delay=0.02)
        self.assertIn("| port |  | relay 220 (2.8 trips) | relay 220, then tcp |", text)
        self.assertIn("the relay took 2.75\nround trips", text)
        plain = as_markdown([Cell.between("port", "linux")], rounds=1, delay=0.02)
        self.assertNotIn("relay", plain)

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
