"""Traffic through pairs of sockets, from one cheap thread: streams, and exchanges of 64 bytes."""

import select
import socket
import time
from collections.abc import Callable

__all__ = ["ping", "stream", "talk_beside"]

_BLOCK = bytes(1 << 20)
_SINK = bytearray(1 << 20)
_WORD = bytes(64)

_Pairs = list[tuple[socket.socket, socket.socket]]


class _Streams:
    """Sends into the first of each pair, throws away what comes out of the second."""

    def __init__(self, pairs: _Pairs, block: int = len(_BLOCK)) -> None:
        self.received = 0
        self._block = memoryview(_BLOCK)[:block]
        self._poll = select.epoll()
        self._ends: dict[int, tuple[socket.socket, bool]] = {}
        for source, sink in pairs:
            for end, reads in ((source, False), (sink, True)):
                end.setblocking(False)
                self._ends[end.fileno()] = (end, reads)
                self._poll.register(end, select.EPOLLIN if reads else select.EPOLLOUT)

    def watch(self, end: socket.socket) -> None:
        """Have :meth:`turn` tell when there is something to read from somebody else."""
        self._poll.register(end, select.EPOLLIN)

    def turn(self, timeout: float) -> list[int]:
        """Serve who is ready.

        :return: the descriptors of others.
        """
        others = []
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor not in self._ends:
                others.append(descriptor)
                continue
            end, reads = self._ends[descriptor]
            try:
                if reads:
                    # The kernel counts the bytes and drops them: a reader that costs nothing.
                    self.received += end.recv_into(_SINK, len(self._block), socket.MSG_TRUNC)
                else:
                    end.send(self._block)
            except BlockingIOError:
                pass
        return others


def stream(pairs: _Pairs, seconds: float, cpu: Callable[[], float]) -> tuple[int, float, float]:
    """Stream through all pairs.

    :param cpu: tells the relay's CPU seconds so far.
    :return: bytes received, in how many seconds, for how many CPU seconds.
    """
    streams = _Streams(pairs)
    start = time.monotonic()
    while time.monotonic() - start < 0.2:
        streams.turn(0.1)  # buffers fill, windows open
    streams.received, start, used = 0, time.monotonic(), cpu()
    while time.monotonic() - start < seconds:
        streams.turn(0.1)
    return streams.received, time.monotonic() - start, cpu() - used


def ping(pair: tuple[socket.socket, socket.socket], count: int) -> list[float]:
    """Exchange 64 bytes, one after the other.

    :return: microseconds of each, in order of size.
    """
    client, server = pair
    took = []
    for _ in range(count):
        start = time.perf_counter()
        client.sendall(_WORD)
        server.recv(64, socket.MSG_WAITALL)
        server.sendall(_WORD)
        client.recv(64, socket.MSG_WAITALL)
        took.append((time.perf_counter() - start) * 1e6)
    return sorted(took)


def talk_beside(
    talk: tuple[socket.socket, socket.socket], pairs: _Pairs, seconds: float
) -> tuple[list[float], int]:
    """Exchange 64 bytes while other pairs stream.

    :return: milliseconds of each exchange, in order of size; bytes streamed.
    """
    client, server = talk
    # Small blocks, so that it is not this thread that keeps the conversation waiting.
    streams = _Streams(pairs, 1 << 16)
    for end in talk:
        streams.watch(end)
    took = []
    end_time = time.monotonic() + seconds
    client.sendall(_WORD)
    start = time.perf_counter()
    while time.monotonic() < end_time:
        for descriptor in streams.turn(0.1):
            if descriptor == server.fileno():
                server.sendall(server.recv(64, socket.MSG_WAITALL))
            else:
                client.recv(64, socket.MSG_WAITALL)
                took.append((time.perf_counter() - start) * 1e3)
                client.sendall(_WORD)
                start = time.perf_counter()
    return sorted(took), streams.received
