"""wavesync itself in a laboratory: mediator in the core, agent on one site, client on the other."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.commands import Completed
from tests.lab.counters import Counts
from tests.lab.hosts import Host
from tests.lab.processes import Process, poll
from tests.lab.services import start_nginx
from tests.lab.topology import MEDIATOR_NAME, Lab, Site
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials

__all__ = [
    "HTTP_PORT",
    "MEDIATOR_PORT",
    "PARKED",
    "RELAY_PORT",
    "WEB",
    "Fetched",
    "Product",
    "twist",
]

WEB = "web"
"""The service that a web server stands behind."""

RELAY_PORT = 3356
"""Where the first relay listens; the second one beside it, and so on."""

MEDIATOR_PORT = 3345
"""Where the mediator listens."""

HTTP_PORT = 3355
"""Where it takes tunnels."""

PARKED = "parked at the relay"
"""What an agent says when it has parked at a relay where it was not."""

_START_TIMEOUT = 60.0  # seconds: Python takes its time where much else runs
_REGISTERED = r"registered with"
_MAPPED = r"sees this server's UDP port"
_RELAY = """
name = "{name}"
listen = ["*:{port}"]
"""
_REQUEST = "GET /{name} HTTP/1.0\r\nHost: lab\r\n\r\n"
_FETCH = """
import hashlib, subprocess, sys
wavesync, request = sys.argv[1], sys.argv[2].encode()
done = subprocess.run([wavesync, *sys.argv[3:]], input=request, stdout=subprocess.PIPE)
body = done.stdout.partition(b"\\r\\n\\r\\n")[2]
print(done.returncode, len(body), hashlib.sha256(body).hexdigest())
"""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a client fetched.

    :ivar status: exit status of the command.
    :ivar size: bytes of the body.
    :ivar digest: SHA-256 of the body.
    :ivar report: the connect's report; empty when there is none.
    :ivar errors: what the command wrote to standard error.
    """

    status: int
    size: int
    digest: str
    report: dict[str, Any]
    errors: str


