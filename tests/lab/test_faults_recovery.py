"""Mediators, agents, routers and clocks fail: clients hear of it in time, and all works again soon.

Four laboratories at one time, because most of the time is spent waiting.  Longer outages, and every
figure: ``python -m tests.lab.faults``.
"""

from __future__ import annotations

from functools import partial

from tests.lab.case import LabCase
from tests.lab.clocks import clocks_set, clocks_wrong
from tests.lab.faults import agent_cloned, agent_killed, mediator_gone, site_moved
from tests.lab.scene import CLOCKS, Scene, side_by_side
from tests.lab.topology import Lab, SiteSettings

_GONE = 8.0
_CLONED = 4.0


class RecoveryTests(LabCase):
    """Nobody has to do anything."""

    def test_recovery(self) -> None:
        """Whatever fails comes back by itself, within the times of ``docs/connecting.rst``."""
        side_by_side(
            *(
                partial(story, self.lab("port", SiteSettings("port", hosts=2)))
                for story in (mediator, server, client, clocks)
            )
        )


def mediator(lab: Lab) -> None:
    """The mediator is gone, comes back, is restarted; then every clock is set."""
    scene = Scene(lab, clocks=True)
    mediator_gone(scene, _GONE)
    clocks_set(scene)


def server(lab: Lab) -> None:
    """The agent is killed, its router reboots and is renumbered; its credentials are cloned."""
    scene = Scene(lab)
    agent_killed(scene)
    site_moved(scene, lab.b, "the server's router rebooted", lab.b.reboot)
    site_moved(scene, lab.b, "the server's address changed", lab.b.renumber)
    agent_cloned(scene, _CLONED)


def client(lab: Lab) -> None:
    """The client's router reboots and is renumbered."""
    scene = Scene(lab)
    site_moved(scene, lab.a, "the client's router rebooted", lab.a.reboot)
    site_moved(scene, lab.a, "the client's address changed", lab.a.renumber)


def clocks(lab: Lab) -> None:
    """Clocks are two days off from the start."""
    clocks_wrong(lab, zip(CLOCKS, (2, -2, 2), strict=True))
