"""A camera site at work: films, a page of images and rsync at once, beside a greedy download."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

from tests.lab.case import LabCase
from tests.lab.movies import Viewer, make_movie, start_rtsp_server
from tests.lab.pages import loaded_page, make_page, start_browser
from tests.lab.processes import Process, poll
from tests.lab.product import WEB, Product
from tests.lab.services import start_sshd
from tests.lab.topology import Lab, SiteSettings
from tests.lab.trees import digest_tree, make_tree

_DELAY = 0.01  # one way of each site, seconds
_LOSS = 0.005  # of each site: 1 % from end to end
_RATE = "40mbit"  # of each site, towards the core
_QUEUE = "100ms"  # of its router
_SECONDS = 60  # of film
_IMAGES = 100
_BULK = 10_000_000
_WEB_PORT, _CAMERA_PORT = 9000, 9001
_END = 240.0  # seconds that all of it may take on a busy machine
_STALL = 5.0  # seconds of film that any player has in store
_BULK_LOOP = "while curl -sf http://127.0.0.1:{port}/bulk | sha256sum; do :; done"


class CameraSiteTests(LabCase):
    """What people do with a camera site, all at the same time."""

    def test_everything_at_once(self) -> None:
        """Nobody's film stops, no image is missing, no file is wrong, whatever another one downloads."""
        lab = self.lab(
            SiteSettings("linux", delay=_DELAY, loss=_LOSS, hosts=2),
            SiteSettings("linux", delay=_DELAY, loss=_LOSS),
        )
        _limit_rates(lab)
        product = Product(lab, services={"camera": "tcp:127.0.0.1:8554", "ssh": "tcp:127.0.0.1:22"})
        client, server = product.client_host, product.server_host
        movie = make_movie(product.www, _SECONDS)
        page = make_page(product.www, _IMAGES)
        bulk = product.payload("bulk", _BULK)
        start_rtsp_server(server, movie.file)
        sshd = start_sshd(server)
        product.start()
        report = product.forward(WEB, _WEB_PORT)
        camera_report = product.forward("camera", _CAMERA_PORT)
        greedy = self.start_greedy(product)

        camera = Viewer(
            client, f"rtsp://127.0.0.1:{_CAMERA_PORT}/camera", ("-rtsp_transport", "tcp")
        )
        recording = Viewer(client, f"http://127.0.0.1:{_WEB_PORT}/{movie.playlist.name}")
        browser = start_browser(client, f"http://127.0.0.1:{_WEB_PORT}/index.html")
        proxy = shlex.join(product.command("connect", str(product.server.target), "ssh"))
        files = product.files / "rsync"
        files.mkdir()
        make_tree(files / "tree", small=200, large=3_000_000)
        shell = files / "shell"
        ssh = shlex.join(sshd.shell(options=[f"ProxyCommand={proxy}"]))
        shell.write_text(f'#!/bin/sh\nexec {ssh} "$@"\n')
        shell.chmod(0o755)
        started = time.monotonic()
        rsync = client.start(["sh", "-ec", _moves(files, shell, sshd.address)], name="rsync")

        ends: dict[str, float] = {}

        def done() -> bool:
            over = {
                "camera": camera.look(),
                "recording": recording.look(),
                "page": not browser.running,
                "rsync": not rsync.running,
            }
            for name in (name for name, ended in over.items() if ended):
                ends.setdefault(name, time.monotonic() - started)
            time.sleep(0.04)
            return all(over.values())

        poll(done, _END, lambda: f"only {ends} ended")
        elapsed = time.monotonic() - started
        self.assertTrue(greedy.running, greedy.output())
        rounds = [line.split()[0] for line in greedy.output().splitlines()]
        greedy.stop()

        for name, viewer in (("camera", camera), ("recording", recording)):
            self.assertEqual(viewer.complaints(), "", name)
            self.assertEqual(viewer.frames, movie.frames, name)
        loaded = loaded_page(browser)
        assert loaded is not None, browser.output()[-500:]
        self.assertEqual(loaded.images, page.images)
        self.assertEqual(rsync.wait(1), 0, rsync.output())
        there, back = digest_tree(files / "tree"), digest_tree(files / "back")
        self.assertEqual(digest_tree(files / "there"), there)
        self.assertEqual(back, there)
        self.assertEqual(set(rounds), {bulk})
        told = product.reports(camera_report, 1)[0]
        rates = [float(text.replace(",", "")) for text in _RATES.findall(rsync.output())]
        print(
            f"\ncamera: connected after {told['ms']['accepted'] / 1000:.2f} s, first picture after {camera.began:.2f} s, longest stall {camera.stall:.2f} s,"
            f" {camera.frames / camera.took:.1f} pictures a second"
            f"\nrecording: {_SECONDS / recording.took:.1f} times as fast as it plays,"
            f" longest stall {recording.stall:.2f} s"
            f"\npage: {_IMAGES} images in {loaded.ms / 1000:.2f} s"
            f"\nrsync: {', '.join(f'{rate / 1e6:.2f} MB/s' for rate in rates)}"
            f"\ngreedy download: {len(rounds) * _BULK * 8 / elapsed / 1e6:.1f} Mbit/s"
        )
        for site in lab.sites:
            assert site.link is not None
            carried, lost, _ = site.link.counts()
            self.assertApproximates(lost / carried / _LOSS, 1, 0.3)
        self.assertLess(camera.stall, _STALL)
        paths = {line["path"] for line in product.reports(report, 1)}
        self.assertEqual(paths, {"udp"})

    def start_greedy(self, product: Product) -> Process:
        """Let a second client, on a host of its own, download for ever."""
        other = product.client_site.hosts[1]
        credentials = product.save(
            product.system.add_client("greedy", now=time.time()), "greedy.pem"
        )
        command = product.command(
            *("forward", str(product.server.target), WEB, str(_WEB_PORT)), credentials=credentials
        )
        other.start(command, name="forward").wait_for_line("^listening on")
        greedy = other.start(["sh", "-c", _BULK_LOOP.format(port=_WEB_PORT)], name="greedy")
        poll(lambda: greedy.output() != "", 60, lambda: "nothing downloaded yet")
        return greedy


_RATES = re.compile(r"([\d.,]+) bytes/sec")


def _limit_rates(lab: Lab) -> None:
    """Give each site a line as people have it."""
    for site in lab.sites:
        shape = f"tc qdisc add dev wan root tbf rate {_RATE} burst 16kb latency {_QUEUE}"
        site.router.run(shape.split())


def _moves(files: Path, shell: Path, address: str) -> str:
    """Move a tree to the server, and what is there back."""
    move = f"rsync -a --info=stats2 --rsh={shell}"
    return (
        f"{move} {files}/tree/ {address}:{files}/there/\n"
        f"{move} {address}:{files}/there/ {files}/back/\n"
    )
