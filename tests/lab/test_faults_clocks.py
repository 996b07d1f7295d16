"""Clocks that are two days off, and clocks that are set."""

from __future__ import annotations

from tests.lab.case import LabCase
from tests.lab.clocks import clocks_set, clocks_wrong
from tests.lab.scene import CLOCKS, Scene


class ClockTests(LabCase):
    """A recorder without a battery, or a laptop with the wrong date, still connects."""

    def test_two_days_off(self) -> None:
        """Whoever's clock is wrong, mediator, agent or client: one signature more, and it works."""
        figures = clocks_wrong(self.lab("port", "port"), zip(CLOCKS, (2, -2, 2), strict=True))
        for figure in figures:
            self.assertLess(figure.seconds, figure.limit, str(figure))

    def test_set_while_running(self) -> None:
        """When the right time is learned at last, streams go on and connects work, whoever learns
        it."""
        clocks_set(Scene(self.lab("port", "port"), clocks=True))
