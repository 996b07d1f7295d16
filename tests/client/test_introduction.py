"""Tests for :mod:`wavesync.client.introduction`."""

from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import LogListener
from tests.client.support import (
    CONNECTION,
    MEDIATOR,
    OBSERVED,
    SERVER_TCP,
    SERVER_UDP,
    answer,
    signed_addresses,
)
from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.client.introduction import (
    Introduction,
    NotOnline,
    judge_answer,
    refusal_error,
    server_checker,
)
from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.ids import Target
from wavesync.signalling.messages import Bind, Listen, Refusal, SignallingError
from wavesync.signalling.numbers import ErrorCode, Method
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import parse_relay
from wavesync.stun.message import Message, MessageClass, decode, encode

REQUEST = Message(Method.CONNECT, MessageClass.REQUEST, b"q" * 12)


class JudgeAnswerTests(SynchronousTestCase):
    """A client uses no address that its server has not signed or its mediator not seen."""

    def setUp(self) -> None:
        listener = LogListener("wavesync.client")
        self.addCleanup(listener.stop)
        self.said = listener.said

    def judge(self, data: bytes, target: Target | None = None, now: float = NOW) -> Introduction:
        """Judge an answer."""
        return judge_answer(
            decode(data),
            MEDIATOR,
            server().target if target is None else target,
            CONNECTION,
            allow_loopback=False,
            signed_by=server_checker(AUDIENCE, now),
        )

    def test_good(self) -> None:
        """All of an honest answer is used."""
        introduction = self.judge(answer(REQUEST))
        self.assertEqual(introduction.server, server().target)
        self.assertEqual(introduction.tcp, (SERVER_TCP,))
        self.assertEqual(introduction.listed, (SERVER_UDP,))
        self.assertEqual(introduction.udp(allow_loopback=False), (OBSERVED, SERVER_UDP))
        self.assertEqual(introduction.token, 7)
        self.assertEqual(self.said, [])

    def test_forwarded(self) -> None:
        """A public UDP address is used on the server's signed word, as one that a router forwards."""
        forwarded = ("8.8.8.8", 4000)
        signed = Bind(1, (), (forwarded, SERVER_UDP)).encode(b"b" * 12, prover(server()))
        introduction = self.judge(answer(REQUEST, signed=signed))
        self.assertEqual(introduction.udp(allow_loopback=False), (OBSERVED, forwarded, SERVER_UDP))

    def test_whole_system(self) -> None:
        """Asked for a system, the mediator may choose any server of it."""
        data = answer(REQUEST, target=server(2).target, signed=signed_addresses(server(2)))
        introduction = self.judge(data, Target(server().system, None))
        self.assertEqual(introduction.server, server(2).target)
        self.assertEqual(introduction.tcp, (SERVER_TCP,))

    def test_old_signature(self) -> None:
        """Addresses stand until the server signs others, for days if need be."""
        proves = prover(server(), now=NOW - 6 * 86400)
        old = Bind(1, (SERVER_TCP,), ()).encode(b"b" * 12, proves)
        self.assertEqual(self.judge(answer(REQUEST, signed=old)).tcp, (SERVER_TCP,))

    def test_expired(self) -> None:
        """Not, though, once the server's certificate has expired."""
        self.assertEqual(self.judge(answer(REQUEST), now=NOW + 366 * 86400).tcp, ())
        self.assertIn("expired", self.said.pop())

    def test_unsigned(self) -> None:
        """A server that has not told addresses may still be punched at where it was seen."""
        introduction = self.judge(answer(REQUEST, signed=b""))
        self.assertEqual((introduction.tcp, introduction.listed), ((), ()))
        self.assertEqual(introduction.udp(allow_loopback=False), (OBSERVED,))
        self.assertEqual(self.said, [])

    def test_forged(self) -> None:
        """Addresses signed by anybody else, for anybody else, or by nobody are not used."""
        good = signed_addresses()
        changed = good.replace(bytes([10, 0, 0, 9]), bytes([10, 0, 0, 8]))
        bare = decode(good)
        unsigned = encode(Message(bare.method, bare.message_class, b"b" * 12, bare.attributes[:3]))
        listen = Listen(server().target, b"k" * 32).encode(b"b" * 12, prover(server()))
        for name, signed in {
            "another server of the system": signed_addresses(server(2)),
            "a server of another system": signed_addresses(server(1, of=2)),
            "a client": signed_addresses(client()),
            "for another mediator": signed_addresses(audience="other.example"),
            "changed": changed,
            "unsigned": unsigned,
            "of another purpose": listen,
            "cut": good[:-8],
            "noise": b"x" * 300,
        }.items():
            introduction = self.judge(answer(REQUEST, signed=signed))
            self.assertEqual((introduction.tcp, introduction.listed), ((), ()), name)
            # What the mediator itself has seen is no worse than before.
            self.assertEqual(introduction.udp(allow_loopback=False), (OBSERVED,))
            self.assertEqual(len(self.said), 1, name)
            self.assertIn("hands out bad addresses", self.said.pop())

    def test_loopback(self) -> None:
        """Nobody can make a client connect to its own host."""
        signed = Bind(1, (("127.0.0.1", 22), SERVER_TCP), (("::1", 22),)).encode(
            b"b" * 12, prover(server())
        )
        data = answer(REQUEST, signed=signed, observed=(("127.0.0.1", 53),))
        introduction = self.judge(data)
        self.assertEqual(introduction.tcp, (SERVER_TCP,))
        self.assertEqual(introduction.udp(allow_loopback=False), ())

    def test_relays(self) -> None:
        """Relays where the server says it has parked, by any port, or else those that the mediator knows."""
        port = parse_relay("https://two.example")
        known, parked = parse_relay("one.example"), ParkedAt(parse_relay("two.example"), 0.02)
        signed = signed_addresses(relays=(parked,))
        for data, expected in (
            (answer(REQUEST), ()),
            (answer(REQUEST, relays=(known,)), (ParkedAt(known),)),
            (answer(REQUEST, signed=b"", relays=(known,)), (ParkedAt(known),)),
            (answer(REQUEST, signed=signed), (parked,)),
            (answer(REQUEST, signed=signed, relays=(known,)), (parked,)),
            (
                answer(REQUEST, signed=signed, relays=(port, parked.relay)),
                (parked, ParkedAt(port, 0.02)),
            ),
        ):
            self.assertEqual(self.judge(data).relays, expected)
        forged = signed_addresses(server(2), relays=(parked,))
        self.assertEqual(self.judge(answer(REQUEST, signed=forged)).relays, ())
        self.said.clear()

    def test_another_answer(self) -> None:
        """An answer for another request, or about another server, is nonsense."""
        for data, words in (
            (answer(REQUEST, connection_id="dd" * 16), "another request"),
            (answer(REQUEST, target=server(2).target), "another server"),
            (answer(REQUEST, target=server(1, of=2).target), "another server"),
            (encode(Message(Method.CONNECT, MessageClass.SUCCESS, b"q" * 12)), "missing"),
        ):
            error = self.assertRaises(SignallingError, self.judge, data)
            self.assertIn(words, str(error))


