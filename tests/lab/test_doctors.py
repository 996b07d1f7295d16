"""What doctors say of one row of the matrix; ``python -m tests.lab --doctor`` asks for all of it."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.doctors import LIMIT, consult
from tests.lab.kinds import KINDS


class DoctorTests(LabCase):
    """``wavesync doctor`` at real routers."""

    def test_one_row(self) -> None:
        """What a client behind a port-restricted router is told of servers of all kinds is true."""
        opinions, slowest = consult(row="port", delay=0.01)
        self.assertEqual(len(opinions), len(KINDS))
        self.assertEqual([str(each) for each in opinions if not each.right], [])
        self.assertLess(slowest, LIMIT)
