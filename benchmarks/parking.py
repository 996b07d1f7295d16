"""Many agents parked at one relay, each over sockets of its own, through the relay's restart."""

import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from benchmarks.relay_peers import cpu_seconds, free_port
from wavesync.agent.parking import MIN_IDLE, STEADY, Parking
from wavesync.cli.common import run_in_reactor
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import IReactor
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_endpoint import relay_endpoint
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["measure"]

_HOST = "127.0.0.1"
_AGENTS = 1000
_LIMIT = 120.0
"""Seconds after which what has not happened never will."""
_DESCRIPTORS = 20_000
# All come from one address here, which has to be allowed as much as a thousand.
_SETTINGS = """
name = "{host}"
listen = ["{host}:{port}"]
[metrics]
listen = ""
[limits]
connections_per_host = 20000
heads = 20000
check_rate = 1000000.0
check_burst = 1000000.0
"""


@implementer(IStreamClientEndpoint)
class _Dial:
    """Leads to the relay, and notes when a connection stood."""

    def __init__(self, reactor: IReactor, relay: Relay, made: list[float]) -> None:
        self._endpoint = relay_endpoint(reactor, relay)
        self._made = made

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial (IStreamClientEndpoint)."""
        dialling: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return dialling.addCallback(self._note)

    def _note(self, protocol: IProtocol) -> IProtocol:
        self._made.append(time.monotonic())
        return protocol


class _Trial:
    """A relay in a process of its own, and agents in this one."""

    def __init__(self, reactor: IReactor, agents: int, directory: Path) -> None:
        self._reactor = reactor
        self._directory = directory
        self._relay = Relay(_HOST, free_port(), False)
        self._made: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        system = SystemCredentials.create(())
        dial = _Dial(reactor, self._relay, self._made)
        self._parkings = [
            Parking(
                reactor,
                self._relay,
                dial,
                partial(self._request, system.add_server(now=time.time())),
                lambda client: None,
                lambda: None,
            )
            for _ in range(agents)
        ]

    async def all(self, signals: Iterable[signal.Signals]) -> dict[str, Any]:
        """Park, and end the relay by each signal once.

        :return: the figures.
        """
        found: dict[str, Any] = {}
        try:
            began = await self._start_relay()
            for parking in self._parkings:
                parking.start()
            found["first"] = await self._parked(began)
            for number in signals:
                found[number.name] = await self._restart(number)
            assert self._process is not None
            found["relay_cpu_s"] = round(cpu_seconds(self._process.pid), 2)
        finally:
            for parking in self._parkings:
                parking.stop()
            self.close()
        return found

    def close(self) -> None:
        """End the relay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def _restart(self, number: signal.Signals) -> dict[str, float]:
        # A relay that goes away sooner counts as one that never worked.
        await deferLater(self._reactor, STEADY + 0.5)
        assert self._process is not None
        gone = time.monotonic()
        self._process.send_signal(number)
        await self._until(lambda: self._process is not None and self._process.poll() is not None)
        await self._until(lambda: not any(parking.idle for parking in self._parkings))
        self._made.clear()
        began = await self._start_relay()
        return {"away_s": round(began - gone, 2), **await self._parked(began)}

    async def _start_relay(self) -> float:
        """Start it.

        :return: when it was ready.
        """
        self._starts += 1
        settings = self._directory / "relay.toml"
        settings.write_text(_SETTINGS.format(host=_HOST, port=self._relay.port))
        log = self._directory / f"relay-{self._starts}.log"
        command = [sys.executable, "-m", "twisted", "--log-format=text"]
        command += ["wavesync-relay", "--config", str(settings)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        await self._until(lambda: "is ready on" in log.read_text())
        return time.monotonic()

    async def _parked(self, began: float) -> dict[str, float]:
        """Wait until all have parked; tell how long that took, and how many came in one second."""
        await self._until(lambda: all(parking.idle >= MIN_IDLE for parking in self._parkings))
        took = time.monotonic() - began
        return {
            "all_parked_s": round(took, 2),
            "connections": len(self._made),
            "peak_per_s": _peak(sorted(self._made)),
        }

    async def _until(self, what: Any) -> None:
        end = time.monotonic() + _LIMIT
        while not what():
            if time.monotonic() > end:
                raise SystemExit(f"not within {_LIMIT:g} s")
            await deferLater(self._reactor, 0.02)

    def _request(self, credentials: Credentials, nonce: bytes) -> bytes:
        request = RelayRequest(RequestKind.PARK, credentials.target, secrets.token_hex(16))
        return request.encode(self._relay, Prover(credentials, _HOST, time.time(), nonce))


def _peak(times: list[float]) -> int:
    """Count what falls into the fullest second."""
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last + 1 - first)
    return most


def measure(agents: int = _AGENTS, *, quick: bool = False) -> dict[str, Any]:
    """Park agents at a relay, seven connections each, and restart it.

    :param agents: how many.
    :param quick: only kill it, and do not end it in good order as well.
    :return: the figures.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    signals = [signal.SIGKILL] if quick else [signal.SIGKILL, signal.SIGTERM]
    found: dict[str, Any] = {"agents": agents}

    with tempfile.TemporaryDirectory() as directory:

        async def everything(reactor: IReactor) -> int:
            found.update(await _Trial(reactor, agents, Path(directory)).all(signals))
            return 0

        if run_in_reactor(everything):
            raise SystemExit("it was interrupted")
    return found
