"""The processes that are measured, planted ones that fail among them."""

import signal
import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.programs import Broken, Program


def program(code: str) -> Program:
    """Start a few lines of Python, without what takes an interpreter long to start."""
    return Program([sys.executable, "-S", "-E", "-c", code])


class ProgramTests(SynchronousTestCase):
    """A peer that does not do its work ends the benchmark with a sentence, and is gone."""

    def assert_broken(self, code: str, expected: str, within: float = 10.0) -> None:
        """A program that does not get ready."""
        with program(code) as peer:
            error = self.assertRaises(Broken, peer.ready, "ready", within)
        self.assertIn(expected, str(error))
        self.assertIn(code, str(error))  # which one it was

    def test_ends_early(self) -> None:
        """A peer that dies at once is not waited for."""
        self.assert_broken("raise SystemExit(3)", "ended too early", 30)

    def test_silent(self) -> None:
        """A peer that hangs is given up after its time, and killed."""
        self.assert_broken("input()", "said nothing for 0.2 s", 0.2)

    def test_says_something_else(self) -> None:
        """A peer that complains is not taken for one that is ready."""
        self.assert_broken("print('no such port')", "said 'no such port' in place of 'ready'")

    def test_fails_at_the_end(self) -> None:
        """A peer that fails after its work spoils the run; one that was killed, too."""
        with program("print('ready'); raise SystemExit(3)") as peer:
            peer.ready(within=30)
            error = self.assertRaises(Broken, peer.wait, 30)
            self.assertIn("exit status 3", str(error))
        with program(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})") as peer:
            error = self.assertRaises(Broken, peer.wait, 30)
            self.assertIn("exit status -9", str(error))

    def test_does_not_end(self) -> None:
        """A peer that stays when its work is done is noticed."""
        with program("input()") as peer:
            error = self.assertRaises(Broken, peer.wait, 0.05)
            self.assertIn("no end within", str(error))

    def test_processor_time(self) -> None:
        """What a process needs before it is ready does not count, what it needs later does."""
        burn = "e=time.process_time()+{}\nwhile time.process_time()<e: pass\n"
        code = f"import time\n{burn.format(0.3)}print('ready',flush=True)\n{burn.format(0.1)}"
        with program(code) as peer:
            peer.ready(within=60)
            spent = peer.wait(60)
        self.assertTrue(0.05 < spent < 0.25, spent)

    def test_lines(self) -> None:
        """Lines come one by one, however they were written, and the input's end is passed on."""
        with program("print('a\\nb', flush=True); import sys; print(sys.stdin.read())") as peer:
            self.assertEqual([peer.line(30), peer.line(30)], ["a", "b"])
            peer.finish()
            self.assertEqual(peer.line(30), "")
            peer.wait(30)
