"""What is remembered of closed connections, so that a lost SHUTDOWN heals.

A peer that missed our SHUTDOWN goes on sending to the old socket id.  For a while, and a limited
number of times, each of its packets is answered with another SHUTDOWN.
"""

from collections import OrderedDict
from dataclasses import dataclass

from wavesync.interfaces import Address
from wavesync.udt.packet import ControlType, encode_control

__all__ = ["MAX_ANSWERS", "MAX_REMEMBERED", "MEMORY", "SPACING", "ClosedConnections"]

MAX_REMEMBERED = 1024
"""Closed connections that are remembered; the oldest is forgotten first."""
MEMORY = 60.0
"""Seconds for which one is: libudt gives a silent peer up after about 46 s."""
MAX_ANSWERS = 16
"""SHUTDOWN packets sent for one of them."""
SPACING = 0.05
"""Seconds between two of those at least."""

_SHUTDOWN_HEAD = encode_control(ControlType.SHUTDOWN, 0)[:2]
_HANDSHAKE_HEAD = encode_control(ControlType.HANDSHAKE, 0)[:2]


@dataclass(slots=True)
class _Memory:
    remote: Address
    peer_id: int
    until: float
    answers: int = 0
    next_answer: float = 0.0


class ClosedConnections:
    """The socket ids of recently closed connections."""

    def __init__(self) -> None:
        self._memories: OrderedDict[int, _Memory] = OrderedDict()

    def __len__(self) -> int:
        """:return: how many are remembered."""
        return len(self._memories)

    def __contains__(self, socket_id: int) -> bool:
        """:return: whether the id is remembered, so not free for a new connection."""
        return socket_id in self._memories

    def add(self, socket_id: int, remote: Address, peer_id: int, now: float) -> None:
        """Remember a connection that has just been closed."""
        while self._memories:
            oldest = next(iter(self._memories))
            if len(self._memories) < MAX_REMEMBERED and self._memories[oldest].until > now:
                break
            del self._memories[oldest]
        self._memories[socket_id] = _Memory(remote, peer_id, now + MEMORY)

    def answer(self, socket_id: int, datagram: bytes, source: Address, now: float) -> bytes | None:
        """:return: the SHUTDOWN that *datagram* deserves, never longer than it; or ``None``."""
        memory = self._memories.get(socket_id)
        if memory is None or memory.remote != source:
            return None
        if memory.until <= now:
            del self._memories[socket_id]
            return None
        if datagram[:2] in (_SHUTDOWN_HEAD, _HANDSHAKE_HEAD):
            return None
        answer = encode_control(ControlType.SHUTDOWN, memory.peer_id)
        if len(datagram) < len(answer) or memory.answers >= MAX_ANSWERS or now < memory.next_answer:
            return None
        memory.answers += 1
        memory.next_answer = now + SPACING
        return answer
