"""Tests for :mod:`wavesync.udt.path_size`: how large packets may be."""

import math

from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import Pair
from wavesync.interfaces import Address, Burst
from wavesync.testing.network import InFragments
from wavesync.testing.time import run_for
from wavesync.udt.packet import (
    HEADER_SIZE,
    ControlPacket,
    ControlType,
    DataPacket,
    Subtype,
    decode_packet,
)
from wavesync.udt.path_size import (
    BASE,
    DOUBT,
    ENOUGH,
    MIN_WAIT,
    RAISE_AFTER,
    ROUNDS,
    STEPS,
    PathSize,
    SizeSearch,
)
from wavesync.udt.send_buffer import SendBuffer

MOST = 1472


class SearchTests(SynchronousTestCase):
    """The search, by hand."""

    def setUp(self) -> None:
        """Nothing is known of the path."""
        self.search = SizeSearch(MOST)
        self.search.begin(0.0, ask=True)

    def rounds(self) -> list[list[int]]:
        """:return: what is asked until there is no more question."""
        asked = []
        while (due := self.search.due) < RAISE_AFTER:
            self.assertEqual(self.search.probes(due - 0.001, 0.01), [])
            asked.append(self.search.probes(due, 0.01))
        return asked

    def test_agreed_size(self) -> None:
        """The agreed size is asked for first; its answer ends the search."""
        self.assertEqual(self.search.size, BASE)
        self.assertEqual(self.search.probes(0.0, 0.01), [MOST])
        self.assertEqual(self.search.due, MIN_WAIT)
        self.assertTrue(self.search.arrived(MOST))
        self.assertEqual(self.search.size, MOST)
        self.assertEqual(self.search.due, math.inf)

    def test_steps(self) -> None:
        """Without an answer all sizes are asked for, twice; the largest that arrives is taken."""
        self.assertEqual(self.rounds(), [[MOST], [MOST, *STEPS], [MOST, *STEPS]])
        self.assertTrue(self.search.arrived(1312))
        self.assertTrue(self.search.arrived(1372))
        self.assertFalse(self.search.arrived(1312))
        self.assertEqual(self.search.size, 1372)

    def test_only_larger_ones(self) -> None:
        """What is known to arrive is not asked for again."""
        self.search.probes(0.0, 0.01)
        self.search.probes(0.1, 0.01)
        self.search.arrived(1412)
        self.assertEqual(self.search.probes(0.2, 0.01), [MOST, 1464, 1432])

    def test_bounded(self) -> None:
        """A path that carries nothing larger is left alone after three rounds."""
        self.assertEqual(len(self.rounds()), ROUNDS)
        self.assertEqual(self.search.size, BASE)

    def test_asks_again(self) -> None:
        """Ten minutes later the path may be another one: it is asked for all sizes again, once more in rounds."""
        self.rounds()
        last = 2 * MIN_WAIT
        self.assertEqual(self.search.due, last + RAISE_AFTER)
        self.search.arrived(1372)
        self.assertEqual(self.search.probes(last + RAISE_AFTER, 0.01), [MOST])
        self.assertEqual(
            self.search.probes(self.search.due, 0.01),
            [MOST, *(step for step in STEPS if step > 1372)],
        )

    def test_patience(self) -> None:
        """A long path is given three round trips."""
        self.search.probes(0.0, 0.2)
        self.assertAlmostEqual(self.search.due, 0.6)

    def test_unasked(self) -> None:
        """An answer to no question is nothing; nor is one of another path."""
        for size in (0, BASE, MOST - 1, MOST, MOST + 1, 2**32 - 1):
            self.assertFalse(self.search.arrived(size), size)
        self.search.probes(0.0, 0.01)
        self.assertFalse(self.search.arrived(1372))
        self.search.begin(1.0, ask=False)
        self.assertFalse(self.search.arrived(MOST))
        self.assertEqual((self.search.size, self.search.due), (BASE, math.inf))

    def test_small_agreement(self) -> None:
        """A peer that takes only small packets is asked nothing."""
        for most in (48, BASE):
            search = SizeSearch(most)
            search.begin(0.0, ask=True)
            self.assertEqual((search.size, search.due), (most, math.inf))

    def test_other_peers(self) -> None:
        """Until it is begun, the agreed size counts: libudt would answer no question."""
        search = SizeSearch(MOST)
        self.assertEqual((search.size, search.due), (MOST, math.inf))

    def test_steps_are_words(self) -> None:
        """Sizes are whole words, in falling order, within what is searched."""
        self.assertEqual(sorted(STEPS, reverse=True), list(STEPS))
        self.assertTrue(all(size % 4 == 0 and BASE < size < MOST for size in STEPS))


