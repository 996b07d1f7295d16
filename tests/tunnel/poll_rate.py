"""How fast short polls are through a real Squid: ``python -m tests.tunnel.poll_rate [MILLISECONDS]``.

Needs root: builds two namespaces with that round trip between them (60 ms by default).  The proxy
stands beside the client, as in most offices, and then beside the server.  Short answers come over TCP
slow start: each request through Squid is a connection of its own to the server.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react

from tests.lab.links import DelayedLink
from tests.lab.namespaces import Namespace, new_prefix
from tests.lab.processes import Process
from tests.tunnel.proxy_processes import HOST, Squid
from wavesync.tunnel.front import FrontFactory
from wavesync.tunnel.methods import Place, open_tunnel
from wavesync.tunnel.server import TunnelServer

__all__ = ["ECHOES", "SIZE", "Measured", "measure"]

ECHOES = 100
SIZE = 10_000_000
_NEAR, _FAR = "10.77.0.1", "10.77.0.2"
_PORT, _PROXY_PORT = 3355, 3128
_TIMEOUT = 30.0


class _Service(Protocol):
    """Does what the first line says: ``echo``, ``take SIZE`` or ``give SIZE``."""

    def __init__(self) -> None:
        self._head = b""
        self._left: int | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._left is None:
            self._head += data
            if b"\n" not in self._head:
                return
            line, _, data = self._head.partition(b"\n")
            word, _, size = line.decode().partition(" ")
            self._left = int(size or 0)
            if word == "give":
                assert self.transport is not None
                self.transport.write(bytes(self._left))
        assert self.transport is not None
        if not self._left:
            self.transport.write(data)
        else:
            self._left -= len(data)
            if not self._left:
                self.transport.write(b".")


class _Asker(Protocol):
    """Waits for bytes."""

    def __init__(self) -> None:
        self._wanted = 0
        self._waiting: Deferred[None] | None = None

    def wait(self, size: int) -> Deferred[None]:
        """Fires once so many more have come."""
        self._wanted += size
        self._waiting = Deferred()
        return self._waiting

    def send(self, data: bytes) -> None:
        """Send."""
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self._wanted -= len(data)
        waiting = self._waiting
        if self._wanted <= 0 and waiting is not None:
            self._waiting = None
            waiting.callback(None)


async def _ask(reactor: object, proxy: str, port: int) -> None:
    """Measure through the proxy, and print the figures as JSON."""
    authority = f"{_FAR}:{_PORT}"
    place = Place(authority, tls=False, prefix=f"http://{authority}")
    dial = TCP4ClientEndpoint(reactor, proxy, port)
    figures: dict[str, float] = {}

    async def opened() -> _Asker:
        factory = Factory.forProtocol(_Asker)
        random = os.urandom
        began = time.monotonic()
        found = await open_tunnel(
            reactor,  # type: ignore[arg-type]
            "poll",
            place,
            dial,
            factory,
            timeout=_TIMEOUT,
            random=random,
        )
        figures["open_ms"] = 1000 * (time.monotonic() - began)
        assert isinstance(found, _Asker)
        return found

    asker = await opened()
    asker.send(b"echo\n")
    times = []
    for _ in range(ECHOES):
        began = time.monotonic()
        waiting = asker.wait(200)
        asker.send(bytes(200))
        await waiting
        times.append(1000 * (time.monotonic() - began))
    figures["echo_p50_ms"] = statistics.median(times)
    figures["echo_max_ms"] = max(times)
    for word, up, down in (("take", SIZE, 1), ("give", 0, SIZE)):
        asker = await opened()
        began = time.monotonic()
        waiting = asker.wait(down)
        asker.send(b"%s %d\n" % (word.encode(), SIZE) + bytes(up))
        await waiting
        figures[f"{word}_mbit_s"] = 8e-6 * SIZE / (time.monotonic() - began)
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


def _serve(reactor: object, ready: str) -> Deferred[None]:
    server = TunnelServer(Factory.forProtocol(_Service), reactor)  # type: ignore[arg-type]
    reactor.listenTCP(_PORT, FrontFactory(server, reactor))  # type: ignore[arg-type, attr-defined]
    print(ready, flush=True)
    return Deferred()


class _OpenSquid(Squid):
    """One that listens to others, too."""

    def __init__(self) -> None:
        super().__init__(connect=False)
        self.port = _PROXY_PORT

    def settings(self) -> str:
        return super().settings().replace(f"http_port {HOST}:", "http_port 0.0.0.0:")


def _inside(arguments: list[str]) -> None:
    """Be one of the processes in a namespace."""
    what, proxy = arguments
    if what == "proxy":
        with _OpenSquid():
            print("ready", flush=True)
            while True:
                time.sleep(3600)
    elif what == "server":
        react(_serve, ("ready",))
    else:
        react(lambda reactor: Deferred.fromCoroutine(_ask(reactor, proxy, _PROXY_PORT)))


class Measured(dict[str, dict[str, float]]):
    """Figures, by where the proxy stands."""


def measure(round_trip: float) -> Measured:
    """Measure with that round trip, in seconds."""
    figures = Measured()
    prefix = new_prefix()
    python = [sys.executable, "-m", "tests.tunnel.poll_rate"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # Squid becomes somebody else
        near, far = Namespace(f"{prefix}-near"), Namespace(f"{prefix}-far")
        processes: list[Process] = []
        try:
            link = DelayedLink(
                near, "wire", far, "wire", delay=round_trip / 2, loss=0.0, log=directory / "link"
            )
            near.ip(f"addr add {_NEAR}/24 dev wire")
            far.ip(f"addr add {_FAR}/24 dev wire")

            def start(where: Namespace, what: str, proxy: str) -> Process:
                process = Process(
                    where, what, [*python, what, proxy], directory / what, env={"TMPDIR": name}
                )
                processes.append(process)
                return process

            start(far, "server", "-").wait_for_line("^ready$")
            for place, where, proxy in (("near", near, _NEAR), ("far", far, _FAR)):
                squid = start(where, "proxy", proxy)
                squid.wait_for_line("^ready$")
                client = start(near, "client", proxy)
                figures[place] = json.loads(client.wait_for_line(r"^\{.*\}$", 300.0)[0])
                squid.kill()
            link.close()
        finally:
            for process in processes:
                process.kill()
            near.delete()
            far.delete()
    return figures


def _main(arguments: list[str]) -> None:
    if len(arguments) == 2:
        _inside(arguments)
        return
    round_trip = float(arguments[0]) if arguments else 60.0
    for place, figures in measure(round_trip / 1000).items():
        words = ", ".join(f"{name} {value}" for name, value in figures.items())
        print(f"round trip {round_trip:g} ms, Squid {place}: {words}")


if __name__ == "__main__":
    _main(sys.argv[1:])
