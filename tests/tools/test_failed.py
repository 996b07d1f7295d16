"""Tests for :mod:`tests.tools.failed`."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.failed import by_pytest, by_trial, main

TRIAL = """\
tests.stun.test_message
  DecodeTests
    test_one ...                                                         [FAIL]
    test_two ...                                                        [ERROR]

===============================================================================
[SKIPPED]
no coturn

tests.stun.test_message.DecodeTests.test_three
===============================================================================
[FAIL]
Traceback (most recent call last):
twisted.trial.unittest.FailTest: not equal:
a = 1

tests.stun.test_message.DecodeTests.test_one
===============================================================================
[ERROR]
Traceback (most recent call last):
Failure: twisted.internet.defer.TimeoutError: 120 s

tests.stun.test_message.DecodeTests.test_two
-------------------------------------------------------------------------------
Ran 3 tests in 0.123s

FAILED (skips=1, failures=1, errors=1)
"""

PYTEST = """<?xml version="1.0"?><testsuites><testsuite tests="3">
<testcase classname="tests.stun.test_message.DecodeTests" name="test_one"><failure message="x"/></testcase>
<testcase classname="tests.stun.test_message.DecodeTests" name="test_three"><skipped message="x"/></testcase>
<testcase classname="tests.stun.test_message.DecodeTests" name="test_four"/>
<testcase classname="tests.stun.test_message.DecodeTests" name="test_two"><error message="x"/></testcase>
</testsuite></testsuites>"""

FAILED = {f"tests.stun.test_message.DecodeTests.test_{name}" for name in ("one", "two")}


class FailedTests(SynchronousTestCase):
    """What is run a second time is what failed, and no more."""

    def test_reads_both_runners(self) -> None:
        """Failures and errors are found in either runner's output; skips and passes are not."""
        self.assertEqual(by_trial(TRIAL), FAILED)
        self.assertEqual(by_pytest(PYTEST), FAILED)

    def test_cut_off(self) -> None:
        """Output that ends in the middle names what it got to, a torn file nothing."""
        self.assertEqual(by_trial(TRIAL.partition("------")[0]), FAILED)
        self.assertEqual(by_pytest(PYTEST[:300]), set())

    def test_files(self) -> None:
        """Each name is printed once, whatever file it comes from; a missing file is no error."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "a.txt").write_text(TRIAL)
        (directory / "b.xml").write_text(PYTEST)
        printed = StringIO()
        with redirect_stdout(printed):
            status = main([str(directory / name) for name in ("a.txt", "b.xml", "c.txt")])
        self.assertEqual((status, printed.getvalue().split()), (0, sorted(FAILED)))
