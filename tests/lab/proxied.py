"""The product where HTTP is the only way out: mediator and relay at ports 80 and 443, proxies, echoes."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.commands import LabError
from tests.lab.fronts import BEHIND, start_front
from tests.lab.hosts import Host
from tests.lab.processes import Process
from tests.lab.product import PARKED, Product, twist
from tests.lab.relayed import DIGEST_PORT, serve_digest
from tests.lab.topology import MEDIATOR_NAME, RELAY_NAME, Lab
from tests.signalling.authority import Authority
from wavesync.identity.system import SystemCredentials

__all__ = ["MEDIATORS", "RELAYS", "Echoes", "Moved", "ProxiedProduct", "way_of"]

MEDIATORS = (MEDIATOR_NAME, f"http://{MEDIATOR_NAME}", f"https://{MEDIATOR_NAME}")
"""How credentials name the mediator: all that it has."""

RELAYS = (f"http://{RELAY_NAME}", f"https://{RELAY_NAME}")
"""How the mediator names the relay, which is the same by both."""

_START = 60.0
_PATIENCE = 120.0
_DIGEST, _ECHO, _FILE = "digest", "echo", "file"
_ECHO_PORT, _FILE_PORT = 8092, 8093
_SERVER = """
import asyncio, pathlib, sys
async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()
async def give(reader, writer):
    writer.write(pathlib.Path(sys.argv[1]).read_bytes())
    await writer.drain()
    writer.close()
async def main():
    await asyncio.start_server(give, "127.0.0.1", int(sys.argv[2]))
    server = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[3]))
    await server.serve_forever()
asyncio.run(main())
"""
_ECHOES = """
import json, os, subprocess, sys, time
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
times = []
for _ in range(int(sys.argv[1])):
    data, came, began = os.urandom(200), b"", time.monotonic()
    process.stdin.write(data)
    while len(came) < len(data):
        more = process.stdout.read(len(data) - len(came))
        if not more:
            sys.exit(1)
        came += more
    assert came == data
    times.append(time.monotonic() - began)
process.stdin.close()
process.wait()
print(json.dumps(times))
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """A file that has gone through, undamaged.

    :ivar seconds: with the start of the command.
    :ivar way: how the client's connection to the relay went, as its report says.
    """

    seconds: float
    way: str


@dataclass(frozen=True, slots=True)
class Echoes:
    """Times of echoes of 200 bytes, in seconds.

    :ivar first: with the connect, and the start of the command.
    :ivar median: of the others.
    """

    first: float
    median: float


