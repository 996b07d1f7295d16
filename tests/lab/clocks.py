"""Clocks that are wrong from the start, and clocks that are set while everything runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from tests.lab.commands import LabError
from tests.lab.live import watched
from tests.lab.product import Product
from tests.lab.scene import FAKE, SMALL, Figure, Scene
from tests.lab.topology import Lab

__all__ = ["clocks_set", "clocks_wrong"]


def clocks_wrong(lab: Lab, cases: Iterable[tuple[str, float]]) -> list[Figure]:
    """Run a product in which one clock is wrong, once for each case.

    :param cases: whose, one of :data:`~tests.lab.scene.CLOCKS`, and by how many days.
    :returns: how long each connect took from its begin to the first byte.
    :raises LabError: one did not work.
    """
    product = Product(lab)
    digest = product.payload(SMALL, 20_000)
    product.start_web()
    figures = []
    for who, days in cases:
        product.environments = {who: _shifted(days)}
        product.start_mediator()
        product.start_agent()
        fetched = product.fetch(SMALL)
        what = f"connect with the {who}'s clock {days:+g} days off"
        if (fetched.status, fetched.digest) != (0, digest):
            raise LabError(f"no {what}: {fetched.errors}")
        figures.append(Figure(what, fetched.report["ms"]["first_byte"] / 1000, 5))
        print(figures[-1], flush=True)
        if figures[-1].seconds > figures[-1].limit:
            raise LabError(f"too long: {figures[-1]}")
        assert product.agent is not None and product.mediator is not None
        shown = product.agent if who == "agent" else product.mediator
        right = time.strftime("%Y-%m-%d", time.gmtime())
        if (who != "client") is shown.output().startswith(right):
            raise LabError(f"the clock of the {who} was not wrong: {shown.output()[:80]}")
        product.agent.kill()
        product.mediator.kill()
    return figures


def _shifted(days: float) -> Mapping[str, str]:
    """Variables that shift a process's clock; its timers go on as they are."""
    return {**FAKE, "FAKETIME": f"{days * 86400:+.0f}"}


def clocks_set(scene: Scene) -> None:
    """Set one clock after the other while everything runs, as when the right time is learned late.

    :param scene: one with clocks.
    :raises LabError: a new connection fails, or a live stream breaks.
    """
    viewer = scene.watch(12)
    for who, days in (("agent", -2), ("client", 2), ("mediator", -2)):
        scene.set_clock(who, days)
        since = time.monotonic()
        what = f"the clock of the {who} set by {days:+d} days"
        scene.until(f"forwarding works: {what}", since, 10, scene.forwarded)
    if not scene.connected():
        raise LabError("a new client cannot connect after clocks were set")
    lasted, frames, gap = watched(viewer, 60)
    if not lasted:
        raise LabError(f"a stream broke after {frames} frames when clocks were set")
    scene.note(f"longest gap in a live stream of {frames} frames while clocks were set", gap, 2)
