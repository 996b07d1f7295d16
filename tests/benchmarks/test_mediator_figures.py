"""The mediator's figures, small ones: that they can be taken at all."""

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.introductions import measure
from benchmarks.machine import ROOT


class MediatorFigureTests(SynchronousTestCase):
    """What is measured of a mediator."""

    def test_introductions(self) -> None:
        """A mediator introduces real clients to real servers, with and without what follows."""
        found = measure(1, count=40)
        self.assertGreater(found["ours"], 50)
        (whole,) = found["also"]
        self.assertGreater(whole["ours"], 50)
        self.assertEqual(found["must"], 3000)

    def test_memory(self) -> None:
        """Servers are registered without sockets, and it is told what they take."""
        command = [sys.executable, "-m", "benchmarks.registrations_memory", "300"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        before, after = map(int, done.stdout.split())
        self.assertTrue(0 < after - before < 300 * 20_000, done.stdout)
