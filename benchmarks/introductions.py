"""Introductions that one mediator makes in a second of CPU time, proof checks included.

Each is a ``connect`` over UDP that its client signed (the certificates are known already, as of
clients that come again), its answer, and ``connectionRequested`` to the server's leg; and the same
again with that server's ``connectionAck`` and the client's ``connectionResult``.  Real datagrams and
TCP connections, the mediator in a process and on a CPU of its own.
"""

import os
import secrets
import select
import socket
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from benchmarks.figures import Bar, Row, absolute, line
from benchmarks.programs import Broken, Program, cpu_seconds, free_port
from benchmarks.relay_peers import dialled
from benchmarks.samples import Sample, interleave
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.system import SystemCredentials
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    Bind,
    Connect,
    ConnectionAck,
    ConnectionResult,
    Listen,
    Refusal,
    Registered,
    WarmUp,
    registration_key,
)
from wavesync.signalling.numbers import ConnectType, Method, ResultCode
from wavesync.signalling.proved import Prover
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message, MessageClass, encode

__all__ = ["measure"]

_HOST = "127.0.0.1"
_SERVERS = 20
_CLIENTS = 20
_OUTSTANDING = 60
_LIMIT = 10.0
"""Seconds without any answer after which none will come."""
_SETTINGS = """
name = "{host}"
listen = ["{host}:{port}"]
http_listen = []
[metrics]
listen = ""
[limits]
introductions = 1000000
introductions_per_host = 1000000
introductions_per_system = 1000000
replays = 1000000
source_rate = 1000000000.0
source_burst = 1000000000.0
unproven_rate = 1000000000.0
unproven_burst = 1000000000.0
unproven_total_rate = 1000000000.0
unproven_total_burst = 1000000000.0
client_rate = 1000000000.0
client_burst = 1000000000.0
target_rate = 1000000000.0
target_burst = 1000000000.0
"""
_BAR = Bar(3000, 3000)
_KINDS = {
    "introductions: connect checked and answered, server told": False,
    "the same with connectionAck and connectionResult": True,
}
_REQUESTED = encode(Message(Method.CONNECTION_REQUESTED, MessageClass.INDICATION, bytes(12)))[:2]
"""The type of ``connectionRequested``."""
_CONNECTION_ID = slice(24, 40)


class _Server:
    """A registered server: its leg, and the UDP port that it punches from."""

    def __init__(self, system: SystemCredentials, port: int, *, punches: bool) -> None:
        self.udp = _udp(port)
        self.announced = 0
        self.punches = punches
        self._credentials = system.add_server(now=time.time())
        assert self._credentials.target is not None
        self.target: Target = self._credentials.target
        self._tcp = dialled(port)
        self._read = StreamDecoder()
        self._rest = b""
        self._registered()
        self._tcp.setblocking(False)

    def fileno(self) -> int:
        """The leg's descriptor."""
        return self._tcp.fileno()

    def _ask(self, data: bytes) -> Message:
        self._tcp.sendall(data)
        while True:
            for message in self._read.feed(self._tcp.recv(65536)):
                if message.message_class is not MessageClass.INDICATION:
                    return message

    def _registered(self) -> None:
        exchange = X25519PrivateKey.generate()
        listen = Listen(self.target, exchange.public_key().public_bytes_raw())
        refusal = Refusal.decode(self._ask(listen.encode(secrets.token_bytes(12))))
        prover = Prover(self._credentials, _HOST, time.time(), refusal.nonce)
        answer = self._ask(listen.encode(secrets.token_bytes(12), prover))
        registered = Registered.decode(answer)
        self._id = registered.registration_id
        self._key = registration_key(exchange, registered.exchange_key, self._id)
        addresses: tuple[Address, ...] = (("192.168.1.2", 7001), ("203.0.113.9", 7001))
        bind = Bind(1, addresses, addresses)
        prover = Prover(self._credentials, _HOST, time.time())
        if self._ask(bind.encode(secrets.token_bytes(12), prover)).message_class != 2:
            raise Broken("the mediator takes no addresses")
        self.udp.send(WarmUp(self._id, 1).encode(secrets.token_bytes(12), self._key))
        select.select([self.udp], [], [], _LIMIT)
        self.udp.recv(2048)

    def read(self) -> None:
        """Count clients that are announced, and acknowledge them."""
        data = self._rest + self._tcp.recv(1 << 20)
        while len(data) >= 20:
            size = 20 + int.from_bytes(data[2:4], "big")
            if len(data) < size:
                break
            if data[:2] == _REQUESTED and self.punches:
                ack = ConnectionAck(data[_CONNECTION_ID].hex(), self._id)
                self.udp.send(ack.encode(secrets.token_bytes(12), self._key))
            self.announced += data[:2] == _REQUESTED
            data = data[size:]
        self._rest = data


