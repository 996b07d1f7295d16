"""Tests for :mod:`wavesync.signalling.revoking` and :mod:`wavesync.signalling.crl_transfer`."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import client, prover, server
from wavesync.errors import ConnectFailed
from wavesync.identity.crl import MAX_CRL, MAX_NUMBER
from wavesync.identity.ids import Target
from wavesync.signalling.crl_transfer import WINDOW, fetch_crl, push_crl
from wavesync.signalling.messages import (
    Connect,
    ConnectAnswer,
    CrlFetch,
    CrlNews,
    CrlPiece,
    CrlPush,
    CrlPushed,
    Listen,
    Refusal,
    Registered,
    SignallingError,
)
from wavesync.signalling.numbers import (
    CONNECT_SIZE,
    MAX_CRL_PIECE,
    MAX_STREAM_MESSAGE,
    Attribute,
    Method,
)
from wavesync.signalling.revoking import CrlAssembly, piece_of
from wavesync.stun.message import Message, MessageClass, decode, encode
from wavesync.stun.transactions import Answer

TRANSACTION = bytes(range(12))
CONNECTION = "00112233445566778899aabbccddeeff"
KEY = bytes(32)


class MessageTests(SynchronousTestCase):
    """What one side encodes, the other decodes to the same value."""

    def test_round_trips(self) -> None:
        """Every message about lists keeps its numbers and bytes."""
        for value in (
            CrlPush(7, 0, 3, b"abc"),
            CrlPiece(MAX_NUMBER, 100, MAX_CRL, bytes(MAX_CRL_PIECE)),
            CrlPushed(0),
            CrlPushed(9),
            CrlNews(5),
            CrlFetch(0),
            CrlFetch(3072, CONNECTION),
        ):
            raw = value.encode(TRANSACTION)
            self.assertLessEqual(len(raw), MAX_STREAM_MESSAGE)
            self.assertEqual(type(value).decode(decode(raw)), value)

    def test_numbers_of_lists(self) -> None:
        """``listen``, ``connect`` and their answers tell which list each side holds."""
        listen = Listen(server().target, KEY, 5)
        self.assertEqual(
            Listen.decode(decode(listen.encode(TRANSACTION, prover(server())))), listen
        )
        registered = Registered(1, KEY, 15.0, 1.0, 6)
        self.assertEqual(Registered.decode(decode(registered.encode(TRANSACTION))), registered)
        connect = Connect(CONNECTION, Target("a" * 32), crl_number=7)
        raw = connect.encode(TRANSACTION, prover(client()))
        self.assertEqual((len(raw), Connect.decode(decode(raw))), (CONNECT_SIZE, connect))
        answer = ConnectAnswer(
            CONNECTION, server().target, b"", (), 1, 0.0, ("192.0.2.1", 9), 8, b"list"
        )
        self.assertEqual(ConnectAnswer.decode(decode(answer.encode(TRANSACTION))), answer)

    def test_no_list_costs_no_byte(self) -> None:
        """Who has no list sends what was sent before there were any."""
        raw = Listen(server().target, KEY).encode(TRANSACTION)
        self.assertIsNone(decode(raw).get(Attribute.CRL_NUMBER))

    def refused(self, kind: type[CrlPush], *attributes: tuple[int, bytes]) -> None:
        """Check that a message with those attributes is not taken."""
        message = Message(kind.METHOD, kind.CLASS, TRANSACTION, attributes)
        with self.assertRaises(SignallingError):
            kind.decode(decode(encode(message)))

    def test_at_the_limits_and_past(self) -> None:
        """Numbers, lengths and ranges of a lying peer are refused."""
        number = (Attribute.CRL_NUMBER, (1).to_bytes(8, "big"))
        span = (Attribute.CRL_RANGE, bytes(4) + (MAX_CRL).to_bytes(4, "big"))
        for kind in (CrlPush, CrlPiece):
            fits = Message(
                kind.METHOD,
                kind.CLASS,
                TRANSACTION,
                (number, span, (Attribute.CRL, bytes(MAX_CRL_PIECE))),
            )
            self.assertEqual(kind.decode(decode(encode(fits))).total, MAX_CRL)
            self.refused(kind, number, span, (Attribute.CRL, bytes(MAX_CRL_PIECE + 1)))
            self.refused(kind, number, span, (Attribute.CRL, b""))
            self.refused(kind, span, (Attribute.CRL, b"x"))
            self.refused(kind, number, (Attribute.CRL, b"x"))
            too_high = (Attribute.CRL_NUMBER, (MAX_NUMBER + 1).to_bytes(8, "big"))
            self.refused(kind, too_high, span, (Attribute.CRL, b"x"))
            too_long = (Attribute.CRL_RANGE, bytes(4) + (MAX_CRL + 1).to_bytes(4, "big"))
            self.refused(kind, number, too_long, (Attribute.CRL, b"x"))
            beyond = (Attribute.CRL_RANGE, bytes([0, 0, 0, 3, 0, 0, 0, 3]))
            self.refused(kind, number, beyond, (Attribute.CRL, b"x"))


class AssemblyTests(SynchronousTestCase):
    """Pieces come in order, or not at all."""

    def test_joins(self) -> None:
        """A list is whole with its last piece, and the next one begins anew."""
        assembly = CrlAssembly()
        for _ in range(2):
            self.assertIsNone(assembly.add(CrlPush(1, 0, 4, b"ab")))
            self.assertEqual(assembly.add(CrlPush(1, 2, 4, b"cd")), b"abcd")

    def test_out_of_turn(self) -> None:
        """A gap, a repetition or a piece of another list is refused."""
        for wrong in (
            CrlPush(1, 3, 4, b"d"),
            CrlPush(2, 2, 4, b"cd"),
            CrlPush(1, 2, 5, b"cd"),
        ):
            assembly = CrlAssembly()
            assembly.add(CrlPush(1, 0, 4, b"ab"))
            with self.assertRaises(SignallingError):
                assembly.add(wrong)
        with self.assertRaises(SignallingError):
            CrlAssembly().add(CrlPush(1, 2, 4, b"cd"))

    def test_begins_anew(self) -> None:
        """A push that was broken off is forgotten when another begins."""
        assembly = CrlAssembly()
        assembly.add(CrlPush(1, 0, 4, b"ab"))
        self.assertIsNone(assembly.add(CrlPush(2, 0, 4, b"ef")))
        self.assertEqual(assembly.add(CrlPush(2, 2, 4, b"gh")), b"efgh")


class Mediator:
    """Answers at once from a list that may change while it is fetched."""

    def __init__(self, *lists: tuple[int, bytes]) -> None:
        self.lists = list(lists)
        self.asked = 0
        self.assembly = CrlAssembly()
        self.pushed: list[bytes] = []
        self.change_at: set[int] = set()
        self.spoil: Callable[[CrlPiece], CrlPiece] = lambda piece: piece

    def ask(self, request: bytes) -> Deferred[Answer]:
        """Answer a request."""
        message = decode(request)
        self.asked += 1
        if self.asked in self.change_at and len(self.lists) > 1:
            del self.lists[0]
        if message.method == Method.CRL_PUSH:
            push = CrlPush.decode(message)
            whole = self.assembly.add(push)
            if whole is not None:
                self.pushed.append(whole)
            raw = CrlPushed(push.number if whole is not None else 0).encode(message.transaction_id)
        elif not self.lists:
            raw = Refusal(404).encode(message.method, message.transaction_id)
        else:
            number, der = self.lists[0]
            piece = CrlPiece(*piece_of(number, der, CrlFetch.decode(message).offset))
            raw = self.spoil(piece).encode(message.transaction_id)
        return succeed(Answer(message.transaction_id, ("m", 1), decode(raw), 1, 0.0))


class TransferTests(SynchronousTestCase):
    """A list of any length arrives whole."""

    LONG = bytes(range(256)) * 400

    def fetch(self, mediator: Mediator) -> bytes:
        """Fetch what that mediator holds."""
        return self.successResultOf(Deferred.fromCoroutine(fetch_crl(mediator.ask)))

    def test_fetch(self) -> None:
        """One piece, exactly two pieces, many windows of pieces."""
        for der in (b"x", bytes(2 * MAX_CRL_PIECE), self.LONG, bytes(MAX_CRL)):
            mediator = Mediator((3, der))
            self.assertEqual(self.fetch(mediator), der)
            self.assertEqual(mediator.asked, -(-len(der) // MAX_CRL_PIECE))

    def test_push(self) -> None:
        """A pushed list is whole on the other side."""
        for der in (b"x", self.LONG):
            mediator = Mediator()
            pushing = Deferred.fromCoroutine(push_crl(mediator.ask, 4, der))
            self.assertEqual(self.successResultOf(pushing), 4)
            self.assertEqual(mediator.pushed, [der])

    def test_changes_on_the_way(self) -> None:
        """A newer list that comes while an older one is fetched is fetched instead."""
        mediator = Mediator((1, self.LONG), (2, self.LONG[::-1]))
        mediator.change_at = {WINDOW}
        self.assertEqual(self.fetch(mediator), self.LONG[::-1])

    def test_changes_all_the_time(self) -> None:
        """A mediator that never gives a whole list does not keep anybody busy."""
        mediator = Mediator(*((n, self.LONG) for n in range(1, 100)))
        mediator.change_at = set(range(1000))
        failure = self.failureResultOf(Deferred.fromCoroutine(fetch_crl(mediator.ask)))
        failure.trap(ConnectFailed)
        self.assertLess(mediator.asked, 4 * (1 + WINDOW))

    def test_lies(self) -> None:
        """Pieces that are too short or of another place, errors and nonsense are one failure."""
        spoilers: list[Callable[[CrlPiece], CrlPiece]] = [
            lambda p: CrlPiece(p.number, p.offset, p.total, p.piece[:-1]),
            lambda p: CrlPiece(p.number, 0, p.total, p.piece),
        ]
        for spoil in spoilers:
            mediator = Mediator((1, self.LONG))
            mediator.spoil = spoil
            failure = self.failureResultOf(Deferred.fromCoroutine(fetch_crl(mediator.ask)))
            self.assertIn("wrong piece", failure.getErrorMessage())
        failure = self.failureResultOf(Deferred.fromCoroutine(fetch_crl(Mediator().ask)))
        self.assertIn("404", failure.getErrorMessage())

    def test_nonsense(self) -> None:
        """An answer that is no piece at all is told as such."""

        def ask(request: bytes) -> Deferred[Answer]:
            transaction = decode(request).transaction_id
            empty = encode(Message(Method.CRL_FETCH, MessageClass.SUCCESS, transaction))
            return succeed(Answer(transaction, ("m", 1), decode(empty), 1, 0.0))

        failure = self.failureResultOf(Deferred.fromCoroutine(fetch_crl(ask)))
        self.assertIn("nonsense", failure.getErrorMessage())