class ProxiedProduct(Product):
    """A product whose mediator and relay each have an address with the ports 80 and 443.

    :param hosts: the client's and the agent's.
    :param front: one of `tests.lab.fronts.FRONTS`.
    :param mediators: how credentials name the mediator.
    :param relays: how the mediator names the relay.
    :param client: variables for the client's programs, such as its proxy's.
    :param agent: the same for the agent.
    """

    def __init__(
        self,
        lab: Lab,
        hosts: tuple[Host, Host],
        *,
        front: str = "",
        mediators: tuple[str, ...] = MEDIATORS,
        relays: tuple[str, ...] = RELAYS,
        client: Mapping[str, str] | None = None,
        agent: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(lab, hosts=hosts)
        self.authority = Authority("the authority of this test")
        self.system = SystemCredentials.create(mediators)
        self.server = self.system.add_server(now=time.time())
        self.client = self.system.add_client("lab", now=time.time())
        for credentials, path in ((self.server, "server.pem"), (self.client, "client.pem")):
            (self.files / path).unlink()
            self.save(credentials, path)
        self._front = front
        self._urls = relays
        self._certificate = self.files / "certificate.pem"
        self._certificate.write_bytes(self.authority.certify(MEDIATOR_NAME, RELAY_NAME))
        self.trust(self.authority)
        self.environments["client"] = {**self.environments["client"], **(client or {})}
        self.environments["agent"] = {**self.environments["agent"], **(agent or {})}
        self.services |= {
            _DIGEST: f"tcp:127.0.0.1:{DIGEST_PORT}",
            _ECHO: f"tcp:127.0.0.1:{_ECHO_PORT}",
            _FILE: f"tcp:127.0.0.1:{_FILE_PORT}",
        }

    def trust(self, *authorities: Authority) -> None:
        """Have client and agent trust these, and nobody else, when they are started."""
        trusted = self.files / f"trusted-{time.monotonic_ns()}.pem"
        trusted.write_bytes(b"".join(each.certificate for each in authorities))
        for who in ("client", "agent"):
            known = self.environments.get(who, {})
            self.environments[who] = {**known, "SSL_CERT_FILE": str(trusted)}

    def serve(self) -> None:
        """Start all but the agent."""
        serve_digest(self.server_host)
        ports = str(_FILE_PORT), str(_ECHO_PORT)
        echo = self.server_host.start(
            [sys.executable, "-c", _SERVER, str(self.files / "file"), *ports], name="echo"
        )
        self.relays = [self.start_relay()]
        self.start_mediator()
        self.relays[0].wait_for_line("is ready on", _START)
        if self._front:
            start_front(self._front, self.lab.mediator, self._certificate)
        echo.wait_for_port(_ECHO_PORT)

    def start(self) -> None:
        """Start everything, and wait until the agent is parked at the relay."""
        self.serve()
        self.start_agent(udp=False)
        self.parked()

    def parked(self) -> None:
        """Wait until the agent has parked at the relay, by each of its URLs that it can reach."""
        assert self.agent is not None
        self.agent.wait_for_line(f"{PARKED} .*{RELAY_NAME}", _START)

    def start_mediator(self) -> None:
        """Start the mediator, and wait until it listens."""
        lines = [f'name = "{MEDIATOR_NAME}"', f"relays = {list(self._urls)}"]
        lines += [f'state = "{self.state}"', *self._ports("http_listen", "https_listen", 0)]
        settings = self.files / "mediator.toml"
        settings.write_text("\n".join(lines) + "\n")
        self.mediator = self.lab.mediator.start(
            twist("wavesync-mediator", settings), name="mediator"
        )
        self.mediator.wait_for_line("is ready on", _START)

    def start_relay(self, number: int = 0) -> Process:
        """Start the relay; it is not ready yet."""
        settings = self.files / "relay.toml"
        lines = [f'name = "{RELAY_NAME}"', *self._ports("listen", "tls_listen", 1)]
        settings.write_text("\n".join(lines) + "\n")
        return self.lab.mediator.start(twist("wavesync-relay", settings), name="relay")

    def _ports(self, plain: str, secured: str, number: int) -> list[str]:
        """Say where to listen: at an address of its own, or behind the front."""
        if self._front:
            port = list(BEHIND.values())[number]
            return [f'{plain} = ["127.0.0.1:{port}"]']
        address = self.lab.mediator.addresses[number]
        lines = [f'{plain} = ["{address}:80"]', f'{secured} = ["{address}:443"]']
        return [*lines, f'certificate = "{self._certificate}"', f'key = "{self._certificate}"']

    def download(self, size: int) -> Moved:
        """Move a file from the server to the client, through the relay.

        :raises LabError: it was damaged, or went another way.
        """
        data = os.urandom(size)
        (self.files / "file").write_bytes(data)
        moved = self._moved(_FILE, "/dev/null", "| sha256sum", hashlib.sha256(data).hexdigest())
        return moved

    def upload(self, size: int) -> Moved:
        """The same from the client to the server."""
        data = os.urandom(size)
        file = self.files / "up"
        file.write_bytes(data)
        return self._moved(_DIGEST, str(file), "", hashlib.sha256(data).hexdigest())

    def _moved(self, service: str, source: str, behind: str, digest: str) -> Moved:
        report = self.files / f"report-{time.monotonic_ns()}.json"
        target = str(self.server.target)
        command = self.command("connect", "--report", str(report), target, service)
        began = time.monotonic()
        done = self.client_host.run(
            ["sh", "-c", f"{shlex.join(command)} < {source} {behind}"],
            timeout=_PATIENCE,
            env=self.environments["client"],
            check=False,
        )
        took = time.monotonic() - began
        if done.stdout.split()[:1] != [digest]:
            raise LabError(f"damaged or not there: {done}")
        return Moved(took, way_of(json.loads(report.read_text())))

    def echoes(self, count: int) -> Echoes:
        """Send 200 bytes, wait until they are back, and so on."""
        command = self.command("connect", str(self.server.target), _ECHO)
        done = self.client_host.run(
            [sys.executable, "-c", _ECHOES, str(count), *command],
            timeout=_PATIENCE,
            env=self.environments["client"],
        )
        first, *others = json.loads(done.stdout)
        return Echoes(first, sorted(others)[len(others) // 2])


def way_of(report: Mapping[str, Any]) -> str:
    """Tell by which way the relay was reached.

    :raises LabError: when it was not by a relay.
    """
    ways = [each["way"] for each in report["candidates"] if each["result"] == "won"]
    if report["path"] != "relay" or not ways:
        raise LabError(f"not by the relay: {report}")
    return str(ways[0])
