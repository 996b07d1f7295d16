"""The mediator fails: who is connected does not notice, who is registered comes back."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.faults import mediator_gone
from tests.lab.scene import Scene

_GONE = 8.0  # the long outage: python -m tests.lab.faults


class MediatorFaultTests(LabCase):
    """A mediator is for introductions, and nothing else depends on it."""

    def test_gone_and_restarted(self) -> None:
        """While it is gone, streams go on and holes take new connections; agents are back within
        ten seconds of its return, and of an orderly restart."""
        scene = Scene(self.lab("port", "port"))
        self.assertGreater(mediator_gone(scene, _GONE), 5)
