"""The relays of :mod:`benchmarks.relay`: each started on loopback, each giving pairs of sockets."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["KINDS", "Relay", "cpu_seconds", "dialled", "free_port", "resident", "started"]

_HAPROXY = """
global
    nbthread 1
    maxconn 4000
    {settings}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {options}
listen relay
    bind 127.0.0.1:{port}
    server far 127.0.0.1:{far}
"""
_TICKS = os.sysconf("SC_CLK_TCK")

KINDS = ("ours", "ours_copying", "ours_twisted", "haproxy", "haproxy_splice", "transit")
"""What can be started."""


def free_port() -> int:
    """:return: a TCP port on loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dialled(port: int) -> socket.socket:
    """Connect to a port on loopback; whoever listens there may be starting."""
    for _ in range(400):
        try:
            made = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.025)
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    raise SystemExit(f"nobody listens on port {port}")


def cpu_seconds(pid: int) -> float:
    """:return: CPU seconds of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """:return: bytes of memory that a process has for itself."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel does not tell a process' memory")


class Relay:
    """One that runs.

    :ivar pid: its process; ``None`` for no relay at all.
    """

    def __init__(self, pid: int | None, client_port: int, server_port: int | None) -> None:
        self.pid = pid
        self._client_port = client_port
        self._server_port = server_port
        self._listener: socket.socket | None = None

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """:return: a client's and a server's socket, joined by the relay."""
        if self._listener is not None:
            client = dialled(self._client_port)
            server, _ = self._listener.accept()
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client, server
        if self._server_port is not None:
            server = dialled(self._server_port)
            return dialled(self._client_port), server
        token, sockets = os.urandom(32).hex(), []
        for _ in range(2):
            end = dialled(self._client_port)
            end.sendall(f"please relay {token} for side {os.urandom(8).hex()}\n".encode())
            sockets.append(end)
        for end in sockets:
            if end.recv(3, socket.MSG_WAITALL) != b"ok\n":
                raise SystemExit("the transit relay refuses")
        return sockets[0], sockets[1]

    @classmethod
    def dialling(cls, pid: int | None, port: int, listener: socket.socket) -> "Relay":
        """One that connects to *listener* for every client."""
        relay = cls(pid, port, None)
        relay._listener = listener
        return relay


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def started(kind: str, directory: Path) -> Iterator[Relay]:
    """Start a relay of a kind of :data:`KINDS`, or ``direct``: none.

    :param directory: for its files.
    """
    with contextlib.ExitStack() as stack:
        if kind == "direct":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            yield Relay.dialling(None, listener.getsockname()[1], listener)
        elif kind.startswith("ours"):
            mode = {"ours": "kernel", "ours_copying": "copy", "ours_twisted": "portable"}[kind]
            command = [sys.executable, "-m", "benchmarks.relay_end", mode]
            process = stack.enter_context(_process(command))
            assert process.stdout is not None
            client, server = map(int, process.stdout.readline().split())
            yield Relay(process.pid, client, server)
        elif kind.startswith("haproxy"):
            program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
            if program is None:
                raise SystemExit("this benchmark needs Debian's haproxy")
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            splice, port = kind == "haproxy_splice", free_port()
            settings = directory / "haproxy.cfg"
            text = _HAPROXY.format(
                port=port,
                far=listener.getsockname()[1],
                settings="tune.pipesize 1048576" if splice else "",
                options="option splice-auto\n    option splice-request\n    option splice-response"
                if splice
                else "",
            )
            settings.write_text(text)
            process = stack.enter_context(_process([program, "-f", str(settings), "-db"]))
            yield Relay.dialling(process.pid, port, listener)
        else:
            if importlib.util.find_spec("wormhole_transit_relay") is None:
                raise SystemExit("this benchmark needs the extra wavesync[benchmark]")
            port = free_port()
            command = [sys.executable, "-m", "twisted", "--log-level=critical"]
            command += ["transitrelay", f"--port=tcp:{port}:interface=127.0.0.1"]
            process = stack.enter_context(_process(command))
            yield Relay(process.pid, port, None)
