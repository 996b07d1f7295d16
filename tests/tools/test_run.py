"""Tests for ``tests/run``, with programs in the places of trial, pytest, mypy and ruff that run nothing."""

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_ROOT = Path(__file__).parents[2]
_STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
echo "here is $(basename "$0")"
for word; do case "$word" in --temp-directory=*) mkdir "${word#*=}" || exit 4;; esac; done
for word in $FAIL; do
    case "$(basename "$0") $*" in $word*) echo "broken on purpose"; exit 3;; esac
done
case "$*" in *--collect-only*) echo "tests/lab/test_x.py::test";; *tests.tools.failed*) printf '%s\n' $NAMED;; esac
"""


class RunTests(SynchronousTestCase):
    """What a developer, and continuous integration, see of a run."""

    def call(self, *arguments: str, fail: str = "", **more: str) -> tuple[int, str, list[str]]:
        """Run it in a tree of its own.

        :param fail: patterns of the commands that fail, with "?" for each blank.
        :returns: exit status, output, and what was called.
        """
        tree = Path(self.mktemp()).absolute()
        (tree / "venv/bin").mkdir(parents=True)
        for name in ("trial", "pytest", "mypy", "ruff", "python"):
            stub = tree / "venv/bin" / name
            stub.write_text(_STUB)
            stub.chmod(0o755)
        for name in ("tests/lab/test_x.py", "tests/stun/test_x.py", "tests/test_y.py"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).touch()
        shutil.copy(_ROOT / "tests/run", tree / "tests/run")
        calls = tree / "calls"
        environment = {"PATH": os.environ["PATH"], "SKIP_INSTALL": "1", "CALLS": str(calls)}
        done = subprocess.run(
            ["bash", "tests/run", *arguments],
            cwd=tree,
            env={**environment, "FAIL": fail, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, calls.read_text().splitlines()

    def test_all_well(self) -> None:
        """Everything runs once, trial's tests but for those of the laboratory beside that; each is told of."""
        status, output, calls = self.call()
        self.assertEqual(status, 0, output)
        programs = sorted(call.split()[0] for call in calls)
        expected = ["mypy", "pytest", "pytest", "python", "ruff", "ruff", "trial", "trial"]
        self.assertEqual(programs, expected)
        tried = sorted(call.partition("verbose ")[2] for call in calls if call.startswith("trial"))
        self.assertEqual(tried, ["tests.interop tests.lab", "tests.stun tests.test_y"])
        for part in ("trial-peers", "trial-others", "pytest", "mypy"):
            self.assertEqual(output.count(f"== {part}: well"), 1, output)
        (compared,) = (call for call in calls if call.startswith("python"))
        self.assertTrue(compared.endswith(" tests/skips-allowed.txt 1"), compared)

    def test_any_part_fails(self) -> None:
        """Whatever fails, the run fails, shows what was said, and still does all the rest."""
        for pattern, part in (
            ("trial*tests.lab", "trial-peers"),
            ("trial*tests.stun", "trial-others"),
            ("pytest*junitxml", "pytest"),
            ("pytest*collect-only", "pytest"),
            ("mypy", "mypy"),
            ("python", ""),
        ):
            status, output, calls = self.call(fail=pattern)
            asked = 1 if part in ("trial-peers", "trial-others", "pytest") else 0
            self.assertEqual((status, len(calls)), (1, 8 + asked), output)
            self.assertIn("broken on purpose", output)
            if part:
                self.assertIn(f"== {part}: FAILED, status ", output)
                self.assertIn(f"failed: {part}\n", output)

    def test_untidy(self) -> None:
        """What ruff minds ends the run at once: it takes no more than a second to see."""
        status, output, calls = self.call(fail="ruff?check")
        self.assertEqual((status, len(calls)), (3, 1), output)

    def test_twice(self) -> None:
        """Where all is to run twice, pytest waits for the laboratory, and gets everything."""
        status, output, calls = self.call(ALL_TWICE="1")
        self.assertEqual(status, 0, output)
        order = [call.split()[0] for call in calls[2:]]
        self.assertEqual(order, ["trial", "mypy", "trial", "pytest", "python"])
        self.assertNotIn("--ignore", calls[-2])

    def test_some(self) -> None:
        """A part of the tests can be named as a path; nothing else is checked then."""
        status, output, calls = self.call("tests/stun/")
        self.assertEqual(status, 0, output)
        self.assertEqual([call.split()[0] for call in calls], ["trial", "pytest", "python"])
        self.assertTrue(calls[0].endswith(" tests.stun"), calls)
        self.assertEqual(self.call("tests/stun", fail="trial")[0], 1)

    def test_alone(self) -> None:
        """A test that failed beside others and passes alone is named, and does no harm."""
        for pattern in ("trial*tests.lab", "trial*tests.stun", "pytest*junitxml"):
            name = "tests.relay.test_x.Case.test"
            status, output, calls = self.call(fail=pattern, NAMED=name)
            self.assertEqual(status, 0, output)
            self.assertIn(f"== failed beside others\n{name}\n", output)
            self.assertIn("== again: well", output)
            (again,) = (call for call in calls if call.endswith(f"verbose {name}"))
            self.assertTrue(again.startswith("trial "))

    def test_not_alone(self) -> None:
        """What fails twice has failed; so have many tests, and anything else that fails beside a test."""
        many = " ".join(f"tests.relay.test_x.Case.test_{n}" for n in range(11))
        for fail, named, runs in (
            ("trial*tests.lab trial*Case.test", "tests.relay.test_x.Case.test", 3),
            ("trial*tests.lab", many, 2),
            ("trial*tests.lab", "nothing", 2),
            ("trial*tests.lab mypy", "tests.relay.test_x.Case.test", 3),
            ("trial*tests.lab python*compare_runs", "tests.relay.test_x.Case.test", 3),
        ):
            status, output, calls = self.call(fail=fail, NAMED=named)
            self.assertEqual(status, 1, output)
            self.assertEqual(sum(call.startswith("trial ") for call in calls), runs, output)
