"""Faults that happen to a product at work, and how long it takes until all is well again.

By hand, with the long outage that CI has no time for::

    python -m tests.lab.faults --help
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable

from tests.lab.clocks import clocks_set, clocks_wrong
from tests.lab.commands import LabError, unavailable
from tests.lab.live import BROKEN, watched
from tests.lab.product import WEB
from tests.lab.scene import CLOCKS, MAPPED, PORT, REGISTERED, SMALL, Scene
from tests.lab.services import start_nginx
from tests.lab.topology import Lab, Site, SiteSettings

__all__ = [
    "STRICT",
    "agent_cloned",
    "agent_killed",
    "leg_muted",
    "mediator_gone",
    "mediator_restarted",
    "server_cut_off",
    "site_moved",
]

_MUTED = """
table inet muted {
    chain forward {
        type filter hook forward priority -10; policy accept;
        tcp dport { 3345, 3355 } drop
        tcp sport { 3345, 3355 } drop
    }
}
"""


_AWAY = """
table inet away {
    chain forward {
        type filter hook forward priority -10; policy drop;
    }
}
"""
#: Rules of a router that drops what belongs to no connection that it knows.
STRICT = """
table inet strict {
    chain forward {
        type filter hook forward priority -5; policy accept;
        ct state invalid drop
    }
}
"""


def mediator_gone(scene: Scene, seconds: float) -> int:
    """Kill the mediator, and open connections through the hole that is there, as long as told.

    Then start it again, and see that the agent comes back, and that a live stream noticed nothing.

    :returns: how many connections were opened.
    :raises LabError: one of them was not, or took longer than a second or two.
    """
    viewer = scene.watch(seconds + 12)
    scene.mediator.kill()
    end = time.monotonic() + seconds
    opened, slowest = 0, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        if not scene.forwarded():
            raise LabError(f"no connection without a mediator: {scene.complaints()}")
        slowest = max(slowest, time.monotonic() - began)
        opened += 1
        time.sleep(0.25)
    gone = f"the mediator was gone for {seconds:g} s"
    scene.note(f"slowest of {opened} connections over the hole while {gone}", slowest, 15)
    before = scene.said(scene.agent, REGISTERED)
    scene.product.start_mediator()
    _back(scene, f"agent registered after {gone}", before)
    if not scene.connected():
        raise LabError("a new client cannot connect after the mediator has come back")
    mediator_restarted(scene)
    lasted, frames, gap = watched(viewer, 60)
    if not lasted:
        raise LabError(f"a stream broke after {frames} frames")
    scene.note(f"longest gap in a live stream of {frames} frames while {gone}", gap, 8)
    return opened


def mediator_restarted(scene: Scene) -> None:
    """Restart the mediator in good order, as an update does."""
    before = scene.said(scene.agent, REGISTERED)
    scene.mediator.stop(timeout=30)
    scene.product.start_mediator()
    _back(scene, "agent registered after a restart of the mediator", before)


def _back(scene: Scene, what: str, before: int) -> None:
    scene.until(what, time.monotonic(), 10, lambda: scene.said(scene.agent, REGISTERED) > before)


def agent_killed(scene: Scene) -> None:
    """Kill the agent under a live stream: whoever waits for it gets an error within ten seconds.

    Then start it again.
    """
    host = scene.product.client_host
    viewer = scene.watch(60)
    before = scene.complaints()
    scene.agent.kill()
    since = time.monotonic()
    script = f"curl -s http://127.0.0.1:{PORT}/{SMALL}; echo ended $?"
    caller = host.start(["sh", "-c", script], name="caller")
    scene.until(
        "error of a connection over the hole of an agent that was killed",
        since,
        10,
        lambda: re.search("ended [1-9]", caller.output()) is not None,
    )
    scene.until(
        "error of a live stream from an agent that was killed",
        since,
        10,
        lambda: BROKEN in viewer.output(),
    )
    if scene.complaints() == before:
        raise LabError("the forwarding says nothing of an agent that was killed")
    done = scene.product.wavesync("connect", str(scene.product.server.target), WEB)
    if done.status != 1 or "is not online" not in done.stderr:
        raise LabError(f"status {done.status} and {done.stderr!r} without an agent")
    scene.product.start_agent()
    scene.until(
        "forwarding works with an agent started anew", time.monotonic(), 10, scene.forwarded
    )


def leg_muted(scene: Scene) -> None:
    """Have the way between agent and mediator swallow TCP without a word, and open up again."""
    router, agent, mediator = scene.product.server_site.router, scene.agent, scene.mediator
    registered, lost = scene.said(agent, REGISTERED), scene.said(agent, "lost the mediator")
    gone = scene.said(mediator, "is not registered any more")
    router.nft(_MUTED)
    since = time.monotonic()
    scene.until(
        "agent notices that its leg is dead",
        since,
        20,
        lambda: scene.said(agent, "lost the mediator") > lost,
    )
    scene.until(
        "mediator notices that the leg is dead",
        since,
        20,
        lambda: scene.said(mediator, "is not registered any more") > gone,
    )
    router.nft("delete table inet muted")
    scene.until(
        "agent registered when the way is open again",
        time.monotonic(),
        15,
        lambda: scene.said(agent, REGISTERED) > registered,
    )


def site_moved(scene: Scene, site: Site, what: str, happen: Callable[[], None]) -> None:
    """Have something happen to a site's router: new connections work within 20 s.

    :param what: in words.
    :param happen: does it.
    """
    agent = scene.agent
    before = scene.said(agent, REGISTERED), scene.said(agent, MAPPED)
    happen()
    since = time.monotonic()
    if site is scene.product.server_site:
        for words, said, count in (
            ("registered", REGISTERED, before[0]),
            ("UDP mapping known", MAPPED, before[1]),
        ):
            scene.until(
                f"{words} again: {what}",
                since,
                20,
                lambda said=said, count=count: scene.said(agent, said) > count,  # type: ignore[misc]
            )
    # The forwarding is asked without pause, so what follows is one introduction at the latest.
    scene.until(f"new connections work: {what}", since, 20, scene.forwarded)
    if not scene.connected():
        raise LabError(f"a new client cannot connect: {what}")


def server_cut_off(scene: Scene, seconds: float) -> None:
    """Take the server's router away for so long; it knows nothing when it comes back, and it says
    nothing to packets of connections that it does not know."""
    site = scene.product.server_site
    before = scene.said(scene.agent, REGISTERED)
    router = site.outermost.namespace
    router.nft(_AWAY)
    time.sleep(seconds)
    router.sysctl({"net.netfilter.nf_conntrack_tcp_loose": 0})
    site.reboot()
    router.nft(STRICT)
    router.nft("delete table inet away")
    since = time.monotonic()
    what = f"the server's router was away for {seconds:g} s"
    scene.until(
        f"registered again: {what}",
        since,
        20,
        lambda: scene.said(scene.agent, REGISTERED) > before,
    )
    if not scene.connected():
        raise LabError(f"a new client cannot connect: {what}")


def agent_cloned(scene: Scene, seconds: float) -> None:
    """Start an agent with the same credentials on another host of the site, and watch both.

    :param seconds: for how long.
    :raises LabError: they take turns, the older one does not say why it stays away, or a client
        cannot connect meanwhile.
    """
    host = scene.product.server_site.hosts[1]
    start_nginx(host, scene.product.www)
    older = scene.agent
    registrations = scene.said(scene.mediator, "registered from")
    newer = scene.product.agent_on(host)
    newer.wait_for_line(MAPPED)
    older.wait_for_line("are these credentials installed twice")
    end = time.monotonic() + seconds
    connects = 0
    while time.monotonic() < end:
        if not scene.connected():
            raise LabError("no connect while credentials are installed twice")
        connects += 1
    more = scene.said(scene.mediator, "registered from") - registrations
    print(f"{connects} connects, {more} registration in {seconds:g} s of cloned credentials")
    if more != 1:
        raise LabError(f"{more} registrations instead of one: they take turns")


def main(argv: list[str]) -> int:
    """
    Run all faults, and print the figures.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.faults",
        description="Runs the product in a laboratory, has one fault after the other happen, and "
        "tells how long each takes to mend.  The exit status is 1 when one takes too long.",
    )
    parser.add_argument(
        "--gone",
        type=float,
        default=120,
        metavar="SECONDS",
        help="how long the mediator is gone (default: 120)",
    )
    parser.add_argument(
        "--cloned",
        type=float,
        default=60,
        metavar="SECONDS",
        help="how long two agents with the same credentials are watched (default: 60)",
    )
    options = parser.parse_args(argv)
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        with Lab("port", "port") as lab:
            clocks_wrong(lab, ((who, days) for who in CLOCKS for days in (2, -2)))
        with Lab("port", "port") as lab:
            clocks_set(Scene(lab, clocks=True))
        with Lab("port", SiteSettings("port", hosts=2)) as lab:
            scene = Scene(lab)
            mediator_gone(scene, options.gone)
            agent_killed(scene)
            leg_muted(scene)
            for site, whose in ((lab.b, "server"), (lab.a, "client")):
                site_moved(scene, site, f"the {whose}'s router rebooted", site.reboot)
                site_moved(scene, site, f"the {whose}'s address changed", site.renumber)
            for seconds in (0, 5, 20):
                server_cut_off(scene, seconds)
            agent_cloned(scene, options.cloned)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