def _udp(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.connect((_HOST, port))
    return made


def _received(udp: socket.socket) -> bytes:
    try:
        return udp.recv(2048)
    except BlockingIOError:
        return b""


class _Load:
    """All servers and clients of one mediator."""

    def __init__(self, port: int, *, whole: bool) -> None:
        system = SystemCredentials.create(())
        self._whole = whole
        self._servers = [_Server(system, port, punches=whole) for _ in range(_SERVERS)]
        self._clients: list[tuple[Credentials, socket.socket]] = [
            (system.add_client(f"client{n}", now=time.time()), _udp(port)) for n in range(_CLIENTS)
        ]
        self._poll = select.epoll()
        self._ends: dict[int, _Server | socket.socket] = {}
        ends: list[_Server | socket.socket] = [*self._servers, *(udp for _, udp in self._clients)]
        for end in ends:
            self._ends[end.fileno()] = end
            self._poll.register(end.fileno(), select.EPOLLIN)
        self._waiting: deque[tuple[socket.socket, bytes, str]] = deque()
        self.answered = 0

    @property
    def announced(self) -> int:
        """How many were announced to their servers."""
        return sum(server.announced for server in self._servers)

    def prepare(self, count: int) -> None:
        """Sign so many requests: they are good for half a minute."""
        for n in range(count):
            credentials, udp = self._clients[n % _CLIENTS]
            connection = secrets.token_hex(16)
            target = self._servers[n * 7 % _SERVERS].target
            connect = Connect(connection, target, (("192.168.2.3", 6001),))
            prover = Prover(credentials, _HOST, time.time())
            data = connect.encode(secrets.token_bytes(12), prover)
            self._waiting.append((udp, data, connection))

    def run(self) -> None:
        """Send all of them."""
        heard = time.monotonic()
        goal = self.answered + len(self._waiting)
        results: dict[bytes, bytes] = {}
        outstanding = 0
        while self.answered < goal or self.announced < goal:
            while self._waiting and outstanding < _OUTSTANDING:
                udp, data, connection = self._waiting.popleft()
                result = ConnectionResult(connection, ResultCode.OK, ConnectType.UDP, 0.1)
                results[data[8:20]] = result.encode(secrets.token_bytes(12))
                udp.send(data)
                outstanding += 1
            for descriptor, _ in self._poll.poll(0.1):
                heard = time.monotonic()
                end = self._ends[descriptor]
                if isinstance(end, _Server):
                    end.read()
                    continue
                while answer := _received(end):
                    report = results.pop(answer[8:20], None)
                    if report is None:
                        continue  # an update
                    if answer[:1] != b"\x01" or answer[1] & 0x10:
                        raise Broken(f"the mediator refuses: {answer.hex()}")
                    if self._whole:
                        end.send(report)
                    self.answered += 1
                    outstanding -= 1
            if time.monotonic() - heard > _LIMIT:
                raise Broken(f"{goal - self.answered} answers do not come")


def _sample(count: int, whole: bool) -> Sample:
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    port = free_port(socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / "mediator.toml"
        settings.write_text(_SETTINGS.format(host=_HOST, port=port))
        command = [sys.executable, "-m", "twisted", "--log-level=critical"]
        command += ["wavesync-mediator", "--config", str(settings)]
        with Program(command, processor=last) as mediator:
            os.sched_setaffinity(0, {first})
            try:
                load = _Load(port, whole=whole)
                load.prepare(200)  # the certificates get known
                load.run()
                load.prepare(count)
                before = cpu_seconds(mediator.pid)
                load.run()
                used = cpu_seconds(mediator.pid) - before
            finally:
                os.sched_setaffinity(0, {first, last})
    return {"per_cpu_s": count / used}


def measure(runs: int = 5, *, count: int = 4000) -> Row:
    """Take the figure.

    :param runs: how often.
    :param count: introductions of each run.
    """
    kinds = {what: partial(_sample, count, whole) for what, whole in _KINDS.items()}
    taken = interleave(kinds, runs)
    rows = [absolute(what, "1/CPU s", "per_cpu_s", taken[what], _BAR) for what in _KINDS]
    settings = {"servers": _SERVERS, "clients": _CLIENTS, "outstanding": _OUTSTANDING}
    return line(rows, runs=runs, settings=settings)
