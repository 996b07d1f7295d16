"""Many agents over real sockets at a relay that is killed; a thousand: ``python -m benchmarks parking``."""

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_AGENTS = 60
_ALL = 7 * _AGENTS


class RestartTests(SynchronousTestCase):
    """All come back, not all at once."""

    def test_killed(self) -> None:
        """Within half a minute all have parked again; the fullest second brings half of them at most."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "parking", str(_AGENTS), "--quick"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        back = json.loads(done.stdout)["SIGKILL"]
        self.assertGreaterEqual(back["connections"], _ALL)
        self.assertLess(back["all_parked_s"], 30)
        self.assertLess(back["peak_per_s"], _ALL / 2)
