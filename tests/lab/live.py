"""A live stream through the laboratory: a service that never ends, and a viewer who counts."""

from __future__ import annotations

import re
import sys

from tests.lab.commands import LabError
from tests.lab.hosts import Host
from tests.lab.processes import Process

__all__ = ["BROKEN", "FRAME_INTERVAL", "serve_live", "view", "watched"]

FRAME_INTERVAL = 0.05
"""Seconds between two frames."""

BROKEN = "broken after"
"""What a viewer says when the stream has ended before its time."""

_FRAME = 5000
_WATCHED = re.compile(r"(watched|broken after) (\d+) frames, longest gap ([\d.]+) s")
_SOURCE = f"""
import asyncio
async def serve(reader, writer):
    number = 0
    try:
        while True:
            writer.write(b"%016d" % number + bytes({_FRAME} - 16))
            await writer.drain()
            await asyncio.sleep({FRAME_INTERVAL})
            number += 1
    except OSError:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    await server.serve_forever()
asyncio.run(main())
"""
_VIEWER = f"""
import socket, sys, time
stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
end = time.monotonic() + float(sys.argv[2])
number, gap, last, word = 0, 0.0, None, "watched"
while time.monotonic() < end:
    frame = b""
    try:
        while len(frame) < {_FRAME} and (data := stream.recv({_FRAME} - len(frame))):
            frame += data
    except OSError:
        pass
    if len(frame) < {_FRAME} or int(frame[:16]) != number:
        word = "{BROKEN}"
        break
    now = time.monotonic()
    if last is None:
        print("playing", flush=True)
    else:
        gap = max(gap, now - last)
    number, last = number + 1, now
print(word, number, f"frames, longest gap {{gap:.3f}} s", flush=True)
"""


def serve_live(host: Host, port: int) -> Process:
    """
    Start a service that sends numbered frames, 100 kB a second, to everybody.

    :param port: where it listens, on loopback.
    """
    source = _SOURCE.replace("PORT", str(port))
    process = host.start([sys.executable, "-c", source], name="live")
    process.wait_for_port(port)
    return process


def view(host: Host, port: int, seconds: float) -> Process:
    """
    Begin to watch such a service.

    :param port: where to connect on loopback.
    :param seconds: for how long.
    :return: what `watched` waits for; the stream plays.
    """
    process = host.start([sys.executable, "-c", _VIEWER, str(port), str(seconds)], name="viewer")
    process.wait_for_line("^playing")
    return process


def watched(viewer: Process, timeout: float) -> tuple[bool, int, float]:
    """
    Wait until a viewer is done.

    :return: whether the stream lasted, how many frames came whole and in order, and the longest
        time between two, in seconds.
    :raises LabError: when it still watches.
    """
    viewer.wait(timeout)
    match = _WATCHED.search(viewer.output())
    if match is None:
        raise LabError(f"a viewer says only {viewer.output()!r}")
    return match[1] == "watched", int(match[2]), float(match[3])