class PathSizeTests(SynchronousTestCase):
    """The search's packets."""

    def setUp(self) -> None:
        """A connection that may ask."""
        self.buffer = SendBuffer(7, 0, MOST - HEADER_SIZE, 0.0)
        self.path = PathSize(7, self.buffer, 1500)
        self.path.begin(0.0, ask=True)

    def sent(self) -> list[tuple[int, int, int]]:
        """:return: subtype, information word and length of what leaves."""
        out: list[Burst] = []
        self.path.control(0.0, 0.01, out)
        found = []
        for data, _ in out:
            packet = decode_packet(data)
            assert isinstance(packet, ControlPacket)
            self.assertEqual((packet.kind, packet.destination), (ControlType.USER_DEFINED, 7))
            found.append((packet.subtype, packet.info, len(data)))
        return found

    def test_little_to_send(self) -> None:
        """Nobody is asked for the sake of a few packets."""
        self.buffer.write(bytes(ENOUGH))
        self.assertEqual((self.path.deadline(), self.sent()), (math.inf, []))
        self.buffer.write(b"!")
        self.assertEqual(self.path.deadline(), 0.0)
        self.assertEqual(self.sent(), [(Subtype.SIZE_PROBE, MOST, MOST)])

    def test_answer(self) -> None:
        """Probes are answered by their true size, several with one small packet."""
        self.path.take(Subtype.SIZE_PROBE, 9999, 1400)
        self.path.take(Subtype.SIZE_PROBE, 1464, 1300)
        self.assertTrue(self.path.owes)
        self.assertEqual(self.sent(), [(Subtype.SIZE_ANSWER, 1400, 20)])
        self.assertFalse(self.path.owes)
        self.assertEqual(self.sent(), [])

    def test_packets_grow(self) -> None:
        """What arrived decides the packets that are cut from then on."""
        self.assertEqual(self.buffer.payload, BASE - HEADER_SIZE)
        self.buffer.write(bytes(2 * ENOUGH))
        self.sent()
        self.path.take(Subtype.SIZE_ANSWER, MOST, 20)
        self.assertEqual(self.buffer.payload, MOST - HEADER_SIZE)

    def test_too_large(self) -> None:
        """When this host knows that data packets have become too large for the way, smaller ones are
        sent at once, and the search begins anew; probes that were too large change nothing."""
        self.path.too_large(MOST, 0.0)
        self.assertEqual(self.buffer.payload, BASE - HEADER_SIZE)
        self.buffer.write(bytes(2 * ENOUGH))
        self.sent()
        self.path.take(Subtype.SIZE_ANSWER, MOST, 20)
        self.path.too_large(MOST, 20.0)
        self.assertEqual(self.buffer.payload, BASE - HEADER_SIZE)
        self.assertEqual(self.path.deadline(), 20.0)

    def test_too_large_for_libudt(self) -> None:
        """A peer that answers no probes gets small packets from then on."""
        self.buffer.resize(MOST - HEADER_SIZE)
        path = PathSize(7, self.buffer, 1500)
        self.buffer.write(bytes(2 * ENOUGH))
        path.too_large(MOST, 1.0)
        self.assertEqual(self.buffer.payload, BASE - HEADER_SIZE)
        self.assertEqual(path.deadline(), math.inf)

    def grown(self) -> None:
        """Find that the largest packets pass."""
        self.buffer.write(bytes(2 * ENOUGH))
        self.sent()
        self.path.take(Subtype.SIZE_ANSWER, MOST, 20)

    def test_black_hole(self) -> None:
        """Data repeated in vain while the peer is heard make packets small, until something is acknowledged;
        then the search begins anew."""
        self.grown()
        self.path.watch(1, 5.0, 10.0)
        self.assertEqual(self.sent(), [(Subtype.SIZE_PROBE, BASE, BASE)])
        for repeats in range(2, DOUBT):
            self.path.watch(repeats, 10.1, 10.5)
        self.assertEqual(self.buffer.payload, MOST - HEADER_SIZE)
        self.path.watch(DOUBT, 10.1, 11.0)
        self.assertEqual(self.buffer.payload, BASE - HEADER_SIZE)
        self.assertEqual((self.sent(), self.path.deadline()), ([], math.inf))
        self.assertTrue(self.path.watching)
        self.path.watch(0, 12.0, 12.0)
        self.assertFalse(self.path.watching)
        self.assertEqual(self.path.deadline(), 12.0)

    def test_outage(self) -> None:
        """Where nothing is heard either, the size of packets is not to blame."""
        self.grown()
        for repeats in range(1, 4 * DOUBT):
            self.path.watch(repeats, 9.9, 10.0 + repeats)
        self.assertEqual(self.buffer.payload, MOST - HEADER_SIZE)
        self.path.watch(0, 40.0, 40.0)
        self.assertEqual((self.buffer.payload, self.path.watching), (MOST - HEADER_SIZE, False))

    def test_small_already(self) -> None:
        """Packets that pass everywhere cannot be too large."""
        self.path.watch(1, 5.0, 10.0)
        self.assertEqual((self.sent(), self.path.watching), ([], False))

    def test_unknown_subtypes(self) -> None:
        """Others are ignored."""
        for subtype in (0, 3, 0xFFFF):
            self.path.take(subtype, MOST, 1400)
        self.assertFalse(self.path.owes)


