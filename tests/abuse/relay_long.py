"""The floods at a relay, and at an agent whose relay lies, for longer than a test run has time for."""

import sys
import tempfile
import unittest
from pathlib import Path

from twisted.trial.reporter import VerboseTextReporter
from twisted.trial.runner import TrialRunner

from tests.abuse import test_lying_relay, test_relay_flood, test_relay_rules

__all__ = ["report"]

_FIGURES = "good clients", "good client took", "memory grew", "connections made"


def report(seconds: float) -> int:
    """Run them, and print what they tell.

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
    for case in cases:
        case.timeout = 300 + 10 * int(seconds)
    with tempfile.TemporaryDirectory() as folder:
        runner = TrialRunner(VerboseTextReporter, workingDirectory=f"{folder}/trial")
        result = runner.run(unittest.TestSuite(cases))
        for line in (Path(folder) / "trial" / "test.log").read_text(errors="replace").splitlines():
            if any(words in line for words in _FIGURES):
                sys.stdout.write(line.partition("] ")[2] + "\n")
    return 0 if result.wasSuccessful() else 1