class Product:
    """Mediator, agent and client credentials of one system in a laboratory.

    :param client: the client's site; the agent is on the other one.
    :param hosts: the client's and the agent's host; the first of each site by default.
    :param services: what the agent offers besides a web server: name to endpoint.
    :param relays: how many relays there are on the mediator's host, which tells agents of them.
    :param alternate: whether the mediator shows how NATs behave, from a second IPv4 address (RFC 5780).
    :ivar relays: those that have been started.
    :ivar state: where a mediator that is started keeps what it has to know after a restart.
    :ivar environments: variables for the processes of ``mediator``, ``agent`` and ``client``.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        client: Site | None = None,
        hosts: tuple[Host, Host] | None = None,
        services: Mapping[str, str] | None = None,
        relays: int = 0,
        alternate: bool = False,
    ) -> None:
        self.lab = lab
        self.relays: list[Process] = []
        self._relays = relays
        self._alternate = alternate
        self.client_site = client or lab.a
        self.server_site = lab.b if self.client_site is lab.a else lab.a
        self.client_host, self.server_host = hosts or (
            self.client_site.host,
            self.server_site.host,
        )
        self.files = lab.directory / f"product-{self.client_host.name}"
        self.files.mkdir(exist_ok=True)
        self.system = SystemCredentials.create((MEDIATOR_NAME,))
        now = time.time()
        self.server = self.system.add_server(now=now)
        self.client = self.system.add_client("lab", now=now)
        self.server_file = self.save(self.server, "server.pem")
        self.client_file = self.save(self.client, "client.pem")
        self.www = self.files / "www"
        self.www.mkdir()
        self.services = {WEB: "tcp:127.0.0.1:8080", **(services or {})}
        self.state = self.files / "state"
        self.environments: dict[str, Mapping[str, str]] = {}
        self.mediator: Process | None = None
        self.agent: Process | None = None
        self.forwarding: Process | None = None

    def save(self, credentials: Credentials, name: str) -> Path:
        """Write a credentials file."""
        path = self.files / name
        credentials.save(path)
        return path

    def payload(self, name: str, size: int) -> str:
        """Put random bytes where the web server has its files.

        :returns: their SHA-256.
        """
        data = os.urandom(size)
        (self.www / name).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def start(self) -> None:
        """Start web server, relays, mediator and agent, and wait until the agent can be found."""
        self.start_web()
        self.relays = [self.start_relay(number) for number in range(self._relays)]
        self.start_mediator()
        for relay in self.relays:
            relay.wait_for_line("is ready on", _START_TIMEOUT)
        self.start_agent(udp=self.server_site.kind.udp)

    def start_web(self) -> None:
        """Start the web server beside the agent."""
        start_nginx(self.server_host, self.www)

    def start_mediator(self) -> None:
        """Start the mediator and wait until it listens."""
        settings = self.files / "mediator.toml"
        urls = [f"http://{MEDIATOR_NAME}:{RELAY_PORT + number}" for number in range(self._relays)]
        lines = [f'name = "{MEDIATOR_NAME}"', f'listen = ["*:{MEDIATOR_PORT}"]', f"relays = {urls}"]
        lines += [f'state = "{self.state}"']
        if self._alternate:
            first, second = self.lab.mediator.addresses[:2]
            lines[1] = f'listen = ["{first}:{MEDIATOR_PORT}"]'
            lines.append(f'alternate = ["{second}:{MEDIATOR_PORT + 1}"]')
        settings.write_text("\n".join(lines) + "\n")
        self.mediator = self.lab.mediator.start(
            twist("wavesync-mediator", settings),
            name="mediator",
            env=self.environments.get("mediator"),
        )
        self.mediator.wait_for_line("is ready on", _START_TIMEOUT)

    def start_relay(self, number: int = 0) -> Process:
        """Start one of the relays; it is not ready yet."""
        settings = self.files / f"relay-{number}.toml"
        settings.write_text(_RELAY.format(name=MEDIATOR_NAME, port=RELAY_PORT + number))
        return self.lab.mediator.start(twist("wavesync-relay", settings), name=f"relay{number}")

    def start_agent(self, *, udp: bool = True) -> None:
        """Start the agent and wait until the mediator knows it, and it has parked at all relays.

        :param udp: wait for its UDP mapping, too.
        """
        settings = self.files / "agent.toml"
        lines = [f'credentials = "{self.server_file}"', "[services]"]
        lines += [f'{name} = "{endpoint}"' for name, endpoint in self.services.items()]
        settings.write_text("\n".join(lines) + "\n")
        self.agent = self.agent_on(self.server_host)
        self.agent.wait_for_line(_MAPPED if udp else _REGISTERED, _START_TIMEOUT)
        for number in range(self._relays):
            self.agent.wait_for_line(f"{PARKED} .*:{RELAY_PORT + number},", _START_TIMEOUT)

    def agent_on(self, host: Host) -> Process:
        """Start another agent with the very same settings and credentials, on whatever host."""
        settings = self.files / "agent.toml"
        return host.start(
            twist("wavesync-agent", settings), name="agent", env=self.environments.get("agent")
        )

    def wait_for_agent(self) -> None:
        """Wait until the agent is registered with a mediator that was started anew."""
        assert self.mediator is not None
        self.mediator.wait_for_line(f"{self.server.server}.*registered from", timeout=40)

    def forward(self, service: str, port: int) -> Path:
        """Start ``wavesync forward`` on the client's host.

        :returns: the file that gets a line of JSON for each connection.
        """
        report = self.files / f"forward-{port}.jsonl"
        command = self.command(
            "forward", "--report", str(report), str(self.server.target), service, str(port)
        )
        self.forwarding = self.client_host.start(
            command, name="forward", env=self.environments.get("client")
        )
        self.forwarding.wait_for_line("^listening on", _START_TIMEOUT)
        return report

    def reports(self, report: Path, count: int) -> list[dict[str, Any]]:
        """Wait until *count* connections have ended, and give what was told of all."""

        def lines() -> list[str]:
            return report.read_text().splitlines() if report.exists() else []

        poll(lambda: len(lines()) >= count, 60, lambda: f"{len(lines())} of {count} reports")
        return [json.loads(line) for line in lines()]

    def command(self, *arguments: str, credentials: Path | None = None) -> list[str]:
        """A ``wavesync`` command line with the client's credentials."""
        subcommand, *rest = arguments
        return [
            *(_wavesync(), subcommand, "--credentials", str(credentials or self.client_file)),
            *rest,
        ]

    def wavesync(
        self, *arguments: str, credentials: Path | None = None, stdin: str = "", timeout: float = 40
    ) -> Completed:
        """Run a ``wavesync`` command on the client's host, whatever its exit status."""
        command = self.command(*arguments, credentials=credentials)
        env = self.environments.get("client")
        return self.client_host.run(command, stdin=stdin, timeout=timeout, check=False, env=env)

    def fetch(
        self,
        name: str,
        *options: str,
        target: str | None = None,
        service: str = WEB,
        credentials: Path | None = None,
        timeout: float = 60,
        host: Host | None = None,
    ) -> Fetched:
        """Fetch a file through ``wavesync connect``, on the client's host or another one."""
        report = self.files / f"report-{time.monotonic_ns()}.json"
        command = self.command(
            "connect",
            *("--report", str(report), *options),
            *(target or str(self.server.target), service),
            credentials=credentials,
        )
        done = (host or self.client_host).run(
            [sys.executable, "-c", _FETCH, command[0], _REQUEST.format(name=name), *command[1:]],
            timeout=timeout,
            env=self.environments.get("client"),
        )
        status, size, digest = done.stdout.split()
        told = json.loads(report.read_text()) if report.exists() else {}
        return Fetched(int(status), int(size), digest, told, done.stderr)

    def counts(self) -> tuple[Counts, Counts]:
        """What the client's and the server's router have passed so far."""
        return self.client_site.counts(), self.server_site.counts()


def _wavesync() -> str:
    """The command, beside the interpreter that runs this."""
    return str(Path(sys.executable).with_name("wavesync"))


def twist(plugin: str, settings: Path) -> Sequence[str]:
    """Give the command line of a mediator, relay or agent with these settings."""
    command = [sys.executable, "-m", "twisted", "--log-format", "text"]
    return [*command, plugin, "--config", str(settings)]
