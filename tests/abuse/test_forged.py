"""Forged UDT packets against connections that live: whoever is not on the path does no harm.

The forger knows both ends' addresses and writes them as his source.  He has to guess the socket ids
(30 bits) and sequence numbers (31 bits); here he is even told the ids.
"""

from collections.abc import Callable
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair, Randbits, Recorder
from wavesync.interfaces import Address
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.connection import Connection
from wavesync.udt.handshake import ANSWER, CALL, FINAL, REFUSED, REQUEST, Offer
from wavesync.udt.packet import (
    Acknowledgement,
    ControlType,
    DataPacket,
    encode_acknowledgement,
    encode_control,
    encode_nak,
)
from wavesync.udt.port import Port
from wavesync.udt.sequence import to_wire

_SIZE = 150_000
_FORGED = 3000
_CHUNK = 20
_WINDOW = 64


class _Narrow(Pair):
    """Two ports that hold few packets for a reader: a window that stands still soon shows."""

    def __init__(self) -> None:
        self.clock = clock = Clock()
        self.network = network = Network(clock, delay=0.02, random=Random(1))
        self.here, self.there = (
            Port(clock, network.host(host).carrier(port), randbits=Randbits(seed), window=_WINDOW)
            for seed, (host, port) in enumerate((self.HERE, self.THERE))
        )


