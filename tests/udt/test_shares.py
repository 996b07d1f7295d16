"""How much one rendezvous sends to addresses from which nothing ever comes."""

from collections import Counter
from random import Random

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.udt.ends import memory_port
from wavesync.interfaces import Address
from wavesync.testing.network import Network
from wavesync.testing.time import run_for
from wavesync.udt.handshake import HANDSHAKE_SIZE, Offer
from wavesync.udt.paths import FULL_SHARES, MAX_UNHEARD, SMALL_SHARE
from wavesync.udt.punching import MAX_CANDIDATES, PunchAttempt

_TOKEN = 0xC0FFEE
_OBSERVED: Address = ("203.0.113.9", 9999)


def listed(number: int) -> Address:
    """A private address that leads nowhere."""
    return "10.0.0.1", 1000 + number


class ShareTests(SynchronousTestCase):
    """An attempt whose peer never answers."""

    def sent(self, at_once: int, later: int = 0) -> Counter[Address]:
        """Let an attempt run out.

        :param at_once: addresses announced at first.
        :param later: addresses seen one by one after that.
        :returns: handshakes by address.
        """
        found: Counter[Address] = Counter()
        offer = Offer(77, 1)
        attempt = PunchAttempt(
            [listed(n) for n in range(at_once)],
            offer,
            _TOKEN,
            0.0,
            60.0,
            randbits=Random(1).getrandbits,
        )
        now = 0.0
        for number in range(later):
            attempt.add_candidate(listed(at_once + number), now, urgent=True)
        while (due := attempt.deadline()) is not None:
            now = max(now, due)
            attempt.timer(now)
            found.update(address for _, address in attempt.datagrams(now))
        return found

    def test_few(self) -> None:
        """A few addresses all get their full share."""
        for number in (1, FULL_SHARES):
            self.assertEqual(set(self.sent(number).values()), {MAX_UNHEARD})

    def test_one_more(self) -> None:
        """One address more gets a small one."""
        found = self.sent(FULL_SHARES + 1)
        self.assertEqual(sorted(found.values()), [SMALL_SHARE] + FULL_SHARES * [MAX_UNHEARD])
        self.assertEqual(found[listed(FULL_SHARES)], SMALL_SHARE)

    def test_most(self) -> None:
        """However many addresses there are, what leaves has a bound."""
        found = self.sent(MAX_CANDIDATES + 10)
        self.assertEqual(len(found), MAX_CANDIDATES)
        most = FULL_SHARES * MAX_UNHEARD + (MAX_CANDIDATES - FULL_SHARES) * SMALL_SHARE
        self.assertEqual(found.total(), most)
        found = self.sent(10, MAX_CANDIDATES)
        self.assertEqual(found.total(), 144)
        self.assertEqual(found.total() * HANDSHAKE_SIZE, 9216)

    def test_seen_later(self) -> None:
        """An address that the peer is seen at later on is called in full, whatever came before."""
        found = self.sent(16, 1)
        self.assertEqual(found[listed(16)], MAX_UNHEARD)

    def test_port(self) -> None:
        """What leaves a port for a client's 18 addresses is 76 handshakes: 4864 bytes."""
        clock = Clock()
        network = Network(clock)
        port = memory_port(clock, network.host("192.0.2.1"))
        host = network.host("10.0.0.1")
        there = {listed(n): memory_port(clock, host, 1000 + n, n + 1) for n in range(18)}
        observed = memory_port(clock, network.host(_OBSERVED[0]), _OBSERVED[1])
        call = port.rendezvous(list(there), Factory.forProtocol(Protocol), token=_TOKEN)
        call.connected.addErrback(lambda _: None)
        run_for(clock, 1.0)
        call.add_candidate(_OBSERVED)
        run_for(clock, 30.0)
        self.assertEqual(observed.dropped, MAX_UNHEARD)
        total = sum(each.dropped for each in there.values())
        self.assertEqual(total * HANDSHAKE_SIZE, 4864)
        for each in (port, observed, *there.values()):
            each.close()
        run_for(clock, 5.0)
