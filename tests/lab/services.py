"""Real services for a host: a web server and an SSH server, with all their files in one place."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError, environment, run
from tests.lab.hosts import Host
from tests.lab.processes import Process

__all__ = ["SSHServer", "start_nginx", "start_sshd"]

_NGINX = """
daemon off;
master_process off;
user root;
pid {files}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log {files}/access.log;
    client_body_temp_path {files}/body;
    proxy_temp_path {files}/proxy;
    fastcgi_temp_path {files}/fastcgi;
    uwsgi_temp_path {files}/uwsgi;
    scgi_temp_path {files}/scgi;
    sendfile on;
    server {{
        listen {address}:{port};
        root "{root}";
    }}
}}
"""

_SSHD = """
ListenAddress {address}:{port}
HostKey {files}/host_key
AuthorizedKeysFile {files}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""

#: The name under which clients know the host key, however they reached the server.
_HOST_KEY_ALIAS = "lab-sshd"


def start_nginx(host: Host, root: Path, *, address: str = "127.0.0.1", port: int = 8080) -> Process:
    """
    Serve a directory by HTTP.

    :param host: where.
    :param root: the directory.
    :param address: the host's address to listen on.
    :param port: the port to listen on.
    :return: the server, listening.
    """
    files = host.directory("nginx")
    settings = files / "nginx.conf"
    settings.write_text(
        _NGINX.format(files=files, address=address, port=port, root=root.absolute())
    )
    server = host.start(["nginx", "-e", "stderr", "-c", str(settings)])
    server.wait_for_port(port)
    return server


@dataclass(frozen=True, slots=True)
class SSHServer:
    """
    A running SSH server and what a client needs for it.

    :ivar process: the server.
    :ivar address: where it listens.
    :ivar port: where it listens.
    :ivar key: the private key of a user who may log in (root).
    :ivar known_hosts: a file with the server's host key.
    """

    process: Process
    address: str
    port: int
    key: Path
    known_hosts: Path

    def shell(self, *, options: Sequence[str] = ()) -> list[str]:
        """
        Give a command line of ssh that asks nobody anything, up to the host's name.

        :param options: further ``-o`` options, e.g. ``["ProxyCommand=..."]``, which win.
        """
        settings = (
            *options,
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            f"HostKeyAlias={_HOST_KEY_ALIAS}",
        )
        return [
            *("ssh", "-F", "none", "-i", str(self.key), "-p", str(self.port), "-l", "root"),
            *(word for setting in settings for word in ("-o", setting)),
        ]

    def command(self, remote: Sequence[str], *, options: Sequence[str] = ()) -> list[str]:
        """
        Give a command line that runs a command over ssh.

        :param remote: the command to run there.
        :param options: see `shell`.
        """
        return [*self.shell(options=options), self.address, "--", *remote]


def start_sshd(host: Host, *, address: str = "127.0.0.1", port: int = 22) -> SSHServer:
    """
    Start an SSH server with a host key and a user key made for the occasion.

    :param host: where.
    :param address: the host's address to listen on.
    :param port: the port to listen on.
    :return: the server, listening.
    """
    files = host.directory("sshd")
    for key in ("host_key", "user_key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(files / key)])
    known_hosts = files / "known_hosts"
    known_hosts.write_text(f"{_HOST_KEY_ALIAS} {(files / 'host_key.pub').read_text()}")
    settings = files / "sshd_config"
    settings.write_text(_SSHD.format(files=files, address=address, port=port))
    # sshd insists on its absolute path, and on a directory in /run, which it gets in a file system
    # that only it sees.
    program = shutil.which("sshd", path=environment()["PATH"])
    if program is None:
        raise LabError("sshd is not installed")
    script = 'mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && exec "$@"'
    process = host.start(
        ["sh", "-c", script, "sh", program, "-D", "-e", "-f", str(settings)], name="sshd"
    )
    process.wait_for_port(port)
    return SSHServer(process, address, port, files / "user_key", known_hosts)
