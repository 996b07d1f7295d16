"""Many sites in one laboratory: one mediator, and an agent or a client at each site.

A matrix of hundreds of connects needs every program once only, and connects that wait for their
time to be over do not keep others waiting.  Doctors are forked for each meeting (`tests.lab.nursery`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.commands import LabError
from tests.lab.hosts import Host
from tests.lab.knock import READY
from tests.lab.nursery import Hatched, Nursery
from tests.lab.places import Meeting, Places
from tests.lab.processes import Process, poll
from tests.lab.sites import Site, SiteSettings
from tests.lab.topology import MEDIATOR_NAME, Lab
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials

__all__ = ["Knocker", "Meeting", "Wide"]

_START_TIMEOUT = 60.0
_KNOCK_TIMEOUT = 30.0
_DOCTOR_TIMEOUT = 60.0

#: The clients of a matrix ask more often than people do.
_MEDIATOR = f"""
name = "{MEDIATOR_NAME}"
[limits]
client_rate = 1e6
client_burst = 1e6
target_rate = 1e6
target_burst = 1e6
introductions_per_host = 100000
introductions_per_system = 100000
"""
_RELAY_URL = f"http://{MEDIATOR_NAME}:3356"
_RELAYS = f'relays = ["{_RELAY_URL}"]\n'
_RELAY = f"""
name = "{MEDIATOR_NAME}"
listen = ["*:3356"]
[limits]
check_rate = 1000
check_burst = 10000
"""
_AGENT = 'credentials = "{credentials}"\n[services]\nweb = "tcp:127.0.0.1:8080"\n'


class Knocker:
    """The client at a place: one connect at a time."""

    def __init__(self, process: Process) -> None:
        """
        :param process: a running `tests.lab.knock`.
        """
        self._process = process
        self._lock = threading.Lock()
        self._asked = 0

    def ready(self) -> None:
        """Wait until it takes targets."""
        self._process.wait_for_line(f"^{READY}$", timeout=_START_TIMEOUT)

    def knock(self, target: Target, *, again: bool = False) -> dict[str, Any]:
        """
        Connect once.

        :param again: let a relay take part, and connect a second time a while later.
        :return: the report, with ``seconds``, and with ``again`` if that was wanted.
        :raises LabError: the client ended, or did not come back.
        """
        with self._lock:
            self._asked += 1
            assert self._process.stdin is not None
            line = f"again {target}" if again else str(target)
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
            asked = self._asked
            poll(lambda: len(self._reports()) >= asked, _KNOCK_TIMEOUT, self._process.output)
            report: dict[str, Any] = json.loads(self._reports()[asked - 1])
            return report

    def _reports(self) -> list[str]:
        if not self._process.running:
            raise LabError(f"a client has ended: {self._process.output()}")
        lines = self._process.output().split("\n")[:-1]
        return [line for line in lines if line.startswith("{")]


class Wide:
    """
    A laboratory for meetings, with everything in it running; also a context manager.

    :ivar lab: the laboratory.
    """

    def __init__(
        self,
        meetings: Iterable[Meeting],
        *,
        delay: float = 0.0,
        relay: bool = False,
        doctors: bool = False,
    ) -> None:
        """
        Build it.

        :param meetings: what shall be possible.
        :param delay: one way between each site, or the ISP they share, and the core, in seconds,
            where its settings name none.
        :param relay: have a relay beside the mediator, and all agents park there.
        :param doctors: have doctors at the clients' places, and nobody who knocks; the mediator shows
            them from a second address what routers do (RFC 5780).
        :raises LabError: when it could not be built; nothing is left then.
        """
        self._relay = relay
        self._doctors = doctors
        # The first two sites are nobody's: they are there because a laboratory has them.
        self.lab = Lab(SiteSettings("none", ipv6=True), "none")
        self._files = self.lab.directory / "wide"
        self._files.mkdir()
        self._system = SystemCredentials.create((MEDIATOR_NAME,), (_RELAY_URL,) if relay else ())
        self._places = Places(self.lab, delay)
        self._agents: dict[Host, tuple[Target, Process, bool]] = {}
        self._knockers: dict[Host, Knocker] = {}
        self._clients: dict[Host, Path] = {}
        self._hatching = threading.Lock()
        self._serial = 0
        self._nursery = Nursery()
        try:
            self._pairs = {meeting: self._places.hosts(meeting) for meeting in meetings}
            self._start_mediator()
            for client, server in self._pairs.values():
                self._start_agent(server)
                self._start_client(client)
            for _, agent, udp in self._agents.values():
                # Whoever is behind a router that lets UDP pass is seen in some family at least.
                agent.wait_for_line(
                    "sees this server's UDP port" if udp else "registered with",
                    timeout=_START_TIMEOUT,
                )
                if relay:
                    agent.wait_for_line("parked at the relay", timeout=_START_TIMEOUT)
            for knocker in self._knockers.values():
                knocker.ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything and remove the laboratory."""
        self._nursery.close()
        self.lab.close()

    def knock(self, meeting: Meeting, *, relay: bool = False) -> dict[str, Any]:
        """
        Connect once, without a relay.

        :param relay: connect twice, with one.
        :return: the report, with ``seconds``, and with a relay ``again``.
        :raises LabError: the client's program failed.
        """
        client, server = self._pairs[meeting]
        return self._knockers[client].knock(self._agents[server][0], again=relay)

    def doctor(self, meeting: Meeting) -> tuple[int, dict[str, Any]]:
        """
        Run ``wavesync doctor TARGET --json`` at the client's place.

        :return: its exit status, and what it writes.
        :raises LabError: it writes something else, or does not end.
        """
        client, server = self._pairs[meeting]
        argv = ["wavesync", "doctor", "--json"]
        argv += ["--credentials", str(self._clients[client]), str(self._agents[server][0])]
        with self._hatching:
            process = self._start(client, "doctor", *argv)
        poll(lambda: not process.running, _DOCTOR_TIMEOUT, process.output)
        try:
            report: dict[str, Any] = json.loads(process.output())
        except ValueError as error:
            raise LabError(f"a doctor says {process.output()!r}") from error
        return process.status, report

    def sites(self, meeting: Meeting) -> tuple[Site, Site]:
        """Tell at which sites client and server are."""
        client, server = self._pairs[meeting]
        return self._places.site_of(client), self._places.site_of(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_mediator(self) -> None:
        settings = self._files / "mediator.toml"
        first, second, *six = self.lab.mediator.addresses
        listen = ["*:3345"]
        text = _MEDIATOR
        if self._doctors:
            listen = [f"{first}:3345", *(f"[{each}]:3345" for each in six)]
            text = f'alternate = ["{second}:3346"]\n{text}'
        text = f"listen = {json.dumps(listen)}\n{text}"
        settings.write_text((_RELAYS if self._relay else "") + text)
        mediator = self._start(self.lab.mediator, "mediator", *_twist("mediator", settings))
        mediator.wait_for_line("is ready on", timeout=_START_TIMEOUT)
        if self._relay:
            settings = self._files / "relay.toml"
            settings.write_text(_RELAY)
            relay = self._start(self.lab.mediator, "relay", *_twist("relay", settings))
            relay.wait_for_line("is ready on", timeout=_START_TIMEOUT)

    def _start_agent(self, host: Host) -> None:
        if host in self._agents:
            return
        server = self._system.add_server(now=time.time())
        settings = self._files / f"agent-{host.name}.toml"
        settings.write_text(_AGENT.format(credentials=self._save(server)))
        agent = self._start(host, "agent", *_twist("agent", settings))
        self._agents[host] = (server.target, agent, self._places.site_of(host).kind.udp)

    def _start_client(self, host: Host) -> None:
        """Start who knocks there; a doctor only needs credentials, and a directory of its own."""
        if host in self._clients:
            return
        self._serial += 1
        client = self._system.add_client(f"lab{self._serial}", now=time.time())
        self._clients[host] = self._save(client, host.name if self._doctors else "")
        if not self._doctors:
            knock = self._start(host, "knock", "knock", str(self._clients[host]))
            self._knockers[host] = Knocker(knock)

    def _start(self, host: Host, name: str, *argv: str) -> Hatched:
        self._serial += 1
        log = self._files / f"{host.name}-{self._serial}-{name}.log"
        return self._nursery.hatch(host.namespace, name, argv, log)

    def _save(self, credentials: Credentials, directory: str = "") -> Path:
        self._serial += 1
        path = self._files / directory / f"{self._serial}.pem"
        path.parent.mkdir(exist_ok=True)
        credentials.save(path)
        return path


def _twist(service: str, settings: Path) -> list[str]:
    return ["twist", "--log-format", "text", f"wavesync-{service}", "--config", str(settings)]