class BlackHoleTests(SynchronousTestCase):
    """Whole ports over a path that swallows large packets."""

    def transfer(self, largest: int, *, meet: bool, seconds: float = 5.0) -> set[int]:
        """Send a megabyte.

        :param largest: bytes of the datagrams that pass.
        :param meet: by a rendezvous; else the one calls the other's listener.
        :return: the sizes of data packets that passed.
        """
        pair = Pair()
        sizes: set[int] = set()

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            if len(data) > largest:
                return True
            if len(data) > BASE // 2 and isinstance(decode_packet(data), DataPacket):
                sizes.add(len(data))
            return False

        pair.network.drop = drop
        ours, theirs = pair.recorders(bytes(1_000_000)), pair.recorders()
        if meet:
            pair.here.rendezvous([pair.THERE], ours, token=1)
            pair.there.rendezvous([pair.HERE], theirs, token=1)
        else:
            pair.there.listen(theirs)
            pair.here.connect(pair.THERE, ours)
        run_for(pair.clock, seconds)
        self.assertEqual(len(theirs.last.received), 1_000_000)
        return sizes

    def test_black_hole(self) -> None:
        """Data flows whatever the path swallows without a word, in packets as large as it takes."""
        for meet in (True, False):
            for largest in (BASE, 1280, 1372, 1464, 1472):
                sizes = self.transfer(largest, meet=meet)
                usable = [size for size in (BASE, *STEPS, MOST) if size <= largest]
                self.assertIn(max(usable), sizes)

    def test_later(self) -> None:
        """A path that begins to swallow large packets in the middle of a stream, without a word, costs two
        seconds; what had left in larger ones comes in fragments, and the size that still passes is found."""
        pair = Pair()
        ours, theirs = pair.recorders(bytes(2_000_000)), pair.recorders()
        pair.there.listen(theirs)
        pair.here.connect(pair.THERE, ours)
        most = MOST
        passed: dict[bool, set[int]] = {False: set(), True: set()}

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            if len(data) > most and not isinstance(data, InFragments):
                return True
            if isinstance(decode_packet(data), DataPacket):
                passed[isinstance(data, InFragments)].add(len(data))
            return False

        pair.network.drop = drop
        while len(theirs.made) == 0 or len(theirs.last.received) < 500_000:
            run_for(pair.clock, 0.01)
        self.assertIn(MOST, passed[False])
        most = 1400
        passed[False].clear()
        run_for(pair.clock, 2.0)
        self.assertEqual(len(theirs.last.received), 2_000_000)
        for _ in range(4):
            ours.last.transport.write(bytes(250_000))
            run_for(pair.clock, 0.5)
        self.assertEqual(len(theirs.last.received), 3_000_000)
        self.assertEqual(max(passed[False]), 1392)
        self.assertEqual(max(passed[True]), MOST)

    def test_new_path(self) -> None:
        """On another path nothing is taken for granted."""
        pair = Pair()
        ours, theirs = pair.recorders(bytes(100_000)), pair.recorders()
        call = pair.here.rendezvous([pair.THERE], ours, token=1)
        pair.there.rendezvous([pair.HERE], theirs, token=1)
        run_for(pair.clock, 1.0)
        assert call.link is not None
        large: list[int] = []

        def drop(data: bytes, source: Address, destination: Address) -> bool:
            if len(data) > BASE:
                large.append(len(data))
            return len(data) > BASE

        pair.network.drop = drop
        call.link.connection.new_path(settled=True)
        ours.last.transport.write(bytes(100_000))
        run_for(pair.clock, 1.0)
        self.assertEqual(len(theirs.last.received), 200_000)
        self.assertLessEqual(len(large), ROUNDS + 2 * len(STEPS))