class RefusalErrorTests(SynchronousTestCase):
    """Every refusal is a sentence that says who refuses what, and whether it helps to try again."""

    def error(self, code: int, reason: str = "", audience: str = "") -> WavesyncError:
        """What a person is told."""
        return refusal_error(Refusal(code, reason, b"", audience), MEDIATOR, server().target)

    def test_sentences(self) -> None:
        """One for each kind."""
        for code, kind, words in (
            (ErrorCode.NOT_FOUND, NotOnline, f"{server().target} is not online"),
            (ErrorCode.FORBIDDEN, NotAllowed, "does not accept these credentials"),
            (ErrorCode.UNAUTHENTICATED, NotAllowed, "does not accept these credentials"),
            (ErrorCode.QUOTA_REACHED, ConnectFailed, "is busy: try again in a while"),
            (ErrorCode.INSUFFICIENT_CAPACITY, ConnectFailed, "is busy"),
            (ErrorCode.SERVER_ERROR, ConnectFailed, "answers with error 500"),
            (699, ConnectFailed, "answers with error 699"),
        ):
            error = self.error(code)
            self.assertIs(type(error), kind)
            self.assertIn(words, str(error))
            self.assertIn("mediator.example:3345", str(error))

    def test_reason(self) -> None:
        """The mediator's word is passed on."""
        self.assertIn("credentials: expired", str(self.error(ErrorCode.FORBIDDEN, "expired")))

    def test_names_differ(self) -> None:
        """A mediator of another name is the usual mistake in a new installation."""
        error = self.error(ErrorCode.STALE_NONCE, audience="m.internal")
        self.assertIsInstance(error, NotAllowed)
        self.assertIn(
            "calls itself 'm.internal', but is known here as 'mediator.example'", str(error)
        )
