"""Rendezvous while somebody watches and sends forged packets at both ends, from the first moment on."""

from collections import Counter
from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair, Randbits
from wavesync.interfaces import Address
from wavesync.testing.time import run_for
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    REQUEST,
    HandshakeError,
    decode_handshake,
)
from wavesync.udt.packet import ControlType, DataPacket, encode_control, encode_nak

TOKEN = 0xBEEF
FORGER = "203.0.113.66"


class Forger:
    """Sees every datagram between two hosts as it leaves, and is quicker than it.

    :ivar sent: bytes sent from the forger's own addresses, by where to.
    :ivar got: bytes that came back there, by where from.
    """

    def __init__(self, pair: Pair, seed: int, *, own_sources: bool) -> None:
        self.sent: Counter[str] = Counter()
        self.got: Counter[str] = Counter()
        self.forged = 0
        self._network = pair.network
        self._random = Random(seed)
        self._own_sources = own_sources
        self._busy = False
        pair.network.drop = self.watch

    def watch(self, data: bytes, source: Address, destination: Address) -> bool:
        """Look at a datagram (nothing is dropped), and send what may come before it."""
        if destination[0] == FORGER:
            self.got[source[0]] += len(data)
        if self._busy or FORGER in (source[0], destination[0]):
            return False
        self._busy = True
        delay, self._network.delay = self._network.delay, 0.001
        try:
            self._forge(data, source, destination)
        finally:
            self._busy, self._network.delay = False, delay
        return False

    def _forge(self, data: bytes, source: Address, destination: Address) -> None:
        random = self._random
        try:
            seen = decode_handshake(data)
        except HandshakeError:
            seen = None
        forged = []
        if seen is not None:
            for request in (CALL, ANSWER, FINAL, REQUEST):
                stranger = replace(seen, request=request, socket_id=random.getrandbits(30) or 1)
                forged.append(replace(stranger, cookie=seen.cookie ^ 0x55AA).encode())
                forged.append(replace(stranger, cookie=0, timestamp=0).encode())
        kinds = (ControlType.SHUTDOWN, ControlType.ACK, ControlType.KEEP_ALIVE)
        forged += [encode_control(kind, random.getrandbits(30), 1, bytes(24)) for kind in kinds]
        forged.append(encode_nak(random.getrandbits(30), [(0, 2**31 - 2)]))
        forged.append(DataPacket(5, 1, random.getrandbits(30), bytes(100)).encode())
        for packet in forged:
            self._send(packet, source, destination)
        if seen is not None and self._own_sources:
            self._send(data, (FORGER, 1000 + random.randrange(8)), destination)

    def _send(self, data: bytes, source: Address, destination: Address) -> None:
        self.forged += 1
        if source[0] == FORGER:
            self.sent[destination[0]] += len(data)
        self._network.inject(data, source, destination)


class ForgerTests(SynchronousTestCase):
    """Introductions go on as if nobody was there."""

    def meet(self, seed: int, *, own_sources: bool) -> tuple[Pair, Forger]:
        """Have two ends meet, the second later than the first; one speaks, the other answers."""
        pair = Pair()
        forger = Forger(pair, seed, own_sources=own_sources)
        ours, theirs = pair.recorders(b"hello" * 300), pair.recorders(echo=True)
        for port in (pair.here, pair.there):
            port._randbits = Randbits(seed + port.address[1])
        pair.there.listen(pair.recorders())
        first = pair.here.rendezvous([pair.THERE], ours, token=TOKEN)
        run_for(pair.clock, 0.03 * (seed % 3))
        second = pair.there.rendezvous([pair.HERE], theirs, token=TOKEN)
        run_for(pair.clock, 3.0)
        self.assertEqual((first.remote, second.remote), (pair.THERE, pair.HERE))
        self.assertEqual(theirs.last.received, b"hello" * 300)
        self.assertEqual(ours.last.received, b"hello" * 300)
        self.assertEqual((len(ours.made), len(theirs.made)), (1, 1))
        self.assertGreater(forger.forged, 50)
        for port in (pair.here, pair.there):
            sorter = port._sorter
            self.assertEqual((port.connections, port.attempts), (1, 0))
            self.assertEqual((len(sorter.links), len(sorter.calls), len(sorter.tokens)), (1, 1, 1))
            self.assertEqual(len(sorter.tokenless), 0)
            self.assertEqual(len(sorter.closed), 0)
        return pair, forger

    def test_forged_sources(self) -> None:
        """Packets with the right source but a wrong token, or for ids that are guessed, make no
        state and stop nothing."""
        for seed in range(4):
            _, forger = self.meet(seed, own_sources=False)
            self.assertEqual(forger.got, Counter())

    def test_copies(self) -> None:
        """Copies of handshakes, quicker than the originals and from elsewhere, have no more sent
        there than they had themselves, and are not followed."""
        for seed in range(4):
            pair, forger = self.meet(seed, own_sources=True)
            self.assertGreater(sum(forger.sent.values()), 0)
            self.assertLessEqual(forger.got[pair.THERE[0]], forger.sent[pair.THERE[0]])
