"""Tests for :mod:`wavesync.client.introducer`."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.client.support import MAPPED, OBSERVED, OWN
from tests.client.world import MemoryReactor
from tests.signalling.provers import NOW, client, server
from wavesync.client.attempt import CONNECT_LIMIT
from wavesync.client.introducer import (
    INTRODUCTION_TIMEOUT,
    NAMES_TIMEOUT,
    NEXT_MEDIATOR_DELAY,
    Introducer,
    Introducing,
)
from wavesync.client.introduction import NotOnline
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.interfaces import Address
from wavesync.signalling.messages import (
    Connect,
    ConnectAnswer,
    ConnectionResult,
    ConnectionUpdate,
    Refusal,
)
from wavesync.signalling.numbers import ConnectType, ErrorCode, Method, ResultCode
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import Message, MessageClass, decode, encode

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SIX = "2001:db8::1"


class _SlowNames:
    """A resolver that finds names when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str, *args: object, **kw: object) -> object:
        """Begin to look a name up."""
        receiver.resolutionBegan(self)
        self.waiting.append(receiver)
        return self

    def find(self, host: str) -> None:
        """Everything that is looked for is at *host*."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.addressResolved(IPv4Address("TCP", host, 0))
            each.resolutionComplete()


class IntroducerTests(SynchronousTestCase):
    """With several mediators, one that works is enough, and none that is broken costs much."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.sent: list[tuple[Message, Address]] = []

    def introducer(
        self, *urls: str, udp: bool = True, families: set[bool] | None = None
    ) -> Introducer:
        """An introducer that knows these mediators."""
        return Introducer(
            self.reactor,  # type: ignore[arg-type]
            client(),
            parse_mediators(urls),
            send_udp=(lambda data, to: self.sent.append((decode(data), to))) if udp else None,
            families=lambda: families or {False},
            own_addresses=lambda: [OWN],
            wall_clock=lambda: NOW + self.reactor.seconds(),
        )

    def asked(self) -> dict[str, Message]:
        """The last request to each mediator since the last look."""
        sent, self.sent = self.sent, []
        return {to[0]: message for message, to in sent if message.method == Method.CONNECT}

    def answer(self, introducer: Introducer, request: Message, host: str) -> None:
        """Have a mediator answer."""
        data = ConnectAnswer(
            Connect.decode(request).connection_id,
            server().target,
            b"",
            (OBSERVED,),
            7,
            0.0,
            MAPPED,
        ).encode(request.transaction_id)
        introducer.received_udp(decode(data), (host, 3345))

    def refuse(self, introducer: Introducer, request: Message, host: str, code: int) -> None:
        """Have a mediator refuse."""
        data = Refusal(code).encode(request.method, request.transaction_id)
        introducer.received_udp(decode(data), (host, 3345))

    def assert_over(self, introducing: Introducing) -> None:
        """Nothing is left of it."""
        introducing.close()
        self.reactor.advance(30)
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_first_answers(self) -> None:
        """While the first mediator answers in time, the second is not even asked."""
        introducer = self.introducer(ONE, TWO)
        introducing = introducer.introduce(server().target)
        ((host, request),) = self.asked().items()
        self.assertEqual(host, ONE)
        self.reactor.advance(NEXT_MEDIATOR_DELAY / 2)
        self.answer(introducer, request, ONE)
        introduction = self.successResultOf(introducing.result)
        self.assertEqual(introduction.mediator.host, ONE)
        self.reactor.advance(5)
        self.assertNotIn(TWO, self.asked())
        self.assert_over(introducing)

    def test_lost_request(self) -> None:
        """A lost packet costs little more than a tenth of a second: the same request goes again."""
        introducer = self.introducer(f"udp://{ONE}")
        introducing = introducer.introduce(server().target)
        first = self.asked()[ONE].raw
        times = []
        self.reactor.advance(0.005)
        for tick in range(200):
            if self.sent:
                self.assertEqual(self.asked()[ONE].raw, first)
                times.append(tick * 10)
            self.reactor.advance(0.01)
        self.assertEqual(times, [120, 360, 840, 1800])
        introducing.result.addErrback(lambda failure: failure.trap(ConnectFailed))
        self.assert_over(introducing)

    def test_first_is_slow(self) -> None:
        """A silent mediator costs a second; whoever answers first then is used."""
        introducer = self.introducer(f"udp://{ONE}", f"udp://{TWO}", f"udp://{THREE}")
        introducing = introducer.introduce(server().target)
        self.reactor.advance(NEXT_MEDIATOR_DELAY - 0.01)
        self.assertEqual(list(self.asked()), [ONE])
        self.reactor.advance(0.02)
        asked = self.asked()
        self.assertIn(TWO, asked)
        self.assertNotIn(THREE, asked)
        self.answer(introducer, asked[TWO], TWO)
        self.assertEqual(self.successResultOf(introducing.result).mediator.host, TWO)
        self.reactor.advance(5)
        self.assertNotIn(THREE, self.asked())
        self.assert_over(introducing)

    def test_first_refuses(self) -> None:
        """After a refusal the next one is asked at once, and its answer counts."""
        introducer = self.introducer(f"udp://{ONE}", f"udp://{TWO}")
        introducing = introducer.introduce(server().target)
        self.refuse(introducer, self.asked()[ONE], ONE, ErrorCode.NOT_FOUND)
        self.assertNoResult(introducing.result)
        self.answer(introducer, self.asked()[TWO], TWO)
        self.assertEqual(self.successResultOf(introducing.result).mediator.host, TWO)
        self.assert_over(introducing)

    def test_unknown_name(self) -> None:
        """A name that cannot be resolved does not keep the others from being asked."""
        self.reactor.names["m.example"] = [TWO]
        introducer = self.introducer("nowhere.example", "udp://m.example")
        introducing = introducer.introduce(server().target)
        self.answer(introducer, self.asked()[TWO], TWO)
        self.assertEqual(self.successResultOf(introducing.result).mediator.host, "m.example")
        self.assert_over(introducing)

    def test_all_fail(self) -> None:
        """When all fail, all of them are told of, in one sentence."""
        introducer = self.introducer("nowhere.example", f"udp://{ONE}", f"udp://{TWO}")
        introducing = introducer.introduce(server().target)
        self.refuse(introducer, self.asked()[ONE], ONE, ErrorCode.NOT_FOUND)
        self.refuse(introducer, self.asked()[TWO], TWO, ErrorCode.QUOTA_REACHED)
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertNotIsInstance(failure.value, NotOnline)
        self.assertEqual(
            failure.getErrorMessage(),
            "the mediator's name 'nowhere.example' cannot be resolved;"
            f" {server().target} is not online: the mediator {ONE}:3345 does not know it;"
            f" the mediator {TWO}:3345 is busy: try again in a while",
        )
        self.assert_over(introducing)

    def test_all_say_so(self) -> None:
        """Who says that the server is not online is told of; who does not answer has said nothing."""
        introducer = self.introducer("nowhere.example", f"udp://{ONE}", f"udp://{TWO}")
        introducing = introducer.introduce(server().target)
        self.refuse(introducer, self.asked()[ONE], ONE, ErrorCode.NOT_FOUND)
        self.refuse(introducer, self.asked()[TWO], TWO, ErrorCode.NOT_FOUND)
        error = self.failureResultOf(introducing.result, NotOnline).value
        assert isinstance(error, NotOnline)
        self.assertEqual([each.host for each in error.mediators], [ONE, TWO])
        self.assertIn("nowhere.example", str(error))
        self.assert_over(introducing)

    def test_not_allowed(self) -> None:
        """What a person can act on is told alone: the credentials."""
        introducer = self.introducer("nowhere.example", f"udp://{ONE}")
        introducing = introducer.introduce(server().target)
        self.refuse(introducer, self.asked()[ONE], ONE, ErrorCode.FORBIDDEN)
        failure = self.failureResultOf(introducing.result, NotAllowed)
        self.assertNotIn("nowhere", failure.getErrorMessage())
        self.assert_over(introducing)

    def test_timeout(self) -> None:
        """Before three seconds of silence are over, so is it, and every silent mediator is named."""
        self.assertLessEqual(INTRODUCTION_TIMEOUT, CONNECT_LIMIT)
        introducer = self.introducer(f"tcp://{ONE}", f"tcp://{TWO}")
        introducing = introducer.introduce(server().target)
        self.reactor.pump([0.1] * round(INTRODUCTION_TIMEOUT * 10 - 1))
        self.assertNoResult(introducing.result)
        self.reactor.pump([0.1] * 2)
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            f"the mediator {ONE}:3345 does not answer; the mediator {TWO}:3345 does not answer",
        )
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_slow_names(self) -> None:
        """The time for an introduction begins when a mediator's name is known, so that a dead name
        server costs its own time only."""
        names = self.reactor.nameResolver = _SlowNames()  # type: ignore[assignment]
        introducer = self.introducer("udp://m.example")
        introducing = introducer.introduce(server().target)
        self.reactor.pump([0.1] * 60)
        self.assertNoResult(introducing.result)
        names.find(ONE)
        self.reactor.pump([0.1] * round(INTRODUCTION_TIMEOUT * 10 - 5))
        self.answer(introducer, self.asked()[ONE], ONE)
        self.assertEqual(self.successResultOf(introducing.result).mediator.host, "m.example")
        self.assert_over(introducing)

    def test_names_time_out(self) -> None:
        """A name server that never answers is told of; so is a mediator that is silent meanwhile,
        as soon as its own time is over."""
        self.reactor.nameResolver = _SlowNames()  # type: ignore[assignment]
        introducer = self.introducer("m.example")
        introducing = introducer.introduce(server().target)
        self.reactor.advance(NAMES_TIMEOUT - 0.1)
        self.assertNoResult(introducing.result)
        self.reactor.advance(0.2)
        unknown = "the mediator's name 'm.example' cannot be resolved"
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertEqual(failure.getErrorMessage(), unknown)
        introducing = self.introducer("m.example", f"tcp://{ONE}").introduce(server().target)
        self.reactor.pump([0.1] * round((NEXT_MEDIATOR_DELAY + INTRODUCTION_TIMEOUT) * 10 + 3))
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(), f"{unknown}; the mediator {ONE}:3345 does not answer"
        )
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_udp_timeout(self) -> None:
        """Over UDP alone silence is told sooner."""
        introducer = self.introducer(f"udp://{ONE}")
        introducing = introducer.introduce(server().target)
        self.reactor.pump([0.1] * round(INTRODUCTION_TIMEOUT * 10))
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            f"cannot reach the mediator {ONE}:3345: udp: no answer came",
        )
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def test_other_family(self) -> None:
        """A mediator of a family that the port does not have is asked over TCP alone."""
        self.reactor.names["m.example"] = ["192.0.2.9"]
        introducer = self.introducer("m.example", families={True})
        introducing = introducer.introduce(server().target)
        self.assertEqual(self.asked(), {})
        self.reactor.advance(0.01)
        self.assertEqual(self.reactor.tcpClients[0][:2], ("192.0.2.9", 3345))
        self.assert_over(self.given_up(introducing))

    def given_up(self, introducing: Introducing) -> Introducing:
        """Cancel it."""
        introducing.result.cancel()
        self.failureResultOf(introducing.result, CancelledError)
        return introducing

    def test_cancelled(self) -> None:
        """Giving up leaves nothing, and a late answer is nobody's."""
        introducer = self.introducer(ONE, TWO)
        introducing = introducer.introduce(server().target)
        request = self.asked()[ONE]
        self.given_up(introducing)
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])
        self.answer(introducer, request, ONE)

    def test_close(self) -> None:
        """Closing the introducer ends everything that is under way."""
        introducer = self.introducer(ONE)
        several = [introducer.introduce(server().target) for _ in range(3)]
        introducer.close()
        for introducing in several:
            self.failureResultOf(introducing.result, CancelledError)
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])

    def update(self, connection_id: str, *observed: Address) -> Message:
        """A mediator's word on where a server is seen now."""
        return decode(ConnectionUpdate(connection_id, 1, observed).encode(b"u" * 12))

    def test_update(self) -> None:
        """A server seen elsewhere is told on, and the mediator learns that we know, each time."""
        introducer = self.introducer(f"udp://{ONE}")
        introducing = introducer.introduce(server().target)
        self.answer(introducer, self.asked()[ONE], ONE)
        self.successResultOf(introducing.result)
        told: list[Sequence[Address]] = []
        introducing.on_update = told.append
        update = self.update(introducing.connection_id, OBSERVED)
        for _ in range(2):
            introducer.received_udp(update, (ONE, 3345))
            ((echo, to),) = self.sent
            self.assertEqual((echo.raw, to), (update.raw, (ONE, 3345)))
            self.sent.clear()
        self.assertEqual(told, [(OBSERVED,), (OBSERVED,)])
        introducing.close()
        introducer.received_udp(update, (ONE, 3345))
        self.assertEqual((self.sent, len(told)), ([], 2))

    def test_update_of_another(self) -> None:
        """Updates that are not ours, or malformed, are not answered."""
        introducer = self.introducer(f"udp://{ONE}")
        introducing = introducer.introduce(server().target)
        self.sent.clear()
        introducing.on_update = lambda observed: self.fail("told")
        empty = Message(Method.CONNECTION_UPDATE, MessageClass.INDICATION, b"u" * 12)
        for message in (self.update("ee" * 16, OBSERVED), decode(encode(empty))):
            introducer.received_udp(message, (ONE, 3345))
        self.assertEqual(self.sent, [])
        self.assert_over(self.given_up(introducing))

    def results(self) -> list[tuple[ConnectionResult, Address]]:
        """What the mediators were told over UDP of how it ended, since the last look."""
        sent, self.sent = self.sent, []
        return [
            (ConnectionResult.decode(message), to)
            for message, to in sent
            if message.method == Method.CONNECTION_RESULT
        ]

    def test_report(self) -> None:
        """The mediator that answered is told how it ended, in one packet, without another look
        at its name."""
        for result, kind, connect_type in (
            (ResultCode.OK, "udp", ConnectType.UDP),
            (ResultCode.OK, "tcp", ConnectType.TCP),
            (ResultCode.NO_SUITABLE_PATH, None, ConnectType.NONE),
        ):
            self.reactor.names["m.example"] = [TWO]
            introducer = self.introducer("udp://m.example:3346")
            introducing = introducer.introduce(server().target)
            self.reactor.names.clear()
            request = self.asked()[TWO]
            data = ConnectAnswer(
                introducing.connection_id, server().target, b"", (OBSERVED,), 7, 0.0, MAPPED
            ).encode(request.transaction_id)
            introducer.received_udp(decode(data), (TWO, 3346))
            introducing.finish(result, kind, 1.2345)
            introducing.finish(result, kind, 1.2345)
            told = ConnectionResult(introducing.connection_id, result, connect_type, 1.234)
            self.assertEqual(self.results(), [(told, (TWO, 3346))])
            self.assert_over(introducing)

    def test_report_over_tcp(self) -> None:
        """Where the answer came over TCP, that connection carries the report, and then ends."""
        introducer = self.introducer(ONE, udp=False)
        introducing = introducer.introduce(server().target)
        self.reactor.advance(0.01)
        leg = self.reactor.tcpClients[0][2].buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", ONE, 3345))
        assert leg is not None
        leg.makeConnection(transport)
        (request,) = StreamDecoder().feed(transport.value())
        data = ConnectAnswer(
            introducing.connection_id, server().target, b"", (OBSERVED,), 7, 0.0, MAPPED
        ).encode(request.transaction_id)
        transport.clear()
        leg.dataReceived(data)
        introducing.finish(ResultCode.OK, "tcp", 0.5)
        (message,) = StreamDecoder().feed(transport.value())
        told = ConnectionResult(introducing.connection_id, ResultCode.OK, ConnectType.TCP, 0.5)
        self.assertEqual(ConnectionResult.decode(message), told)
        self.assertTrue(transport.disconnecting)
        # Whoever closes the client waits until that has left.
        closing = introducer.close()
        self.assertNoResult(closing)
        leg.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closing)
        self.assert_over(introducing)

    def test_no_report(self) -> None:
        """A mediator that did not answer is told nothing; nor is one once all is over."""
        introducer = self.introducer(ONE)
        introducing = introducer.introduce(server().target)
        introducing.finish(ResultCode.NO_SUITABLE_PATH, None, 1.0)
        answered = introducer.introduce(server().target)
        self.answer(introducer, self.asked()[ONE], ONE)
        answered.close()
        answered.finish(ResultCode.OK, "udp", 1.0)
        self.assertEqual(self.results(), [])
        self.assert_over(introducing)

    def test_both_families(self) -> None:
        """A port of both families asks in both at once, each time with a proof of its own, for the
        same introduction; the answer to one is enough."""
        self.reactor.names["m.example"] = [SIX, ONE, "2001:db8::9", TWO]
        introducer = self.introducer("udp://m.example", families={False, True})
        introducing = introducer.introduce(server().target)
        asked = self.asked()
        self.assertEqual(set(asked), {ONE, SIX})
        four, six = (Connect.decode(asked[host]) for host in (ONE, SIX))
        self.assertEqual(four, six)
        self.assertNotEqual(asked[ONE].raw, asked[SIX].raw)
        self.answer(introducer, asked[SIX], SIX)
        self.successResultOf(introducing.result)
        # The other family is asked until it has an answer, too: its port shall be seen.
        self.reactor.advance(0.31)
        self.assertEqual(set(self.asked()), {ONE})
        self.assert_over(introducing)

    def test_challenged_in_both_families(self) -> None:
        """Each family signs the nonce that it was given, even after the other was answered."""
        self.reactor.names["m.example"] = [SIX, ONE]
        introducer = self.introducer("udp://m.example", families={False, True})
        introducing = introducer.introduce(server().target)
        asked = self.asked()
        self.answer(introducer, asked[ONE], ONE)
        nonce = Refusal(ErrorCode.STALE_NONCE, "", b"n" * 16, "m.example", NOW)
        challenge = nonce.encode(asked[SIX].method, asked[SIX].transaction_id)
        introducer.received_udp(decode(challenge), (SIX, 3345))
        self.assertEqual(set(self.asked()), {SIX})
        self.assertEqual(self.successResultOf(introducing.result).mediator.host, "m.example")
        self.assert_over(introducing)

    def test_silent_family(self) -> None:
        """One family's silence is told once, and only when nothing else answers."""
        self.reactor.names["m.example"] = [SIX, ONE]
        introducer = self.introducer("udp://m.example", families={False, True})
        introducing = introducer.introduce(server().target)
        self.reactor.pump([0.1] * round(INTRODUCTION_TIMEOUT * 10))
        failure = self.failureResultOf(introducing.result, ConnectFailed)
        self.assertEqual(
            failure.getErrorMessage(),
            "cannot reach the mediator m.example:3345: udp: no answer came",
        )
        self.assertEqual(list(self.reactor.getDelayedCalls()), [])
