"""Clocks that are two days off."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.faults import CLOCKS, clocks_wrong


class ClockTests(LabCase):
    """A recorder without a battery, or a laptop with the wrong date, still connects."""

    def test_two_days_off(self) -> None:
        """Whoever's clock is wrong, mediator, agent or client: one signature more, and it works."""
        figures = clocks_wrong(self.lab("port", "port"), zip(CLOCKS, (2, -2, 2), strict=True))
        for figure in figures:
            self.assertLess(figure.seconds, figure.limit, str(figure))
