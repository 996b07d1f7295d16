"""The test case that owns laboratories."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.commands import unavailable
from tests.lab.kinds import Kind
from tests.lab.topology import Lab, SiteSettings

__all__ = ["LabCase"]


class LabCase(SynchronousTestCase):
    """Tests in laboratories, skipped where there can be none; each is removed with its test."""

    skip = unavailable()

    def lab(
        self,
        a: SiteSettings | Kind | str,
        b: SiteSettings | Kind | str,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        isp: SiteSettings | None = None,
    ) -> Lab:
        """Build a laboratory whose logs stay in the test's directory; see `Lab`."""
        lab = Lab(a, b, delay=delay, loss=loss, directory=Path(self.mktemp()), isp=isp)
        self.addCleanup(lab.close)
        return lab
