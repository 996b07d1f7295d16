"""A real nginx for a test, set up as ``etc/nginx.conf`` shows it."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

__all__ = ["NGINX", "Nginx"]

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
HOST = "127.0.0.1"
SAMPLE = Path(__file__).parents[2] / "etc" / "nginx.conf"
_START = 30.0
_ATTEMPTS = 20
_LISTEN = re.compile(r"\blisten (\d+)")
_BEHIND = re.compile(r"127\.0\.0\.1:(\d+)")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """One of them, on free ports of loopback.

    :param directory: where its files go.
    :param behind: the ports that it passes connections on to: by the sample's numbers, the real ones.
    :param pem: certificate and key.
    :ivar ports: where it listens, by the sample's port numbers.
    """

    def __init__(self, directory: Path, behind: Mapping[int, int], pem: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ports: dict[int, int] = {}
        self._directory = directory.absolute()
        self._behind = behind
        self._pem = pem
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        for _ in range(_ATTEMPTS):
            if self._started():
                return
        raise AssertionError((self._directory / "nginx.log").read_text())

    def stop(self) -> None:
        """End it; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _started(self) -> bool:
        assert NGINX is not None, "nginx is not installed; see tests/packages.txt"
        settings = self._directory / "nginx.conf"
        settings.write_text(self._settings())
        options = f"daemon off; master_process off; pid {self._directory}/pid;"
        with (self._directory / "nginx.log").open("ab") as log:
            self._process = subprocess.Popen(
                [NGINX, "-e", "stderr", "-c", str(settings), "-g", options], stdout=log, stderr=log
            )
        limit = time.monotonic() + _START
        while self._process.poll() is None and time.monotonic() < limit:
            if all(map(_listens, self.ports.values())):
                return True
            time.sleep(0.02)
        self.stop()
        return False  # somebody else had taken a port

    def _settings(self) -> str:
        """The sample, but for ports and places."""
        text = SAMPLE.read_text()
        numbers = [int(number) for number in _LISTEN.findall(text)]
        with ExitStack() as stack:
            free = [stack.enter_context(socket.create_server((HOST, 0))) for _ in numbers]
            self.ports = {
                number: each.getsockname()[1] for number, each in zip(numbers, free, strict=True)
            }
        text = _BEHIND.sub(lambda found: f"{HOST}:{self._behind.get(int(found[1]), 9)}", text)
        text = _LISTEN.sub(lambda found: f"listen {HOST}:{self.ports[int(found[1])]}", text)
        text = re.sub(r"/etc/ssl/relay\.(pem|key)", str(self._pem), text)
        own = "".join(f"{each}_temp_path {self._directory}/{each}; " for each in _TEMPORARY)
        return text.replace("http {", f"http {{ {own}").replace("worker_rlimit_nofile", "#")


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True
