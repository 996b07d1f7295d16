"""The product at work through relays: films and files, and what happens when things break.

By hand, with a film that takes its minute::

    python -m tests.lab.relayed --help
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import sys
import time
from collections.abc import Sequence

from tests.lab.commands import LabError, unavailable
from tests.lab.hosts import Host
from tests.lab.movies import Viewer, make_movie
from tests.lab.processes import Process, poll
from tests.lab.product import WEB, Product
from tests.lab.relay_faults import relay_faults
from tests.lab.scene import PORT, Figure
from tests.lab.topology import Lab, SiteSettings

__all__ = ["DIGEST_PORT", "DOWNLOADS", "relayed_work", "serve_digest"]

DOWNLOADS = 20
"""Downloads that go on beside a film."""

DIGEST_PORT = 8091
"""Where the service of :func:`serve_digest` listens."""

_RATE = "100mbit"  # of each site, towards the core
_QUEUE = "100ms"
_BULK = 1_000_000  # bytes of a download
_SIZE = 50_000_000  # bytes of a file each way
_DIGEST = "digest"
_STALL = 5.0  # seconds of film that a player has in store
_LOOP = """
for each in $(seq {downloads}); do
    while curl -sf http://127.0.0.1:{port}/bulk | sha256sum; do :; done &
done
wait
"""
_DIGEST_SERVER = """
import asyncio, hashlib, sys
async def serve(reader, writer):
    digest = hashlib.sha256()
    while data := await reader.read(1 << 18):
        digest.update(data)
    writer.write(digest.hexdigest().encode())
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


def relayed_work(lab: Lab, seconds: int, size: int, *, paced: bool) -> None:
    """Decode a film through a relay while downloads run, then move a file each way.

    :param lab: two sites without a direct path.
    :param seconds: how long the film is.
    :param size: of each file, bytes.
    :param paced: watch it as people do, not as fast as it comes.
    :raises LabError: something was damaged, stopped for too long, or did not come by the relay.
    """
    for site in lab.sites:
        shape = f"tc qdisc add dev wan root tbf rate {_RATE} burst 32kb latency {_QUEUE}"
        site.router.run(shape.split())
    product = Product(lab, services={_DIGEST: f"tcp:127.0.0.1:{DIGEST_PORT}"}, relays=1)
    movie = make_movie(product.www, seconds)
    bulk, big = product.payload("bulk", _BULK), product.payload("big", size)
    serve_digest(product.server_host)
    product.start()
    report = product.forward(WEB, PORT)
    began = time.monotonic()
    greedy = product.client_host.start(
        ["sh", "-c", _LOOP.format(downloads=DOWNLOADS, port=PORT)], name="greedy"
    )
    poll(lambda: len(_rounds(greedy)) >= DOWNLOADS, 60, greedy.output)
    viewer = Viewer(
        product.client_host,
        f"http://127.0.0.1:{PORT}/{movie.playlist.name}",
        ("-re",) if paced else (),
    )

    def over() -> bool:
        time.sleep(0.04)
        return viewer.look()

    poll(over, 120 + 2 * seconds, lambda: f"{viewer.frames} of {movie.frames} pictures came")
    elapsed = time.monotonic() - began
    rounds = _rounds(greedy)
    if not greedy.running:
        raise LabError(f"the downloads have stopped: {greedy.output()}")
    greedy.kill()
    if viewer.complaints() or viewer.frames != movie.frames:
        raise LabError(f"{viewer.frames} of {movie.frames} pictures: {viewer.complaints()}")
    if set(rounds) != {bulk}:
        raise LabError(f"{sum(each != bulk for each in rounds)} downloads were damaged")
    paths = {line["path"] for line in product.reports(report, len(rounds))}
    if paths != {"relay"}:
        raise LabError(f"not all by the relay, but by {paths}")
    print(
        f"{seconds} s of film through the relay in {viewer.took:.1f} s beside {DOWNLOADS} downloads,"
        f" which took {len(rounds) * _BULK * 8 / elapsed / 1e6:.0f} Mbit/s of {_RATE}"
    )
    Figure("longest stall of the film", viewer.stall, _STALL).tell(viewer.complaints())
    _move_files(product, big, size)


def _move_files(product: Product, digest: str, size: int) -> None:
    """Move a file each way; upwards, the answer comes when the end of the file has gone through."""
    began = time.monotonic()
    # nginx gives up a file when the end of the request comes before that of the answer, as with `fetch`.
    script = f"curl -sf http://127.0.0.1:{PORT}/big | sha256sum"
    done = product.client_host.run(["sh", "-c", script], timeout=120)
    down = time.monotonic() - began
    if done.stdout.split()[0] != digest:
        raise LabError(f"the client has got something else: {done}")
    file = product.files / "upload"
    file.write_bytes(os.urandom(size))
    told = product.files / "upload.json"
    command = product.command("connect", "--report", str(told), str(product.server.target), _DIGEST)
    began = time.monotonic()
    done = product.client_host.run(["sh", "-c", f"{shlex.join(command)} < {file}"], timeout=120)
    up = time.monotonic() - began
    if done.stdout != hashlib.sha256(file.read_bytes()).hexdigest():
        raise LabError(f"the server has got something else: {done}")
    if '"path": "relay"' not in told.read_text():
        raise LabError(f"not by the relay: {told.read_text()}")
    print(
        f"{size / 1e6:.0f} MB through the relay: "
        f"{down:.1f} s down, {up:.1f} s up with the start of the command"
    )


def _rounds(greedy: Process) -> list[str]:
    """Digests of the downloads that have ended."""
    lines = greedy.output().split("\n")[:-1]
    return [line.split()[0] for line in lines]


def serve_digest(host: Host) -> None:
    """Start a service that reads to the end, and answers with the SHA-256 of it."""
    process = host.start([sys.executable, "-c", _DIGEST_SERVER, str(DIGEST_PORT)], name="digest")
    process.wait_for_port(DIGEST_PORT)


def main(argv: Sequence[str]) -> int:
    """
    Run everything, and print the figures.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.relayed",
        description="Runs the product through relays in a laboratory: a film beside downloads, files "
        "each way, and faults.  The exit status is 1 when something fails or takes too long.",
    )
    parser.add_argument(
        "--film",
        type=int,
        default=60,
        metavar="SECONDS",
        help="how long the film is, which is watched at its own pace (default: 60)",
    )
    options = parser.parse_args(argv)
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        with Lab("symmetric", "no-udp", delay=0.01) as lab:
            relayed_work(lab, options.film, _SIZE, paced=True)
        for strict in (False, True):
            with Lab("symmetric", "port", delay=0.01) as lab:
                relay_faults(lab, lab.add_site(SiteSettings("linux", delay=0.01)), strict=strict)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
