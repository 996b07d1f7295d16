"""A flood of TCP connections from some addresses of this host; a process of its own.

::

    python -m tests.abuse.relay_flood REQUESTS PORT SECONDS

*REQUESTS* is a file of good requests, one a line in hexadecimal.  Connections to *PORT* of 127.0.0.1
are opened as fast as it goes: silent ones, ones whose head never ends, garbage, and requests as they
are, cut and with a few bits changed.  The newest thousand stay open.  One line of JSON tells what was
done: ``connections``, ``sent`` and ``answered`` (bytes).
"""

import contextlib
import json
import random
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

from tests.abuse.garbage import cut, flipped, noise

SOURCES = 5
KEPT = 1000

_SLOW = b"GET /wavesync/1/connect HTTP/1.1\r\nHost: a\r\nX: "


def _changed(chance: random.Random, requests: Sequence[bytes]) -> bytes:
    """A request that is one still, with another proof: some of its letters are others."""
    request = bytearray(chance.choice(requests))
    begin = request.index(b"Authorization: Wavesync ") + 24
    end = request.index(b"\r\n", begin)
    for _ in range(chance.randint(1, 3)):
        request[chance.randrange(end - 90, end)] = chance.choice(b"ABCDefgh0123")
    return bytes(request)


def main(arguments: Sequence[str]) -> int:
    """Flood."""
    path, port, seconds = arguments
    with open(path, encoding="ascii") as file:
        requests = [bytes.fromhex(line) for line in file]
    chance = random.Random(1)
    makers = (
        lambda: b"",
        lambda: _SLOW,
        lambda: _SLOW + b"x" * 9000,
        lambda: noise(chance),
        lambda: cut(chance, requests),
        lambda: flipped(chance, requests),
        lambda: chance.choice(requests),
        lambda: _changed(chance, requests),
        lambda: _changed(chance, requests) + bytes(5000),
    )
    kept: deque[socket.socket] = deque()
    until = time.monotonic() + float(seconds)
    count = sent = answered = 0

    def close(old: socket.socket) -> int:
        try:
            return len(old.recv(65536))
        except OSError:
            return 0
        finally:
            old.close()

    while time.monotonic() < until:
        new = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        new.setblocking(False)
        new.bind((f"127.1.0.{chance.randrange(SOURCES) + 1}", 0))
        new.connect_ex(("127.0.0.1", int(port)))
        count += 1
        with contextlib.suppress(OSError):
            sent += new.send(chance.choice(makers)())
        kept.append(new)
        if len(kept) > KEPT:
            answered += close(kept.popleft())
        if count % 20 == 0:
            time.sleep(0.002)  # a machine with one processor has to get to its work
    answered += sum(close(old) for old in kept)
    told = {"connections": count, "sent": sent, "answered": answered}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
