"""Relays, mediators and routers break under a product that needs a relay, and one that does not."""

from __future__ import annotations

import time
from pathlib import Path

from tests.lab.commands import LabError
from tests.lab.faults import STRICT
from tests.lab.hosts import Host
from tests.lab.live import BROKEN, serve_live, view
from tests.lab.processes import poll
from tests.lab.product import HTTP_PORT, MEDIATOR_PORT, PARKED, RELAY_PORT, WEB, Fetched, Product
from tests.lab.scene import PORT, SMALL, Figure
from tests.lab.topology import Lab, Site

__all__ = ["relay_faults"]

_LIVE, _LIVE_AT, _LIVE_PORT = "live", 8090, 9001
_AFTER_KILL = 2.0  # seconds until the error, and again until something works
_AFTER_REBOOT = 30.0
_CONNECTS = 2  # of a client without need of a relay, with relays and without
_NO_DELAY = 0.5  # seconds: more than chance on a busy machine, less than any time limit
_TRIES = 5
_AWAY = f"""
table inet away {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
        meta l4proto {{ tcp, udp }} th dport {{ {MEDIATOR_PORT}, {HTTP_PORT} }} drop
    }}
}}
"""
_SILENT = f"""
table inet silent {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
        tcp dport {RELAY_PORT}-{RELAY_PORT + 1} drop
    }}
}}
"""


def relay_faults(lab: Lab, other: Site, *, strict: bool = False) -> None:
    """Kill a relay under a stream, reboot the server's router, kill the mediator and start it again.

    :param lab: two sites without a direct path.
    :param other: a client's site with a direct path to the server.
    :param strict: have the server's router drop what belongs to no connection that it knows.
    :raises LabError: something took too long, or went another way than it should.
    """
    faults = _Faults(lab)
    faults.relays_silent(other)
    faults.relay_killed()
    faults.server_rebooted(strict=strict)
    faults.mediator_killed()
    faults.mediator_restarted()


