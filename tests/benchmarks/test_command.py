"""The command line, and one figure for real."""

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.__main__ import measure
from benchmarks.catalogue import CATALOGUE, find
from benchmarks.machine import ROOT


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


class CatalogueTests(SynchronousTestCase):
    """What can be asked for."""

    def test_modules(self) -> None:
        """Every figure has a module, which says in a line what it is."""
        names = [entry.name for entry in CATALOGUE]
        self.assertEqual(len(names), len(set(names)))
        for entry in CATALOGUE:
            self.assertTrue((Path(ROOT) / "benchmarks" / f"{entry.module}.py").exists(), entry)
            self.assertTrue(entry.title, entry)
            self.assertLess(len(entry.title), 120, entry)


class CommandTests(SynchronousTestCase):
    """``python -m benchmarks``."""

    def test_not_understood(self) -> None:
        """Options that mean nothing to a figure are refused with a sentence, not ignored."""
        entry = find("udt-idle")
        error = self.assertRaises(SystemExit, measure, entry, 1, {"seconds": 1.0})
        self.assertEqual(str(error), "The figure udt-idle knows no --seconds.")
        error = self.assertRaises(SystemExit, measure, find("congestion"), 1, {})
        self.assertEqual(str(error), "The figure congestion takes no number of runs.")

    def test_real(self) -> None:
        """A figure of real processes, ours and libudt's, is one line with all that was promised."""
        done = command("udt-ping", "1", "--seconds", "0.1")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["figure"], found["runs"]), ("udt-ping", 1))
        self.assertGreater(found["ours"], 0)
        self.assertAlmostEqual(found["ratio"], found["ours"] / found["peer"], 2)
        for name in ("must", "goal", "reached", "machine", "versions", "settings"):
            self.assertIn(name, found)
