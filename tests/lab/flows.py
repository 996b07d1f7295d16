"""Programs for endless flows, run inside a laboratory.

``python flows.py source PORT [ALGORITHM]`` sends zeros to everyone who connects, over TCP with the
congestion control named.  ``python flows.py sink HOST PORT`` takes what comes from such a source,
``python flows.py sink COMMAND...`` what a command writes; both tell again and again, as a line
``SECONDS BYTES``, by the monotonic clock, how much that has been so far.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

_BLOCK = bytes(1 << 16)
_INTERVAL = 0.01  # seconds between two lines of a sink


def _feed(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(_BLOCK)
    except OSError:
        connection.close()


def source(port: int, algorithm: str) -> None:
    """Send to everyone.

    :param algorithm: of the kernel; empty for its default.
    """
    listener = socket.create_server(("0.0.0.0", port))
    if algorithm:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, algorithm.encode())
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_feed, args=(connection,), daemon=True).start()


def sink(file: int) -> None:
    """Take everything in, and tell how much it was."""
    total, told = 0, 0.0
    while data := os.read(file, 1 << 18):
        total += len(data)
        now = time.monotonic()
        if now - told >= _INTERVAL:
            told = now
            print(f"{now:.4f} {total}", flush=True)


def main(role: str, *arguments: str) -> None:
    """Run one program."""
    if role == "source":
        source(int(arguments[0]), "".join(arguments[1:]))
    elif len(arguments) == 2:
        with socket.create_connection((arguments[0], int(arguments[1]))) as connection:
            sink(connection.fileno())
    else:
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
            assert command.stdout is not None
            sink(command.stdout.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
