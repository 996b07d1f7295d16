"""Pairs both of whose ends stop reading, at a relay in a process of its own: what do they cost it?

::

    python -m tests.abuse stalled [--pairs 200]

The ends are here, so that nothing but the relay's own memory is counted.
"""

import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from os import sysconf
from pathlib import Path

from tests.relay.processes import TwistProcess
from tests.relay.redis_server import HOST, free_port
from tests.signalling.authority import Authority
from wavesync.identity.system import SystemCredentials
from wavesync.relay.pair import MAX_HELD, MAX_HELD_ONE_WAY
from wavesync.relay.pipes import MAX_PIPES
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_lines import Pong, Ready
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["WAYS", "Figures", "StalledRelay", "figure", "most", "report"]

WAYS = {"spliced": ("auto", False), "copied": ("off", False), "TLS": ("auto", True)}
"""How bytes can go through a relay: its setting ``splice``, and whether the legs are TLS."""

_SPLICED = 32 << 10  # what a pair itself takes
_SECURED = 80 << 10  # what two connections over TLS take, whatever goes through them

_BUFFER = 16 << 10
_BLOCK = bytes(512 << 10)
_QUIET = 12
"""Rounds without a byte that could be sent after which all is stuck."""

_SETTINGS = """\
name = "{host}"
listen = ["{host}:{plain}"]
tls_listen = ["{host}:{secured}"]
certificate = "{certificate}"
key = "{certificate}"
splice = "{splice}"
drain_grace = 0
[limits]
pairs_per_client = 10000
check_burst = 10000
[metrics]
listen = ""
"""


@dataclass
class _Pair:
    client: socket.socket
    server: socket.socket

    @property
    def ends(self) -> tuple[socket.socket, socket.socket]:
        return self.client, self.server


class StalledRelay:
    """A relay, and pairs through it.

    :param directory: where its files go.
    :param splice: as in its settings.
    :param secured: whether both legs are TLS.
    """

    def __init__(self, directory: Path, splice: str, secured: bool) -> None:
        directory.mkdir(parents=True)
        authority = Authority()
        certificate = directory.absolute() / "relay.pem"
        certificate.write_bytes(authority.certify(HOST))
        plain, tls = free_port(), free_port()
        self._port = tls if secured else plain
        self._context = ssl.create_default_context(cadata=authority.certificate.decode("ascii"))
        self._context.check_hostname = False
        self._secured = secured
        settings = _SETTINGS.format(
            host=HOST, plain=plain, secured=tls, certificate=certificate, splice=splice
        )
        self._twist = TwistProcess("wavesync-relay", directory / "twist", settings)
        now = time.time()
        system = SystemCredentials.create(())
        self._server, self._client = system.add_server(now=now), system.add_client("alice", now=now)
        self._ids = count(1)
        self.pairs: list[_Pair] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it with all that goes through it."""
        with ExitStack() as closing:
            closing.callback(self._twist.kill)
            closing.callback(self.close)
            self._twist.start()
            end = time.monotonic() + 60
            while not self._twist.logged("is ready on"):
                assert time.monotonic() < end, self._twist.log
                time.sleep(0.02)
            yield

    def memory(self) -> int:
        """Bytes of the relay in RAM."""
        with open(f"/proc/{self._twist.pid}/statm") as file:
            return int(file.read().split()[1]) * sysconf("SC_PAGE_SIZE")

    def add(self, pairs: int) -> None:
        """Have so many more pairs."""
        for _ in range(pairs):
            server = self._ask(RequestKind.PARK, b"PING\n")
            server.sendall(Pong().encode())
            client = self._ask(RequestKind.CONNECT, b"")
            _read(server, b"\n", b"OPEN")
            server.sendall(Ready().encode() + b"!")
            _read(client, b"!")
            self.pairs.append(_Pair(client, server))

    def stall(self) -> int:
        """Have both ends of all pairs send until nothing goes any more; gives the bytes sent."""
        ends = [each for pair in self.pairs for each in pair.ends]
        for each in ends:
            each.setblocking(False)
        sent, quiet = 0, 0
        while quiet < _QUIET:
            before = sent
            for each in ends:
                try:
                    while True:
                        sent += each.send(_BLOCK)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    pass
            quiet = quiet + 1 if sent == before else 0
            time.sleep(0.025)
        return sent

    def close(self) -> None:
        """End all pairs."""
        for pair in self.pairs:
            for each in pair.ends:
                each.close()
        self.pairs.clear()

    def _ask(self, kind: RequestKind, end: bytes) -> socket.socket:
        credentials = self._server if kind is RequestKind.PARK else self._client
        request = RelayRequest(kind, self._server.target, f"{next(self._ids):032x}")
        prove = Prover(credentials, HOST, time.time())
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(_BLOCK))
        plain.settimeout(30)
        plain.connect((HOST, self._port))
        asking = self._context.wrap_socket(plain) if self._secured else plain
        asking.sendall(request.encode(Relay(HOST, self._port, self._secured), prove))
        if end:
            _read(asking, end)
        return asking


def most(way: str, pairs: int) -> float:
    """Bytes of the relay's memory that each of so many pairs may take."""
    if way != "spliced":
        return MAX_HELD + (_SECURED if way == "TLS" else 0)
    copied = max(0, 2 * pairs - MAX_PIPES)  # directions for which there is no pipe
    return _SPLICED + copied / pairs * MAX_HELD_ONE_WAY


def _read(end: socket.socket, until: bytes, containing: bytes = b"") -> None:
    data = b""
    while not (data.endswith(until) and containing in data):
        piece = end.recv(65536)
        assert piece, data
        data += piece


def report(pairs: int) -> int:
    """Print what stalled pairs cost a relay, by way; 0 when none costs more than it may."""
    bad = False
    for way, (splice, secured) in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            relay = StalledRelay(Path(folder) / "relay", splice, secured)
            with relay.running():
                figures = figure(relay, pairs)
        bad |= figures.a_pair > most(way, pairs)
        sys.stdout.write(f"{way}: {figures}\n")
        sys.stdout.flush()
    return int(bad)


@dataclass
class Figures:
    """What was measured.

    :ivar pairs: how many there were.
    :ivar open: bytes of memory that each took while nothing went through it.
    :ivar a_pair: bytes that each took when it was stalled.
    :ivar sent: bytes that each took in, as long as the kernel took them as well.
    """

    pairs: int
    open: float
    a_pair: float
    sent: float

    def __str__(self) -> str:
        """In KiB."""
        return (
            f"{self.pairs} pairs; each took {self.open / 1024:.1f} KiB while idle,"
            f" {self.a_pair / 1024:.1f} KiB stalled, and had been sent {self.sent / 1024:.0f} KiB"
        )


def figure(relay: StalledRelay, pairs: int) -> Figures:
    """Stall so many pairs."""
    relay.add(3)
    relay.stall()  # whatever is made once is made now
    before = relay.memory()
    relay.add(pairs)
    idle = relay.memory()
    sent = relay.stall()
    stalled = relay.memory()
    return Figures(
        pairs, (idle - before) / pairs, (stalled - before) / pairs, sent / len(relay.pairs)
    )
