"""A real Redis server for a test, on a free port of loopback, that keeps nothing on disk."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HOST", "RedisServer", "free_port"]

HOST = "127.0.0.1"
_START = 30.0


def free_port() -> int:
    """Find a port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One of them.

    :param directory: where its log goes.
    :param options: more of its options.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/bin")
        assert program is not None, "redis-server is not installed; see tests/packages.txt"
        base = ["--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *base, *self._options], cwd=self._directory, stdout=log, stderr=log
            )
        limit = time.monotonic() + _START
        while True:
            try:
                socket.create_connection((HOST, self.port), 1.0).close()
                return
            except OSError:
                assert time.monotonic() < limit, "redis-server does not listen"
                assert self._process.poll() is None, "redis-server has ended"
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self, frozen: bool) -> None:
        """Let it do nothing, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def ask(self, *words: str | bytes, before: Sequence[Sequence[str]] = ()) -> bytes:
        """Say commands of Redis's protocol, and give the answer to the last one.

        :param before: commands to say first: AUTH, SELECT.
        """
        with socket.create_connection((HOST, self.port), 10.0) as connection:
            answer = b""
            for command in (*before, words):
                parts = [each.encode() if isinstance(each, str) else each for each in command]
                data = b"*%d\r\n" % len(parts)
                data += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
                connection.sendall(data)
                answer = connection.recv(1 << 20)
            return answer

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.stop()
