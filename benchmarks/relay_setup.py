"""Relayed sessions set up in a second of the relay's CPU time: ours against HAProxy's TCP mode, interleaved.

Ours: a client connects and asks with a signed request (its certificate is known already), the server
answers on a connection that it has parked, and a byte goes each way; the connections were parked
before, and in the other figure parking them is counted as well.  HAProxy: a client connects, HAProxy
connects on, and a byte goes each way.
"""

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.figures import Bar, Row, compared, line
from benchmarks.machine import all_descriptors
from benchmarks.programs import Broken, free_port
from benchmarks.relay_peers import dialled, started
from benchmarks.samples import Sample, interleave
from wavesync.identity.credentials import Credentials
from wavesync.identity.system import SystemCredentials
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["measure"]

_HOST = "127.0.0.1"
_AT_ONCE = 16
_SERVERS = 25
_EACH = 60
_CLIENTS = 10
_SESSIONS = _SERVERS * _EACH
_WORD = b"x"
_BAR = Bar(0.3, 0.6)
_SETTINGS = """
name = "{host}"
listen = ["{host}:{port}"]
idle = 64
keep_alive = 600.0
[metrics]
listen = ""
[limits]
connections_per_host = 20000
heads = 20000
pairs_per_system = 20000
pairs_per_client = 20000
pairs_per_address = 20000
check_rate = 1000000000.0
check_burst = 1000000000.0
"""


class _Parked:
    """All connections that servers have parked at one relay."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._relay = Relay(_HOST, port, False)
        self._system = SystemCredentials.create(())
        self._clients = [
            self._system.add_client(f"client{n}", now=time.time()) for n in range(_CLIENTS)
        ]
        self._servers = [self._system.add_server(now=time.time()) for _ in range(_SERVERS)]
        self._parks: list[bytes] = []
        self._connects: list[bytes] = []
        self._idle: dict[int, socket.socket] = {}
        self._poll = select.epoll()

    def sign(self) -> None:
        """Make all requests: they are good for half a minute."""
        for n in range(_SESSIONS):
            server = self._servers[n % _SERVERS]
            self._parks.append(self._request(RequestKind.PARK, server, server))
            client = self._clients[n % _CLIENTS]
            self._connects.append(self._request(RequestKind.CONNECT, server, client))

    def _request(self, kind: RequestKind, server: Credentials, who: Credentials) -> bytes:
        request = RelayRequest(kind, server.target, secrets.token_hex(16))
        return request.encode(self._relay, Prover(who, _HOST, time.time()))

    def park(self) -> None:
        """Park for all sessions."""
        while self._parks:
            some = []
            for _ in range(min(_AT_ONCE, len(self._parks))):
                end = dialled(self._port)
                end.sendall(self._parks.pop(0))
                some.append(end)
            for end in some:
                said = b""
                while not said.endswith(b"PING\n"):
                    said += _some(end)
                    if not b"HTTP/1.1 101 ".startswith(said[:13]):
                        raise Broken(f"the relay answers {said!r}")
                end.sendall(b"PONG\n")
                self._idle[end.fileno()] = end
                self._poll.register(end, select.EPOLLIN)

    def sessions(self) -> None:
        """Set all of them up, so many at a time, and close them."""
        while self._connects:
            ends: dict[int, socket.socket] = {}
            for _ in range(min(_AT_ONCE, len(self._connects))):
                end = dialled(self._port)
                end.sendall(self._connects.pop(0) + _WORD)
                ends[end.fileno()] = end
            taken: list[socket.socket] = []
            while len(taken) < len(ends):
                taken += self._open()
            for client in ends.values():
                said = b""
                while not said.endswith(b"\r\n\r\n" + _WORD):
                    said += _some(client)
            for end in (*ends.values(), *taken):
                end.close()

    def _open(self) -> list[socket.socket]:
        """Answer on the connections that clients have got."""
        found = []
        for descriptor, _ in self._poll.poll(10.0):
            end = self._idle[descriptor]
            said = _some(end)
            if b"OPEN " not in said:
                continue
            if not said.endswith(_WORD):
                said += _some(end)
            end.sendall(b"READY\n" + _WORD)
            self._poll.unregister(end)
            del self._idle[descriptor]
            found.append(end)
        return found

    def close(self) -> None:
        """Close what is left."""
        for end in self._idle.values():
            end.close()


def cpu_seconds(pid: int) -> float:
    """:return: CPU seconds of a process so far, to the nanosecond: both have but one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _some(end: socket.socket) -> bytes:
    data = end.recv(4096)
    if not data:
        raise Broken("the relay closed a connection")
    return data


@contextlib.contextmanager
def _relay(directory: Path, processor: int) -> Iterator[tuple[int, int]]:
    port = free_port(socket.SOCK_STREAM)
    settings = directory / "relay.toml"
    settings.write_text(_SETTINGS.format(host=_HOST, port=port))
    command = ["taskset", "-c", str(processor), sys.executable, "-m", "twisted"]
    command += ["--log-level=critical", "wavesync-relay", "--config", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        dialled(port).close()
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _ours(directory: Path, processors: list[int]) -> Sample:
    with _relay(directory, processors[-1]) as (pid, port):
        parked = _Parked(port)
        for warm in (True, False):
            parked.sign()
            start = cpu_seconds(pid)
            parked.park()
            between = cpu_seconds(pid)
            parked.sessions()
            end = cpu_seconds(pid)
            if warm:
                continue
        parked.close()
    return {
        "per_cpu_s": _SESSIONS / (end - between),
        "with_parking": _SESSIONS / (end - start),
    }


def _haproxy(directory: Path, processors: list[int]) -> Sample:
    with started("haproxy", directory) as relay:
        assert relay.pid is not None
        os.sched_setaffinity(relay.pid, {processors[-1]})
        for warm in (True, False):
            start = cpu_seconds(relay.pid)
            for _ in range(0, _SESSIONS, _AT_ONCE):
                pairs = [relay.pair() for _ in range(_AT_ONCE)]
                for client, _ in pairs:
                    client.sendall(_WORD)
                for _, server in pairs:
                    _some(server)
                    server.sendall(_WORD)
                for client, _ in pairs:
                    _some(client)
                for client, server in pairs:
                    client.close()
                    server.close()
            used = cpu_seconds(relay.pid) - start
            if warm:
                continue
    count = -(-_SESSIONS // _AT_ONCE) * _AT_ONCE
    return {"per_cpu_s": count / used, "with_parking": count / used}


def measure(runs: int = 5) -> Row:
    """Take the figures.

    :param runs: of each kind, interleaved.
    """
    if shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        raise SystemExit("this benchmark needs Debian's haproxy")
    all_descriptors()
    everywhere = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {everywhere[0]})
    try:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            kinds = {
                "ours": partial(_ours, directory, everywhere),
                "haproxy": partial(_haproxy, directory, everywhere),
            }
            taken = interleave(kinds, runs)
    finally:
        os.sched_setaffinity(0, set(everywhere))
    rows = [
        compared(what, "1/CPU s", name, taken["ours"], taken["haproxy"], _BAR, peer="HAProxy")
        for what, name in (
            ("relayed sessions set up, certificates known", "per_cpu_s"),
            ("the same, with parking the servers' connections", "with_parking"),
        )
    ]
    return line(rows, runs=runs, settings={"sessions": _SESSIONS, "at_once": _AT_ONCE})
