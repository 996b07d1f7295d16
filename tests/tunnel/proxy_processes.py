"""Real HTTP proxies for tests, on free ports of loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HOST", "PASSWORD", "USER", "ProxyProcess", "Squid", "Tinyproxy"]

HOST = "127.0.0.1"
USER, PASSWORD = "alice", "correct-horse"
_START = 30.0
_NOWHERE = Path()  # before there is one of its own; never to be removed
_HELPER = f"""#!/bin/sh
while read name password; do
    if [ "$name $password" = "{USER} {PASSWORD}" ]; then echo OK; else echo ERR; fi
done
"""


class ProxyProcess:
    """One of them; a context manager that runs it.

    :ivar address: where it listens.
    :ivar port: where it listens.
    :ivar directory: where its files are.
    """

    program = ""
    address = HOST

    def __init__(self) -> None:
        self.port = 0
        self.directory = _NOWHERE
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ProxyProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.directory != _NOWHERE:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = shutil.which(self.program, path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, f"{self.program} is not installed; see tests/packages.txt"
        if self.directory == _NOWHERE:
            self.directory = Path(tempfile.mkdtemp(prefix="wavesync-proxy-"))
            self.directory.chmod(0o777)  # a proxy that is started by root becomes somebody else
        if not self.port:
            with socket.create_server((self.address, 0)) as probe:
                self.port = probe.getsockname()[1]
        settings = self.directory / "settings"
        settings.write_text(self.settings())
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [program, *self.arguments(settings)],
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        limit = time.monotonic() + _START
        while True:
            try:
                socket.create_connection((self.address, self.port), 1.0).close()
                return
            except OSError:
                said = (self.directory / "output").read_text(errors="replace")
                assert time.monotonic() < limit and self._process.poll() is None, said
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """What it says of the requests that came."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def settings(self) -> str:
        """Write its settings."""
        raise NotImplementedError

    def arguments(self, settings: Path) -> Sequence[str]:
        """Tell how it is started."""
        raise NotImplementedError


class Tinyproxy(ProxyProcess):
    """Small, and simple.

    :param password: whether it wants one.
    :param connect_ports: ports that it connects to; any where empty.
    """

    program = "tinyproxy"

    def __init__(self, *, password: bool = False, connect_ports: Sequence[int] = ()) -> None:
        super().__init__()
        self._password = password
        self._connect_ports = connect_ports

    def settings(self) -> str:
        """Write its settings."""
        lines = [f"Port {self.port}", f"Listen {self.address}", "Timeout 60", "MaxClients 100"]
        lines += [f'LogFile "{self.directory}/log"', "LogLevel Connect"]
        lines += [f"ConnectPort {port}" for port in self._connect_ports]
        if self._password:
            lines.append(f"BasicAuth {USER} {PASSWORD}")
        return "\n".join(lines) + "\n"

    def arguments(self, settings: Path) -> Sequence[str]:
        """Tell how it is started."""
        return ["-d", "-c", str(settings)]


class Squid(ProxyProcess):
    """Large, and what most offices have.

    :param password: whether it wants one.
    :param connect: whether it connects at all; otherwise it passes plain requests on only.
    :param connect_ports: ports that it connects to; any where empty.
    """

    program = "squid"

    def __init__(
        self,
        *,
        password: bool = False,
        connect: bool = True,
        connect_ports: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self._password = password
        self._connect = connect
        self._connect_ports = connect_ports

    def settings(self) -> str:
        """Write its settings."""
        lines = [
            f"http_port {self.address}:{self.port}",
            "pid_filename none",
            "visible_hostname proxy.test",
            "memory_cache_shared off",
            "shutdown_lifetime 0 seconds",
            f"coredump_dir {self.directory}",
            f"cache_log {self.directory}/cache.log",
            f"access_log stdio:{self.directory}/log",
            "logfile_rotate 0",
            "dns_nameservers 127.0.0.1",
            "dns_timeout 1 second",
            "acl CONNECT method CONNECT",
        ]
        if not self._connect:
            lines.append("http_access deny CONNECT")
        if self._connect_ports:
            lines.append(f"acl connected port {' '.join(map(str, self._connect_ports))}")
            lines.append("http_access deny CONNECT !connected")
        if self._password:
            helper = self.directory / "helper"
            helper.write_text(_HELPER)
            helper.chmod(0o755)
            lines += [
                f"auth_param basic program {helper}",
                "auth_param basic children 1 startup=1",
                "acl known proxy_auth REQUIRED",
                "http_access allow known",
            ]
        else:
            lines.append("http_access allow all")
        return "\n".join([*lines, "http_access deny all", ""])

    def arguments(self, settings: Path) -> Sequence[str]:
        """Tell how it is started."""
        return ["-N", "-f", str(settings)]
