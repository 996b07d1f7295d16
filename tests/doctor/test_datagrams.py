"""Tests for wavesync.doctor.datagrams."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from wavesync.doctor.datagrams import (
    Answered,
    Asked,
    ask_clock,
    binding_request,
    clock_request,
    of_family,
)
from wavesync.doctor.findings import Dependence, Family
from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address
from wavesync.signalling.numbers import CONNECT_SIZE, ErrorCode, Method
from wavesync.signalling.refusals import Refusal
from wavesync.stun.attributes import FINGERPRINT
from wavesync.stun.behaviour_words import Behaviour
from wavesync.stun.message import decode
from wavesync.stun.transactions import Answer

FIRST, SECOND = ("44.0.0.2", 3345), ("44.0.9.2", 3345)
LOCAL = "192.168.1.5"
FREE = Dependence.ENDPOINT_INDEPENDENT


def seen(*mapped: Address | None, port: int = 5000, big: bool | None = True) -> Asked:
    """What mediators answered that see us there; None is silence."""
    pairs = zip((FIRST, SECOND), mapped, strict=False)
    answers = {
        mediator: Answered(ms=None if at is None else 20.0, mapped=at, big=big)
        for mediator, at in pairs
    }
    return Asked(port, answers)


def family(asked: Asked, *behaviours: Behaviour, streams: tuple[Answered, ...] = ()) -> Family:
    """What is concluded."""
    found = of_family([LOCAL], asked, behaviours, streams)
    assert found is not None
    return found


class ConclusionTests(SynchronousTestCase):
    """What answers mean."""

    def test_no_such_family(self) -> None:
        """Where nothing leads out nothing is said."""
        for hosts in ([], ["::1"]):
            self.assertIsNone(of_family(hosts, Asked(), (), ()))

    def test_public(self) -> None:
        """Where nothing is translated the mapping depends on nothing, whoever has looked."""
        found = family(seen((LOCAL, 5000)))
        self.assertEqual((found.translated, found.mapping, found.udp), (False, FREE, True))

    def test_nobody_has_seen_it(self) -> None:
        """A private address is translated, if anything leads out; whether a public one is nobody knows."""
        for host, translated in ((LOCAL, True), ("100.64.0.9", True), ("44.1.0.2", None)):
            found = of_family([host], seen(None), (), ())
            assert found is not None
            self.assertIs(found.translated, translated, host)

    def test_mediator_on_this_host(self) -> None:
        """A mediator on this very host sees another address of it, which is no translation."""
        found = of_family([LOCAL, "127.0.0.1"], seen(("127.0.0.1", 5000)), (), ())
        assert found is not None
        self.assertIs(found.translated, False)

    def test_two_mediators(self) -> None:
        """Two mediators at different hosts show the mapping where none has two addresses."""
        for second, wanted in (
            (("1.1.1.1", 7), FREE),
            (("1.1.1.1", 8), Dependence.ADDRESS_DEPENDENT),
        ):
            self.assertEqual(family(seen(("1.1.1.1", 7), second)).mapping, wanted)
        self.assertIsNone(family(seen(("1.1.1.1", 7), None)).mapping)

    def test_behaviour_counts_more(self) -> None:
        """What a mediator with two addresses shows is finer."""
        exact = Behaviour(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, filtering=FREE)
        found = family(seen(("1.1.1.1", 7), ("1.1.1.1", 8)), Behaviour(), exact)
        self.assertEqual((found.mapping, found.filtering), (exact.mapping, FREE))

    def test_silence(self) -> None:
        """Where nothing comes back UDP does not pass; TCP tells where we are seen."""
        stream = Answered(ms=30.0, mapped=("1.1.1.1", 9))
        found = family(seen(None, None, big=False), streams=(stream,))
        self.assertEqual((found.udp, found.tcp, found.mapped), (False, True, "1.1.1.1"))
        self.assertEqual((found.mapping, found.big_udp), (None, None))
        self.assertIn("mapping", found.unknown)

    def test_nobody_asked(self) -> None:
        """Where no mediator takes UDP nothing is said of it."""
        found = family(Asked(), streams=(Answered(),))
        self.assertEqual((found.udp, found.tcp), (None, False))

    def test_large_datagrams(self) -> None:
        """Small datagrams that pass and large ones that do not are told apart."""
        self.assertIs(family(seen(("1.1.1.1", 7), big=False)).big_udp, False)
        self.assertIs(family(seen(("1.1.1.1", 7))).big_udp, True)

    def test_ports(self) -> None:
        """A router that keeps the port is told from one that does not."""
        self.assertIs(family(seen(("1.1.1.1", 5000))).port_preserved, True)
        self.assertIs(family(seen(("1.1.1.1", 5001))).port_preserved, False)
        self.assertIsNone(family(seen((LOCAL, 5000))).port_preserved)


class ClockTests(SynchronousTestCase):
    """How wrong the clock is."""

    def asked(self, answer: Answer | ConnectFailed) -> Answered:
        """What is noted when that comes; it is 1000 here."""
        found, waiting = Answered(), Deferred[Answer]()
        over = Deferred.fromCoroutine(ask_clock(waiting, found, lambda: 1000.0))
        waiting.callback(answer) if isinstance(answer, Answer) else waiting.errback(answer)
        self.successResultOf(over)
        return found

    def refused(self, time: float) -> Answer:
        """The answer of a mediator whose clock shows that, half a second ago."""
        refusal = Refusal(ErrorCode.UNAUTHENTICATED, nonce=b"n" * 16, audience="m", time=time)
        message = decode(refusal.encode(Method.CONNECT, bytes(12)))
        return Answer(bytes(12), FIRST, message, 1, 1.0)

    def test_ahead(self) -> None:
        """Half of the round trip is allowed for."""
        found = self.asked(self.refused(939.5))
        self.assertEqual((found.clock_error, found.big), (60.0, True))

    def test_untold(self) -> None:
        """A mediator that does not tell the time says that 1200 bytes pass all the same."""
        found = self.asked(self.refused(0.0))
        self.assertEqual((found.clock_error, found.big), (None, True))

    def test_silent(self) -> None:
        """No answer is no answer."""
        self.assertIs(self.asked(ConnectFailed("no answer came")).big, False)

    def test_requests(self) -> None:
        """Requests carry no proof and no id of anybody, and no two are alike."""
        self.assertEqual(len(clock_request()), CONNECT_SIZE)
        self.assertNotEqual(clock_request(), clock_request())
        self.assertEqual([kind for kind, _ in decode(binding_request()).attributes], [FINGERPRINT])
