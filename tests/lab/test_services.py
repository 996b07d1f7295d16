"""The services that stand behind an agent work on their own."""

from __future__ import annotations

import hashlib

from tests.lab.case import LabCase
from tests.lab.commands import LabError
from tests.lab.services import start_nginx, start_sshd


class NginxTests(LabCase):
    """A web server in a host."""

    def test_download(self) -> None:
        """The host itself fetches a file from it; the rest of the site cannot."""
        lab = self.lab("port", "port")
        host = lab.b.host
        root = host.directory("www")
        payload = hashlib.shake_128(b"nginx").digest(1_000_000)
        (root / "payload").write_bytes(payload)
        start_nginx(host, root, port=8080)
        target = root / "fetched"
        host.run(["curl", "-sfo", str(target), "http://127.0.0.1:8080/payload"])
        self.assertEqual(target.read_bytes(), payload)
        elsewhere = lab.b.router.run(
            ["curl", "-s", f"http://{host.address}:8080/payload"], check=False
        )
        self.assertEqual(elsewhere.status, 7, "nginx listens on loopback only")


class SshdTests(LabCase):
    """An SSH server in a host."""

    def test_command(self) -> None:
        """The user's key runs a command there, in the host's namespace."""
        host = self.lab("port", "port").b.host
        server = start_sshd(host)
        result = host.run(server.command(["ip", "-4", "-br", "addr", "show", "dev", "eth0"]))
        self.assertIn(host.address, result.stdout)

    def test_proxy_command(self) -> None:
        """ssh reaches it through a ProxyCommand and knows its host key."""
        host = self.lab("port", "port").b.host
        server = start_sshd(host)
        proxy = "ProxyCommand=bash -c 'exec 3<>/dev/tcp/127.0.0.1/22; cat <&3 & cat >&3'"
        self.assertEqual(
            host.run(server.command(["echo", "through"], options=[proxy])).stdout, "through\n"
        )

    def test_other_key(self) -> None:
        """Nobody else's key opens it."""
        host = self.lab("port", "port").b.host
        server, other = start_sshd(host), start_sshd(host, port=23)
        command = server.command(["true"])
        command[command.index(str(server.key))] = str(other.key)
        with self.assertRaises(LabError) as caught:
            host.run(command)
        self.assertIn("Permission denied", str(caught.exception))
