"""Hold trial's run and pytest's run against each other.

``python -m tests.tools.compare_runs TRIAL-OUTPUT PYTEST-JUNIT-XML ALLOWED-SKIPS [COLLECTED]``

COLLECTED is how many tests more pytest found without running them.

Fails (status 1) when the two did not run the same number of tests, when nothing ran, or, with
``CI`` set in the environment, when a test was skipped that the list of allowed skips does not name.
"""

import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

__all__ = ["allowed_skips", "main", "pytest_result", "trial_result", "verdict"]

_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_SKIPPED_BLOCK = re.compile(r"^\[SKIPPED\]\n(.*?)(?=^={10,}|^-{10,})", re.MULTILINE | re.DOTALL)
_TEST_ID = re.compile(r"^(tests(?:\.\w+)+)$", re.MULTILINE)


def trial_result(text: str) -> tuple[int, set[str]]:
    """Read trial's output.

    :param text: of one run, or of several one behind the other.
    :returns: how many tests ran, and the dotted ids of those that were skipped.
    """
    counts = map(int, _RAN.findall(text))
    skipped: set[str] = set()
    for block in _SKIPPED_BLOCK.findall(text):
        skipped.update(_TEST_ID.findall(block))
    return sum(counts), skipped


def pytest_result(xml: str) -> tuple[int, set[str]]:
    """Read pytest's JUnit file.

    :returns: how many tests ran, and the dotted ids of those that were skipped.
    """
    cases = list(ElementTree.fromstring(xml).iter("testcase"))
    skipped = {
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if case.find("skipped") is not None
    }
    return len(cases), skipped


def allowed_skips(text: str) -> set[str]:
    """The ids named by the list: what stands before the first colon of each line."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return {line.split(":", 1)[0].strip() for line in lines if line}


def verdict(
    trial: tuple[int, set[str]], pytest: tuple[int, set[str]], allowed: set[str], *, strict: bool
) -> list[str]:
    """What is wrong with the pair of runs, a sentence each; empty when all is well."""
    wrong = []
    if not trial[0]:
        wrong.append("trial ran no test")
    if trial[0] != pytest[0]:
        wrong.append(f"trial ran {trial[0]} tests, pytest {pytest[0]}")
    if strict:
        wrong.extend(
            f"{name} was skipped, and tests/skips-allowed.txt does not name it"
            for name in sorted((trial[1] | pytest[1]) - allowed)
        )
    return wrong


def main(argv: list[str]) -> int:
    """Compare the files named on the command line and print the verdict."""
    trial = trial_result(Path(argv[0]).read_text())
    ran, skipped = pytest_result(Path(argv[1]).read_text())
    collected = int(argv[3]) if len(argv) > 3 else 0
    pytest = (ran + collected, skipped)
    wrong = verdict(
        trial, pytest, allowed_skips(Path(argv[2]).read_text()), strict=bool(os.environ.get("CI"))
    )
    skips = len(trial[1] | pytest[1])
    only = f" ({collected} only collected)" if collected else ""
    print(f"trial {trial[0]} tests, pytest {pytest[0]} tests{only}, {skips} skipped")
    for sentence in wrong:
        print(f"error: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