class ForgedTests(SynchronousTestCase):
    """Two ends 20 ms apart that send each other much, and a forger."""

    def setUp(self) -> None:
        """Connect them."""
        self.random = Random(11)
        self.pair = _Narrow()
        served, made = self.pair.recorders(), self.pair.recorders()
        self.pair.there.listen(served)
        self.pair.here.connect(Pair.THERE, made)
        run_for(self.pair.clock, 1.0)
        self.ours: Recorder = made.last
        self.theirs: Recorder = served.last
        self.ids = {
            Pair.HERE: next(iter(self.pair.here._sorter.links)),
            Pair.THERE: next(iter(self.pair.there._sorter.links)),
        }

    def wild(self, socket_id: int) -> bytes:
        """A packet of any kind but SHUTDOWN, with wild numbers."""
        chance = self.random
        number = chance.getrandbits(31)
        match chance.randrange(9):
            case 0:
                return encode_control(ControlType.KEEP_ALIVE, socket_id)
            case 1:
                body = encode_acknowledgement(Acknowledgement(number))
                return encode_control(ControlType.ACK, socket_id, 0, body)
            case 2:
                words = (chance.getrandbits(32) for _ in range(5))
                body = encode_acknowledgement(Acknowledgement(number, *words))
                return encode_control(ControlType.ACK, socket_id, chance.getrandbits(31), body)
            case 3:
                ranges = [(number, (number + 2**30 - 1) % 2**31)] * 100
                return encode_nak(socket_id, ranges)
            case 4:
                singles = [(each, each) for each in (chance.getrandbits(31) for _ in range(300))]
                return encode_nak(socket_id, singles)
            case 5:
                return encode_control(ControlType.ACK2, socket_id, chance.getrandbits(31))
            case 6:
                kind = chance.choice((REQUEST, ANSWER, CALL, FINAL, REFUSED))
                offer = Offer(chance.randint(1, 2**30), number)
                return offer.handshake(kind, "192.0.2.9", destination=socket_id).encode()
            case 7:
                kind = chance.choice((ControlType.CONGESTION_WARNING, ControlType.DROP_REQUEST))
                return encode_control(kind, socket_id, number, chance.randbytes(8))
            case _:
                return DataPacket(number, 1, socket_id, chance.randbytes(1000)).encode()

    def guessed(self) -> bytes:
        """A packet of any kind for a guessed socket id."""
        guess = self.random.getrandbits(30)
        if self.random.random() < 0.2:
            return encode_control(ControlType.SHUTDOWN, guess)
        return self.wild(guess)

    def transfer(self, forge: Callable[[Address], tuple[bytes, Address]]) -> int:
        """Send much both ways while packets are forged towards both.

        :param forge: gives a packet towards an end, and the source that it seems to come from.
        :returns: packets that the two ends sent.
        """
        words = {end: self.random.randbytes(_SIZE) for end in ("ours", "theirs")}
        self.ours.transport.write(words["ours"])
        self.theirs.transport.write(words["theirs"])
        self.ours.received = self.theirs.received = b""
        before = self.carried()
        for _ in range(0, _FORGED, _CHUNK):
            for number in range(_CHUNK):
                target = (Pair.HERE, Pair.THERE)[number % 2]
                data, source = forge(target)
                self.pair.network.inject(data, source, target)
            run_for(self.pair.clock, 0.005)
        run_for(self.pair.clock, 20.0)
        self.assertEqual(self.theirs.received, words["ours"])
        self.assertEqual(self.ours.received, words["theirs"])
        for port in (self.pair.here, self.pair.there):
            self.assertEqual(port.connections, 1)
            (link,) = port._sorter.links.values()
            self.assertEqual(link.connection._receiver.held, 0)
            self.assertLess(link.connection._receiver._buffer.missing.count, 8192)
        return self.carried() - before - _FORGED

    def carried(self) -> int:
        """Packets on the network so far, forged ones too."""
        return self.pair.network.carried

    def connection(self, end: Address) -> Connection:
        """An end's connection."""
        port = self.pair.here if end == Pair.HERE else self.pair.there
        return port._sorter.links[self.ids[end]].connection

    def other(self, end: Address) -> Address:
        """The other end's address."""
        return Pair.THERE if end == Pair.HERE else Pair.HERE

    def test_ids_guessed(self) -> None:
        """Packets of all kinds, SHUTDOWN too, for socket ids that are guessed."""
        quiet = self.transfer(lambda target: (b"\0", self.other(target)))
        forged = self.transfer(lambda target: (self.guessed(), self.other(target)))
        # Next to nothing is answered: a handshake to the listener at most.
        self.assertLess(forged, quiet + _FORGED // 10)

    def test_source_unknown(self) -> None:
        """The right ids, but a source that is not the other end's: everything, SHUTDOWN too."""

        def forge(target: Address) -> tuple[bytes, Address]:
            shutdown = encode_control(ControlType.SHUTDOWN, self.ids[target])
            data = self.random.choice((shutdown, self.wild(self.ids[target])))
            return data, ("203.0.113.9", self.random.randint(1, 65535))

        self.transfer(forge)

    def test_numbers_wild(self) -> None:
        """The right ids and source, but wild sequence numbers: ACKs of what was not sent, NAKs of
        half of all numbers, ACK2s and handshakes that fit nothing.  Streams stay whole."""
        sent = self.transfer(lambda target: (self.wild(self.ids[target]), self.other(target)))
        # Some ACKs are answered by an ACK2, some handshakes by a handshake: no more than came.
        self.assertLess(sent, 4 * (2 * _SIZE // 1456) + 2 * _FORGED)

    def test_naks(self) -> None:
        """NAKs that begin with what was just sent, and go on to what never was: nothing of them is
        sent again."""

        def forge(target: Address) -> tuple[bytes, Address]:
            following = self.connection(target)._buffer.next
            last = following + self.random.choice((5000, 2**20, 2**29))
            ranges = [(to_wire(max(0, following - 3)), to_wire(last))]
            return encode_nak(self.ids[target], ranges), self.other(target)

        self.transfer(lambda target: (b"\0", self.other(target)))
        before = self.again()
        self.transfer(forge)
        self.assertEqual(self.again(), before)

    def again(self) -> int:
        """Packets that both ends have sent again."""
        ends = (self.connection(end).statistics for end in (Pair.HERE, Pair.THERE))
        return sum(each.retransmitted for each in ends)

    def test_acks(self) -> None:
        """ACKs of what was not sent yet, and old ACKs that say that there is no room; ACK2s of ACKs
        that nobody sent.  No byte is taken for received, no window stays closed, and what was
        measured stays."""

        def forge(target: Address) -> tuple[bytes, Address]:
            buffer = self.connection(target)._buffer
            number, chance = self.random.getrandbits(31), self.random
            match chance.randrange(3):
                case 0:
                    point = buffer.next + chance.choice((5000, 2**20, 2**29))
                case 1:
                    point = buffer.acknowledged - chance.choice((1, 20, 2**18, 2**29))
                case _:
                    packet = encode_control(ControlType.ACK2, self.ids[target], number)
                    return packet, self.other(target)
            ack = Acknowledgement(to_wire(point), 4_000_000, 1, 2, 1, 1)
            packet = encode_control(
                ControlType.ACK, self.ids[target], number, encode_acknowledgement(ack)
            )
            return packet, self.other(target)

        self.transfer(lambda target: (b"\0", self.other(target)))
        trips = self.trips()
        self.transfer(forge)
        for trip, before in zip(self.trips(), trips, strict=True):
            self.assertLess(trip, 2 * before)

    def test_old_acks(self) -> None:
        """An old ACK says nothing of the room there is now, and one of long ago is not even answered."""
        self.transfer(lambda target: (b"\0", self.other(target)))
        here = self.connection(Pair.HERE)
        for back, answered in ((20, True), (2**18, False)):
            ack = Acknowledgement(to_wire(here._buffer.acknowledged - back), 1, 1, 2, 1, 1)
            packet = encode_control(
                ControlType.ACK, self.ids[Pair.HERE], 2**20, encode_acknowledgement(ack)
            )
            here.receive(packet, len(packet), self.pair.clock.seconds())
            self.assertEqual(here._feedback.owes_ack2, answered)
            self.ours.transport.write(bytes(10_000))
            run_for(self.pair.clock, 0.03)  # less than a round trip: no other ACK has come
            self.assertEqual(here.unsent, 0)
            run_for(self.pair.clock, 0.5)

    def trips(self) -> list[float]:
        """Round trips that the ends go by."""
        ends = [self.connection(end) for end in (Pair.HERE, Pair.THERE)]
        return [
            trip
            for each in ends
            for trip in (each._sender.round_trip.rtt, each._receiver.round_trip.rtt)
        ]

    def test_shutdowns(self) -> None:
        """SHUTDOWNs for both ids from everywhere but the other end, and for ids next to the right
        ones, by themselves and behind a packet that is right."""

        def forge(target: Address) -> tuple[bytes, Address]:
            if self.random.random() < 0.5:
                host = self.random.choice(("203.0.113.9", self.other(target)[0]))
                source = host, self.random.randint(3000, 65535)
                return encode_control(ControlType.SHUTDOWN, self.ids[target]), source
            wrong = self.ids[target] ^ 1 << self.random.randrange(30)
            return encode_control(ControlType.SHUTDOWN, wrong), self.other(target)

        self.transfer(forge)
        for end in (Pair.HERE, Pair.THERE):
            burst = encode_control(ControlType.KEEP_ALIVE, self.ids[end])
            burst += encode_control(ControlType.SHUTDOWN, self.ids[end] ^ 1)
            self.connection(end).receive(burst, len(burst) // 2, self.pair.clock.seconds())
            self.assertIsNone(self.connection(end)._closed)
