"""A web page with many images, and the browser that loads it."""

from __future__ import annotations

import html
import json
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.lab.hosts import Host
from tests.lab.processes import Process

__all__ = ["Loaded", "Page", "loaded_page", "make_page", "start_browser"]

_WIDTH, _HEIGHT = 80, 60
# Modulo a prime, so that each byte and its place count, and JavaScript computes it without rounding.
_PRIME = 16777213
_PAGE = """<!doctype html>
<title>A hundred cameras</title>
<body>{images}<pre id="answer"></pre>
<script>
addEventListener("load", () => {{
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", {{willReadFrequently: true}});
    const seen = [...document.images].map((image) => {{
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        if (!image.naturalWidth) return [0, 0, 0];
        pen.drawImage(image, 0, 0);
        const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        let sum = 0;
        for (let i = 0; i < pixels.length; ++i)
            if (i % 4 != 3) sum = (sum * 31 + pixels[i]) % {prime};
        return [image.naturalWidth, image.naturalHeight, sum];
    }});
    document.getElementById("answer").textContent =
        JSON.stringify({{ms: performance.getEntriesByType("navigation")[0].loadEventStart, seen}});
}});
</script>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was made.

    :ivar images: width, height and checksum of each image, in order.
    """

    images: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A page as a browser saw it.

    :ivar ms: milliseconds until everything was there.
    :ivar images: width, height and checksum of each image; zeros where there is none.
    """

    ms: float
    images: tuple[tuple[int, int, int], ...]


def make_page(root: Path, count: int) -> Page:
    """Write ``index.html`` and its images of some 15 KB, each of another width.

    :param root: the web server's directory.
    :param count: how many images.
    """
    images = []
    for number in range(count):
        width = _WIDTH + number
        rows = [os.urandom(3 * width) for _ in range(_HEIGHT)]
        (root / f"image{number}.png").write_bytes(_png(width, rows))
        images.append((width, _HEIGHT, _checksum(b"".join(rows))))
    tags = "".join(f'<img src="image{number}.png">' for number in range(count))
    (root / "index.html").write_text(_PAGE.format(images=tags, prime=_PRIME))
    return Page(tuple(images))


def _png(width: int, rows: list[bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _checksum(pixels: bytes) -> int:
    total = 0
    for value in pixels:
        total = (total * 31 + value) % _PRIME
    return total


def start_browser(host: Host, url: str) -> Process:
    """Load a page in Chromium without a window; it ends when the page's load event has run.

    :param host: where.
    :param url: the page.
    """
    files = host.directory("browser")
    script = 'exec "$@" 2>"$0"'  # its complaints about the missing desktop
    return host.start(
        [
            *("sh", "-c", script, str(files / "stderr"), "chromium-headless-shell"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={files}", "--dump-dom", url),
        ],
        name="browser",
        env={"HOME": str(files)},
    )


def loaded_page(browser: Process) -> Loaded | None:
    """Read what the browser saw, once it has ended; None when the page never was complete."""
    found = re.search(r'<pre id="answer">(.+?)</pre>', browser.output())
    if found is None:
        return None
    answer = json.loads(html.unescape(found[1]))
    return Loaded(
        answer["ms"], tuple((width, height, total) for width, height, total in answer["seen"])
    )
