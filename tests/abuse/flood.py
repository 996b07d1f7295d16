"""A flood from a thousand addresses of this host; a process of its own, so that it does not wait.

::

    python -m tests.abuse.flood PACKETS PORT SECONDS

*PACKETS* is a file of good datagrams, one a line in hexadecimal.  They are sent as they are, changed,
cut and mixed with noise to *PORT* of 127.0.0.1, as fast as it goes.  One line of JSON tells what came
back: ``sources``, ``datagrams``, ``sent`` and ``answered`` (bytes), and ``worst``, the most bytes that
one source got beyond what it had sent.
"""

import json
import random
import sys
import time
from collections.abc import Sequence

from tests.abuse.garbage import cut, flipped, noise
from tests.abuse.strangers import Stranger, host_of

SOURCES = 1000


def main(arguments: Sequence[str]) -> int:
    """Flood."""
    path, port, seconds = arguments
    with open(path, encoding="ascii") as file:
        packets = [bytes.fromhex(line) for line in file]
    chance = random.Random(1)
    makers = (
        lambda: noise(chance),
        lambda: cut(chance, packets),
        lambda: flipped(chance, packets),
        lambda: chance.choice(packets),
    )
    crowd = [Stranger(host_of(number)) for number in range(SOURCES)]
    to = ("127.0.0.1", int(port))
    until = time.monotonic() + float(seconds)
    count = 0
    while time.monotonic() < until:
        for stranger in crowd:
            stranger.send(chance.choice(makers)(), to)
            count += 1
            if count % 50 == 0:
                time.sleep(0.002)  # a machine with one processor has to get to its work
    time.sleep(0.3)
    for stranger in crowd:
        stranger.take()
    told = {
        "sources": len(crowd),
        "datagrams": count,
        "sent": sum(stranger.sent for stranger in crowd),
        "answered": sum(stranger.answered for stranger in crowd),
        "worst": max(stranger.answered - stranger.sent for stranger in crowd),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
