"""All figures at once, with planted ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.catalogue import CATALOGUE, Entry, UnknownFigure, find
from benchmarks.everything import LINES, PLOT, TABLE, measure_all
from benchmarks.figures import Bar, compared, line
from benchmarks.report import plot, table


def figure(entry: Entry, ratio: float, runs: int = 3) -> dict[str, Any]:
    """A line as a benchmark prints it; what must be is 4, hoped for is 7."""
    ours, peers = [{"value": 1000 * ratio}], [{"value": 1000.0}]
    row = compared(f"{entry.name} speed", "Mbit/s", "value", ours, peers, Bar(4, 7), peer="other")
    cpu = {"mbit_s": 1000.0, "sender_cpu_s_per_gb": 1.25, "receiver_cpu_s_per_gb": 2.5}
    made = line([row], runs=runs, settings={"seconds": 2.0}, medians={"ours": cpu})
    return {"figure": entry.name, **made, "machine": "a box", "versions": {"python": "3"}}


class MeasureAllTests(SynchronousTestCase):
    """``python -m benchmarks all`` writes down what it found, and says whether it is enough."""

    def setUp(self) -> None:
        """No figures yet."""
        self.directory = Path(self.mktemp())
        self.said: list[str] = []

    def take_all(
        self, ratios: Mapping[str, float], only: Sequence[str] | None = None, **options: Any
    ) -> int:
        """Measure; a figure without a ratio cannot be taken."""

        def take(entry: Entry, runs: int) -> dict[str, Any]:
            if entry.name not in ratios:
                return {"figure": entry.name, "failed": "This figure needs Debian's other."}
            return figure(entry, ratios[entry.name], runs)

        return measure_all(
            only,
            options.pop("runs", 3),
            self.directory,
            take=take,
            say=self.said.append,
            draw=lambda lines, file: f"{file.name} shows {len(lines)}.",
            **options,
        )

    def read(self, name: str) -> str:
        """What a file holds."""
        return (self.directory / name).read_text(encoding="utf-8")

    def test_enough(self) -> None:
        """When all is as it must be, the status is 0, and table, lines and plot are there."""
        names = [entry.name for entry in CATALOGUE if entry.judged]
        self.assertEqual(self.take_all(dict.fromkeys(names, 5.0)), 0)
        text = self.read(TABLE)
        self.assertIn("| udt speed | 5\u202f000 Mbit/s | 1\u202f000 Mbit/s (other) | 5 |", text)
        self.assertIn("| \u2265 4 | \u2265 7 | must |", text)
        self.assertIn(f"{len(names)} of {len(names)} are what they must be", text)
        self.assertIn("| udt | ours | 1000 | 1.25 | 2.5 |", text)
        self.assertIn("- a box\n", text)
        lines = [json.loads(each) for each in self.read(LINES).splitlines()]
        self.assertEqual([each["figure"] for each in lines], names)
        self.assertIn("min", self.said[0])
        self.assertTrue(self.said[-1].endswith(f"ratios.svg shows {len(names)}."))

    def test_too_little(self) -> None:
        """One figure that is not what it must be makes the status 1, and shows in the table."""
        self.assertEqual(self.take_all({"udt": 9.0, "udt-ping": 3.9}, ["udt", "udt-ping"]), 1)
        text = self.read(TABLE)
        self.assertIn("| goal |\n", text)
        self.assertIn("| **no** |\n", text)
        self.assertIn("1 of 2 are what they must be", text)

    def test_missing_peer(self) -> None:
        """A peer that is not installed does not stop the others; what to install is said."""
        self.assertEqual(self.take_all({"udt-ping": 5.0}, ["udt", "udt-ping"]), 1)
        needs = "not measured: This figure needs Debian's other."
        self.assertIn(f"| udt: {needs} |", self.read(TABLE))
        self.assertIn(f"    {needs}", self.said)
        self.assertIn("1 of 2 are what they must be", self.read(TABLE))

    def test_some(self) -> None:
        """Taking some figures again leaves the others as they were."""
        self.take_all({"udt": 5.0, "udt-ping": 5.0}, ["udt", "udt-ping"])
        self.assertEqual(self.take_all({"udt-ping": 8.0}, ["udt-ping"], runs=7), 0)
        lines = [json.loads(each) for each in self.read(LINES).splitlines()]
        self.assertEqual(
            [(each["figure"], each["runs"]) for each in lines], [("udt", 3), ("udt-ping", 7)]
        )

    def test_redraw(self) -> None:
        """The table can be written anew without measuring."""
        self.take_all({"udt": 5.0}, ["udt"])
        (self.directory / TABLE).unlink()
        self.assertEqual(self.take_all({}, ["udt"], redraw=True), 0)
        self.assertIn("| udt speed |", self.read(TABLE))

    def test_unknown(self) -> None:
        """A figure that does not exist is named before anything is measured."""
        error = self.assertRaises(UnknownFigure, self.take_all, {}, ["udt", "speed"])
        self.assertIn("'speed'", str(error))
        self.assertEqual(self.said, [])


class ReportTests(SynchronousTestCase):
    """Table and plot."""

    def test_two_machines(self) -> None:
        """Figures of different machines are told apart."""
        one = figure(find("udt"), 5.0)
        two = {**figure(find("udt-ping"), 5.0), "machine": "another box"}
        text = table([one, two], PLOT)
        self.assertIn("- a box (udt), another box (udt-ping)\n- python 3\n", text)

    def test_no_matplotlib(self) -> None:
        """Without matplotlib everything else is there, and a sentence says why there is no plot."""

        def load(name: str) -> Any:
            raise ImportError(name)

        file = Path(self.mktemp())
        said = plot([figure(find("udt"), 5.0)], file, load)
        self.assertIn("wavesync[benchmark]", said)
        self.assertFalse(file.exists())
        self.assertIn("nothing to draw", plot([{"figure": "udt", "failed": "no"}], file, load))
