"""A bare UDP hole punch, independent of the product: it proves the laboratory, not wavesync.

``python punch.py serve PORT`` tells two hosts how it sees the other one.  ``python punch.py meet
SERVER PORT NAME PEER`` punches towards what it is told, and answers any source that proves to be
the peer.  It prints one line of JSON about the result, and fails when no datagram of the peer came
through in time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import select
import socket
import sys
import time

_HELLO_INTERVAL = 0.1
_PUNCH_INTERVAL = 0.02
#: Seconds for which a connected side goes on answering a peer that may not have heard it yet.
_LINGER = 0.15
_CHUNK = 1200
_CHUNKS_A_BURST = 16
_BURST_INTERVAL = 0.002

Address = tuple[str, int]


def serve(port: int) -> None:
    """Tell every host that names a known peer where that peer is."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    print("ready", flush=True)
    seen: dict[str, Address] = {}
    while True:
        data, source = sock.recvfrom(2048)
        name, peer = data.decode().split()
        seen[name] = source
        if peer in seen:
            sock.sendto(json.dumps(seen[peer]).encode(), source)
            sock.sendto(json.dumps(source).encode(), seen[peer])


class Meeting:
    """One side of a punch."""

    def __init__(self, server: Address, name: str, peer: str) -> None:
        self._server = server
        self._name, self._peer_name = name, peer
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("0.0.0.0", 0))
        self._target: Address | None = None
        self.peer: Address | None = None
        self.confirmed = False
        self.chunks: dict[int, bytes] = {}

    @property
    def punching(self) -> bool:
        """Whether it knows where to punch to."""
        return self._target is not None

    def turn(self, wait: float) -> None:
        """Send what is due, then take in what comes within ``wait`` seconds."""
        if self._target is None:
            self._sock.sendto(f"{self._name} {self._peer_name}".encode(), self._server)
        elif not self.confirmed:
            self._sock.sendto(f"punch {self._name}".encode(), self.peer or self._target)
        self._listen(wait)

    def _listen(self, wait: float) -> None:
        """Take in what comes within ``wait`` seconds; at most one datagram during the punch."""
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._sock], [], [], left)[0]:
                self._receive(*self._sock.recvfrom(2048))
                if self.punching and not self.confirmed:
                    return

    def _receive(self, data: bytes, source: Address) -> None:
        if source == self._server:
            if self._target is None:
                address, port = json.loads(data)
                self._target = (address, port)
        elif data == f"punch {self._peer_name}".encode():
            self.peer = source
            self._sock.sendto(f"heard {self._name}".encode(), source)
        elif data == f"heard {self._peer_name}".encode():
            self.peer = source
            self.confirmed = True
        elif source == self.peer and data.startswith(b"data"):
            self.chunks[int.from_bytes(data[4:8], "big")] = data[8:]

    def send(self, payload: bytes) -> None:
        """Send a payload once, paced, in numbered chunks."""
        if self.peer is None:
            raise RuntimeError("nobody to send to")
        for number in range(-(-len(payload) // _CHUNK)):
            chunk = payload[number * _CHUNK : (number + 1) * _CHUNK]
            self._sock.sendto(b"data" + number.to_bytes(4, "big") + chunk, self.peer)
            if number % _CHUNKS_A_BURST == 0:
                self._listen(_BURST_INTERVAL)


def payload(size: int) -> bytes:
    """Give bytes that compress badly and are the same everywhere."""
    return hashlib.shake_128(b"punch").digest(size)


def meet(server: Address, name: str, peer: str, timeout: float, size: int) -> int:
    """Punch, exchange a payload if asked to, print the result."""
    meeting = Meeting(server, name, peer)
    start = time.monotonic()
    while not meeting.confirmed and time.monotonic() - start < timeout:
        meeting.turn(_PUNCH_INTERVAL if meeting.punching else _HELLO_INTERVAL)
    elapsed = time.monotonic() - start
    if meeting.confirmed and size:
        meeting.send(payload(size))
    chunks = -(-size // _CHUNK)
    while meeting.confirmed and len(meeting.chunks) < chunks and time.monotonic() - start < timeout:
        meeting.turn(_HELLO_INTERVAL)
    linger = time.monotonic() + _LINGER
    while meeting.confirmed and time.monotonic() < linger:
        meeting.turn(_PUNCH_INTERVAL)
    received = b"".join(meeting.chunks[number] for number in sorted(meeting.chunks))
    direct = meeting.confirmed and received == payload(size)
    result = {"direct": direct, "peer": meeting.peer, "seconds": elapsed, "bytes": len(received)}
    print(json.dumps(result), flush=True)
    return 0 if direct else 1


def main(argv: list[str]) -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description="A bare UDP hole punch.")
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve")
    server.add_argument("port", type=int)
    client = commands.add_parser("meet")
    client.add_argument("server")
    client.add_argument("port", type=int)
    client.add_argument("name")
    client.add_argument("peer")
    client.add_argument("--timeout", type=float, default=1.5)
    client.add_argument("--payload", type=int, default=0, metavar="BYTES")
    options = parser.parse_args(argv)
    if options.command == "serve":
        serve(options.port)
        return 0
    return meet(
        (options.server, options.port), options.name, options.peer, options.timeout, options.payload
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
