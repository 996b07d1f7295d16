"""Nothing of a laboratory outlives it, however it ends; and the command line that holds one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.case import LabCase
from tests.lab.commands import LabError, run
from tests.lab.kinds import KINDS
from tests.lab.namespaces import PREFIX
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
_MODULE = [sys.executable, "-m", "tests.lab"]
_TIMEOUT = 20.0


def _left(pid: int) -> list[str]:
    """List the namespaces and the files that a process of ours has left."""
    return [
        str(path)
        for directory in (Path("/run/netns"), Path("/etc/netns"), Path(tempfile.gettempdir()))
        for path in directory.glob(f"{PREFIX}-{pid}-*")
    ]


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for its parent's notice does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class TeardownTests(LabCase):
    """The end of a laboratory."""

    def _links(self) -> str:
        return run(["ip", "-br", "link"]).stdout

    def test_after_a_failure(self) -> None:
        """An error inside leaves no namespace, file, process or interface behind."""
        links = self._links()
        pids: list[int] = []
        with self.assertRaises(ZeroDivisionError):
            with Lab("port", "linux", delay=0.001) as lab:
                directory = lab.directory
                lab.a.host.start(["sleep", "60"])
                # A daemon: in no process group of ours.
                lab.b.host.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
                pids = [pid for namespace in lab.namespaces for pid in namespace.pids()]
                raise ZeroDivisionError
        self.assertGreaterEqual(len(pids), 4, "two forwarders, two sleeps")
        self.assertEqual([pid for pid in pids if _alive(pid)], [])
        self.assertEqual(_left(os.getpid()), [])
        self.assertFalse(directory.exists())
        self.assertEqual(self._links(), links)

    def test_failed_build(self) -> None:
        """A laboratory that cannot be built leaves nothing."""
        self.assertRaises(LabError, Lab, "port", "no such kind")
        self.assertEqual(_left(os.getpid()), [])

    def test_close_twice(self) -> None:
        """Closing again does nothing."""
        lab = Lab("none", "none")
        lab.close()
        lab.close()
        self.assertEqual(_left(os.getpid()), [])


_DIE = """
import os
from tests.lab.topology import Lab
lab = Lab("port", "linux", delay=0.001)
lab.a.host.start(["sleep", "600"])
print("\\n".join(str(pid) for n in lab.namespaces for pid in n.pids()), flush=True)
os.kill(os.getpid(), 9)
"""


class CommandLineTests(LabCase):
    """``python -m tests.lab``."""

    def _start(self, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*_MODULE, *argv],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def _output(self, *argv: str) -> str:
        output, _ = self._start(*argv).communicate(timeout=_TIMEOUT)
        return output

    def test_clean(self) -> None:
        """Leftovers of a dead process vanish; a living laboratory keeps working."""
        living = self.lab("none", "none")
        dead = subprocess.Popen(
            [sys.executable, "-c", _DIE], cwd=_ROOT, stdout=subprocess.PIPE, text=True
        )
        output, _ = dead.communicate(timeout=_TIMEOUT)
        self.assertEqual(dead.returncode, -signal.SIGKILL)
        self.assertNotEqual(_left(dead.pid), [])
        cleaned = self._output("--clean")
        self.assertIn(f"removed {PREFIX}-{dead.pid}-", cleaned)
        self.assertNotIn(f"{PREFIX}-{os.getpid()}-", cleaned)
        self.assertEqual(_left(dead.pid), [])
        self.assertEqual([pid for pid in map(int, output.split()) if _alive(pid)], [])
        living.a.host.run(["ping", "-c", "1", living.mediator.address])

    def test_list(self) -> None:
        """Every kind is listed with what it does."""
        lines = self._output("--list").splitlines()
        self.assertEqual([line.split()[0] for line in lines], list(KINDS))

    def test_hold(self) -> None:
        """Without a terminal it holds the laboratory, says how to enter, and leaves at Ctrl-C."""
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self._start("--shell", "port", "linux", "--delay", "1")
            stdout = process.stdout
            assert stdout is not None
            lines = []
            for line in stdout:
                lines.append(line)
                if line.startswith("Held"):
                    break
            entering = [line.split("#")[0].split() for line in lines if "netns exec" in line]
            self.assertEqual(len(entering), 5)
            for command in entering:
                run([*command, "-c", "ip -br link"])
            process.send_signal(number)
            self.assertIn(process.wait(_TIMEOUT), (0, 128 + number))
            self.assertEqual(_left(process.pid), [])

    def test_mistyped_kind(self) -> None:
        """A mistyped kind is one sentence, and status 1."""
        for arguments in (["--shell", "port", "cone"], ["--full", "--only", "port,cone"]):
            process = subprocess.run(
                [*_MODULE, *arguments],
                cwd=_ROOT,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            self.assertEqual(process.returncode, 1)
            self.assertTrue(process.stderr.startswith("no kind 'cone'"), process.stderr)
            self.assertNotIn("Traceback", process.stderr)
