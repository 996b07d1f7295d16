"""Floods and storms for longer than a test run has time for: a relay, an agent at a liar, tunnels."""

import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.reporter import VerboseTextReporter
from twisted.trial.runner import TrialRunner
from twisted.trial.unittest import TestCase

from tests.abuse import test_lying_relay, test_relay_flood, test_relay_rules, test_tunnels

__all__ = ["report", "report_tunnels"]

_FIGURES = "good clients", "good client took", "memory grew", "connections made", "times each"


def report(seconds: float) -> int:
    """Run the floods, and print what they tell.

    :param seconds: for how long there is a flood, each of two times.
    :returns: 0 when all is well.
    """
    test_relay_flood.RelayFloodTests.seconds = seconds
    test_lying_relay.LyingRelayTests.seconds = seconds
    cases = (
        test_relay_flood.RelayFloodTests("test_flood"),
        test_lying_relay.LyingRelayTests("test_clients"),
        test_lying_relay.LyingRelayTests("test_words"),
        test_relay_rules.StalledTests("test_copied"),
    )
    return _run_cases(cases, 300 + 10 * int(seconds))


def report_tunnels(number: int) -> int:
    """Run the storms of bad tunnels, and print what they tell.

    :param number: connections of each, half of them before the first measure.
    :returns: 0 when all is well.
    """
    test_tunnels.TunnelTests.count = number
    return _run_cases([test_tunnels.TunnelTests("test_storms")], 300 + number)


def _run_cases(cases: Sequence[TestCase], timeout: int) -> int:
    for case in cases:
        case.timeout = timeout  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        runner = TrialRunner(VerboseTextReporter, workingDirectory=f"{folder}/trial")
        result = runner.run(unittest.TestSuite(cases))
        for line in (Path(folder) / "trial" / "test.log").read_text(errors="replace").splitlines():
            if any(words in line for words in _FIGURES):
                sys.stdout.write(line.partition("] ")[2] + "\n")
    return 0 if result.wasSuccessful() else 1
