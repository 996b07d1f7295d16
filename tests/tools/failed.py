"""Name the tests that failed, for a second attempt of each alone.

``python -m tests.tools.failed TRIAL-OUTPUT... PYTEST-JUNIT-XML`` prints dotted ids, one a line, of what a run by
trial or by pytest could not pass; files that are missing or torn add nothing.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

__all__ = ["by_pytest", "by_trial", "main"]

_BLOCK = re.compile(r"^\[(?:FAIL|ERROR)\]\n(.*?)(?=^={10,}$|^-{10,}$|\Z)", re.MULTILINE | re.DOTALL)
_TEST_ID = re.compile(r"^(tests(?:\.\w+){3,})$", re.MULTILINE)


def by_trial(text: str) -> set[str]:
    """What failed in a run, or in several, by trial's verbose output."""
    return {name for block in _BLOCK.findall(text) for name in _TEST_ID.findall(block)}


def by_pytest(xml: str) -> set[str]:
    """What failed, by pytest's JUnit file; nothing if it was not written to its end."""
    try:
        cases = list(ElementTree.fromstring(xml).iter("testcase"))
    except ElementTree.ParseError:
        return set()
    return {
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


def main(argv: list[str]) -> int:
    """Print what failed by the files named on the command line."""
    failed: set[str] = set()
    for path in map(Path, argv):
        if path.exists():
            failed |= (by_pytest if path.suffix == ".xml" else by_trial)(path.read_text())
    print("\n".join(sorted(failed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