class _Faults:
    """A product with two relays, and a client that needs them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._product = Product(lab, services={_LIVE: f"tcp:127.0.0.1:{_LIVE_AT}"}, relays=2)
        self._small = self._product.payload(SMALL, 20_000)
        serve_live(self._product.server_host, _LIVE_AT)
        self._product.start()
        self._fetch("relay")

    def relays_silent(self, other: Site) -> None:
        """Whoever has a direct path connects as fast when no relay says a word."""
        times = []
        for silent in (False, True):
            if silent:
                other.router.nft(_SILENT)
            connects = []
            for number in range(_CONNECTS):
                # Each knows nothing yet.
                directory = self._product.files / f"direct-{silent}-{number}"
                directory.mkdir()
                file = directory / "client.pem"
                self._product.client.save(file)
                fetched = self._fetch("udp", host=other.host, credentials=file)
                connects.append(fetched.report["ms"]["accepted"] / 1000)
            times.append(min(connects))
        before, after = times
        print(f"direct connects: {before * 1000:.0f} ms, {after * 1000:.0f} ms with silent relays")
        Figure("lost by direct connects to silent relays", after - before, _NO_DELAY).tell("")

    def relay_killed(self) -> None:
        """A stream over a relay that dies ends with an error; the next connection takes the other one."""
        product = self._product
        product.forward(_LIVE, _LIVE_PORT)
        viewer = view(product.client_host, _LIVE_PORT, 60)
        product.forward(WEB, PORT)
        self._forwarded()
        number = self._used()
        before = self._parked()
        since = time.monotonic()
        product.relays[number].kill()
        poll(lambda: BROKEN in viewer.output(), 30, viewer.output)
        killed = "a relay was killed"
        Figure(f"error of a stream after {killed}", time.monotonic() - since, _AFTER_KILL).tell("")
        since = time.monotonic()
        self._forwarded()
        took = time.monotonic() - since
        Figure(f"the forwarding opens a connection after {killed}", took, _AFTER_KILL).tell("")
        fetched = self._fetch("relay")
        took = fetched.report["ms"]["accepted"] / 1000
        Figure(f"a new client connects after {killed}", took, _AFTER_KILL).tell(fetched.errors)
        since = time.monotonic()
        product.relays[number] = product.start_relay(number)
        product.relays[number].wait_for_line("is ready on", 60)
        poll(lambda: self._parked() > before, 40, lambda: "the agent has not parked again")
        took = time.monotonic() - since
        Figure("the agent has parked at a relay that was started anew", took, 30.0).tell("")

    def server_rebooted(self, *, strict: bool) -> None:
        """Connections that wait at a relay are dead, and nobody knows: others take their place."""
        router = self._product.server_site.outermost.namespace
        if strict:
            router.sysctl({"net.netfilter.nf_conntrack_tcp_loose": 0})
            router.nft(STRICT)
        self._product.server_site.reboot()
        since = time.monotonic()
        tries = 0
        while True:
            tries += 1
            fetched = self._get("--paths", "relay")
            took = time.monotonic() - since
            if fetched.status == 0 and fetched.digest == self._small:
                break
            if took > _AFTER_REBOOT:
                raise LabError(f"no way to the server: {fetched.errors}")
        what = (
            f"a client connects by a relay after the server's router was rebooted ({tries} tries)"
        )
        Figure(what, took, _AFTER_REBOOT).tell(fetched.errors)

    def mediator_killed(self) -> None:
        """Who remembers a relay needs no mediator."""
        assert self._product.mediator is not None
        self._product.mediator.kill()
        took = self._fetch("relay").report["ms"]["accepted"] / 1000
        Figure("a client connects without a mediator", took, _AFTER_KILL).tell("")

    def mediator_restarted(self) -> None:
        """Before the agent is back at a restarted mediator, a client is connected if that mediator can
        show that the server was not revoked, and refused if it has lost what it knew."""
        product = self._product
        product.server_site.router.nft(_AWAY)
        kept, product.state = product.state, product.files / "lost"
        product.start_mediator()
        for _ in range(_TRIES):  # the relay may be faster than a busy mediator
            fetched = self._get()
            if fetched.status:
                break
        if fetched.status != 1 or "has no revocation list" not in fetched.errors:
            raise LabError(f"not refused by a mediator that has forgotten: {fetched}")
        product.state = kept
        assert product.mediator is not None
        product.mediator.kill()
        product.start_mediator()
        took = self._fetch("relay").report["ms"]["accepted"] / 1000
        assert product.mediator is not None
        if "registered from" in product.mediator.output():
            raise LabError("the agent was back before the client")
        what = "a client connects before the agent is back at a restarted mediator"
        Figure(what, took, _AFTER_KILL).tell("")

    def _get(
        self, *options: str, host: Host | None = None, credentials: Path | None = None
    ) -> Fetched:
        return self._product.fetch(SMALL, *options, host=host, credentials=credentials)

    def _fetch(
        self, path: str, host: Host | None = None, credentials: Path | None = None
    ) -> Fetched:
        """Fetch something small by the path that it has to take."""
        fetched = self._get(host=host, credentials=credentials)
        if fetched.status or fetched.digest != self._small or fetched.report["path"] != path:
            raise LabError(f"not well, and by {path}: {fetched}")
        return fetched

    def _forwarded(self) -> None:
        """Fetch it over the forwarding."""
        script = f"curl -sf -m 15 http://127.0.0.1:{PORT}/{SMALL} | sha256sum"
        done = self._product.client_host.run(["sh", "-c", script])
        if done.stdout.split()[0] != self._small:
            assert self._product.forwarding is not None
            raise LabError(f"not forwarded: {self._product.forwarding.output()}")

    def _used(self) -> int:
        """Find the relay that the client's connections go over."""

        def used() -> list[int]:
            return [number for number in range(2) if self._connections(RELAY_PORT + number)]

        poll(lambda: len(used()) == 1, 20, lambda: f"relays in use: {used()}")
        return used()[0]

    def _connections(self, port: int) -> int:
        """Count the client's at a port of the mediator's host."""
        wan = self._product.client_site.wan
        done = self._lab.mediator.run(
            ["ss", "-Htn", "state", "established", f"( sport = :{port} and dst = {wan} )"]
        )
        return len(done.stdout.splitlines())

    def _parked(self) -> int:
        assert self._product.agent is not None
        return self._product.agent.output().count(PARKED)
