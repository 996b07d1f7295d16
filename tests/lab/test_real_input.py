"""The main job on real input: curl, nginx and ssh across two port-restricted NATs."""

from __future__ import annotations

import hashlib
import shlex

from tests.lab.case import LabCase
from tests.lab.processes import poll
from tests.lab.product import WEB, Product
from tests.lab.services import start_sshd

_PORT = 9000
_FIFTY_MB = 50_000_000
_DOWNLOADS = 20


class RealInputTests(LabCase):
    """What a user of a camera site does all day."""

    def product(self, **services: str) -> Product:
        """Start everything across two port-restricted NATs."""
        return Product(self.lab("port", "port"), services=services)

    def test_curl(self) -> None:
        """curl fetches 50 MB from nginx through ``wavesync forward``, over UDP and unharmed."""
        product = self.product()
        digest = product.payload("big", _FIFTY_MB)
        product.start()
        before = product.counts()
        report = product.forward(WEB, _PORT)
        done = product.client_site.host.run(
            ["sh", "-c", f"curl -sf http://127.0.0.1:{_PORT}/big | sha256sum"], timeout=120
        )
        self.assertEqual(done.stdout.split()[0], digest)
        (line,) = product.reports(report, 1)
        self.assertEqual((line["path"], line["outcome"]), ("udp", "ok"))
        at_client, at_server = (
            now - earlier for now, earlier in zip(product.counts(), before, strict=True)
        )
        self.assertGreater(at_client.udp_received.bytes, _FIFTY_MB)
        self.assertGreater(at_server.udp_sent.bytes, _FIFTY_MB)
        self.assertLess(at_client.with_mediator + at_server.with_mediator, 50_000)

    def test_ssh(self) -> None:
        """ssh runs a command over ``wavesync connect`` as its ProxyCommand."""
        product = self.product(ssh="tcp:127.0.0.1:22")
        server = start_sshd(product.server_site.host)
        product.start()
        proxy = shlex.join(product.command("connect", str(product.server.target), "ssh"))
        done = product.client_site.host.run(
            server.command(["cat /etc/hostname; wc -c"], options=[f"ProxyCommand={proxy}"]),
            stdin="x" * 100_000,
            timeout=60,
        )
        self.assertEqual(done.stdout.split()[-1], "100000")

    def test_parallel_downloads(self) -> None:
        """Twenty downloads at once share one hole: only the first one used the mediator."""
        product = self.product()
        digests = [product.payload(f"file{number}", 2_000_000) for number in range(_DOWNLOADS)]
        product.start()
        report = product.forward(WEB, _PORT)
        script = " & ".join(
            f"curl -sf -o got{number} http://127.0.0.1:{_PORT}/file{number}"
            for number in range(_DOWNLOADS)
        )
        where = product.client_site.host.directory("downloads")
        product.client_site.host.run(["sh", "-c", f"cd {where}; {script} & wait"], timeout=120)
        got = [
            hashlib.sha256((where / f"got{number}").read_bytes()).hexdigest()
            for number in range(_DOWNLOADS)
        ]
        self.assertEqual(got, digests)
        lines = product.reports(report, _DOWNLOADS)
        self.assertEqual({line["path"] for line in lines}, {"udp"})
        self.assertEqual([line["reused"] for line in lines].count(False), 1)
        assert product.mediator is not None
        mediator = product.mediator

        def introductions() -> int:
            return mediator.output().count(f"{product.client.peer.text} to ")

        poll(lambda: introductions() == 1, 30, lambda: f"{introductions()} introductions")
