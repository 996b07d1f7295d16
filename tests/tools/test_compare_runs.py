"""Tests for :mod:`tests.tools.compare_runs`."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.compare_runs import allowed_skips, main, pytest_result, trial_result, verdict

TRIAL = """\
tests.stun.test_message
  DecodeTests
    test_one ...                                                           [OK]
    test_two ...                                                      [SKIPPED]

===============================================================================
[SKIPPED]
the package coturn is missing

tests.stun.test_message.DecodeTests.test_two
tests.stun.test_message.DecodeTests.test_three
-------------------------------------------------------------------------------
Ran 3 tests in 0.123s

PASSED (skips=2, successes=1)
"""

PYTEST = """<?xml version="1.0"?><testsuites><testsuite tests="3">
<testcase classname="tests.stun.test_message.DecodeTests" name="test_one"/>
<testcase classname="tests.stun.test_message.DecodeTests" name="test_two"><skipped message="x"/></testcase>
<testcase classname="tests.stun.test_message.DecodeTests" name="test_three"><skipped message="x"/></testcase>
</testsuite></testsuites>"""

SKIPPED = {
    "tests.stun.test_message.DecodeTests.test_two",
    "tests.stun.test_message.DecodeTests.test_three",
}


class CompareTests(SynchronousTestCase):
    """A run that hides a test behind one runner, or behind a skip, is refused."""

    def test_reads_both_runners(self) -> None:
        """Counts and skipped tests come out alike from either runner's output."""
        self.assertEqual(trial_result(TRIAL), (3, SKIPPED))
        self.assertEqual(trial_result(TRIAL + TRIAL), (6, SKIPPED))
        self.assertEqual(pytest_result(PYTEST), (3, SKIPPED))

    def test_equal_runs_pass(self) -> None:
        """Nothing is said of two equal runs without skips."""
        self.assertEqual(verdict((3, set()), (3, set()), set(), strict=True), [])

    def test_unequal_counts(self) -> None:
        """A test that only one runner sees is an error."""
        self.assertEqual(
            verdict((3, set()), (2, set()), set(), strict=False), ["trial ran 3 tests, pytest 2"]
        )

    def test_no_test_at_all(self) -> None:
        """Trial passes on nothing; we do not."""
        self.assertEqual(
            verdict((0, set()), (0, set()), set(), strict=False), ["trial ran no test"]
        )

    def test_skips_need_the_list_in_ci_only(self) -> None:
        """At home a skip is a skip; in CI it must be on the checked-in list."""
        runs = ((3, SKIPPED), (3, SKIPPED))
        self.assertEqual(verdict(*runs, set(), strict=False), [])
        self.assertEqual(len(verdict(*runs, set(), strict=True)), 2)
        listed = allowed_skips("# why\n" + "\n".join(f"{name}: needs a kernel" for name in SKIPPED))
        self.assertEqual(verdict(*runs, listed, strict=True), [])

    def test_collected_tests_count(self) -> None:
        """What pytest only collects counts for it, and a test that it does not see is still missed."""
        names = []
        allowed = "\n".join(f"{name}: needs a kernel" for name in SKIPPED)
        for text in (TRIAL.replace("Ran 3", "Ran 5"), PYTEST, allowed):
            names.append(self.mktemp())
            Path(names[-1]).write_text(text)
        with redirect_stdout(StringIO()) as said:
            self.assertEqual(main([*names, "2"]), 0)
            self.assertEqual(main([*names, "1"]), 1)
        self.assertIn("pytest 5 tests (2 only collected)", said.getvalue())
        self.assertIn("trial ran 5 tests, pytest 4", said.getvalue())
