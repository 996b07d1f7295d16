"""Tests for :mod:`wavesync.signalling.relay_lists`, and for the messages that carry them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import prover, server
from wavesync.interfaces import Address
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.messages import Bind, ConnectAnswer, Registered
from wavesync.signalling.numbers import CONNECT_SIZE, MAX_ADDRESSES, MAX_BIND_SIZE, Attribute
from wavesync.signalling.relay_lists import (
    MAX_PARKED,
    ParkedAt,
    decode_parked,
    decode_relays,
    encode_parked,
    encode_relays,
    other_ports,
    reachable,
)
from wavesync.signalling.relay_urls import MAX_RELAY_URL, MAX_RELAYS, parse_relay
from wavesync.stun.message import decode

TRANSACTION = bytes(12)
ONE = parse_relay("http://one.example:3356")
TWO = parse_relay("https://two.example")
NEAR = parse_relay("127.0.0.1:3356")
V6: Address = ("2001:db8::7", 4001)
LONGEST = tuple(parse_relay(f"http://{letter * 116}:3356") for letter in "abcde")


class RelayListTests(SynchronousTestCase):
    """What one side lists, the other reads."""

    def test_other_ports(self) -> None:
        """A host's URL with TLS, and the one without, are one relay's; two of a kind are two relays'."""
        other, third = parse_relay("https://one.example"), parse_relay("http://one.example:81")
        self.assertEqual(other_ports((ONE, TWO), (TWO,)), ())
        self.assertEqual(other_ports((TWO, third, ONE, other), (ONE, TWO)), (other,))
        self.assertEqual(other_ports((ONE, third), (other,)), (ONE, third))

    def test_round_trip(self) -> None:
        """Relays come in their order, with what a server has measured."""
        self.assertEqual(decode_relays(encode_relays((TWO, ONE))), (TWO, ONE))
        parked = ParkedAt(ONE, 0.012), ParkedAt(TWO)
        self.assertEqual(decode_parked(encode_parked(parked)), parked)

    def test_round_trips_measured(self) -> None:
        """However near a relay is, it differs from one that was not measured; far ones are far."""
        for measured, told in ((0.0001, 0.001), (0.0, 0.0), (100.0, 65.535)):
            ((_, found),) = decode_parked(encode_parked([ParkedAt(ONE, measured)]))
            self.assertEqual(found, told)

    def test_document(self) -> None:
        """The example in docs/mediator.rst is what is sent."""
        relay = ParkedAt(parse_relay("http://r.example:3356"), 0.012)
        self.assertEqual(
            encode_parked([relay]).hex(), "000c15687474703a2f2f722e6578616d706c653a33333536"
        )

    def test_limits(self) -> None:
        """The longest lists are taken, one more relay is not."""
        self.assertEqual(len(str(LONGEST[0])), MAX_RELAY_URL)
        self.assertEqual(decode_relays(encode_relays(LONGEST[:MAX_RELAYS])), LONGEST[:MAX_RELAYS])
        self.assertRaises(ValueError, encode_relays, LONGEST[: MAX_RELAYS + 1])
        more = encode_relays(LONGEST[:MAX_RELAYS]) + encode_relays(LONGEST[:1])
        self.assertRaises(SignallingError, decode_relays, more)
        parked = tuple(map(ParkedAt, LONGEST))
        self.assertEqual(decode_parked(encode_parked(parked[:MAX_PARKED])), parked[:MAX_PARKED])
        self.assertRaises(ValueError, encode_parked, parked[: MAX_PARKED + 1])
        more = encode_parked(parked[:MAX_PARKED]) + encode_parked(parked[:1])
        self.assertRaises(SignallingError, decode_parked, more)

    def test_room(self) -> None:
        """Where there is little room the first relays are named."""
        whole = encode_relays((ONE, TWO))
        self.assertEqual(encode_relays((ONE, TWO), room=len(whole)), whole)
        self.assertEqual(encode_relays((ONE, TWO), room=len(whole) - 1), encode_relays((ONE,)))
        self.assertEqual(encode_relays((ONE, TWO), room=3), b"")

    def test_left_out(self) -> None:
        """Nobody is aimed at his own host, and URLs of a later version spoil nothing."""
        listed = encode_relays((NEAR, ONE, ONE))
        self.assertEqual(decode_relays(listed), (ONE,))
        self.assertEqual(decode_relays(listed, allow_loopback=True), (NEAR, ONE))
        for host in (
            "localhost",
            "relay.localhost",
            "127.0.0.2",
            "[::1]",
            "169.254.1.1",
            "0.0.0.0",
        ):
            self.assertFalse(reachable(parse_relay(host)), host)
        self.assertTrue(reachable(parse_relay("localhost"), allow_loopback=True))
        other = b"\x0bquic://r.ex" + b"\x02\xff\xff" + encode_relays((TWO,))
        self.assertEqual(decode_relays(other), (TWO,))

    @given(st.binary(max_size=600))
    def test_garbage(self, data: bytes) -> None:
        """Anything is read or refused."""
        for reader, most in ((decode_relays, MAX_RELAYS), (decode_parked, MAX_PARKED)):
            try:
                self.assertLessEqual(len(reader(data)), most)
            except SignallingError:
                continue

    def test_cut(self) -> None:
        """A list that ends in the middle of an entry is refused, wherever it does."""
        whole = encode_parked([ParkedAt(ONE, 0.5)])
        for end in range(1, len(whole)):
            self.assertRaises(SignallingError, decode_parked, whole[:end])
            self.assertRaises(SignallingError, decode_relays, whole[2:][:end][:-1] or b"\x05")


class MessageTests(SynchronousTestCase):
    """Lists in messages, at their limits."""

    def test_registered(self) -> None:
        """A mediator tells servers of its relays."""
        answer = Registered(5, bytes(32), 15.0, 1.0, 0, LONGEST[:MAX_RELAYS])
        self.assertEqual(Registered.decode(decode(answer.encode(TRANSACTION))), answer)
        near = Registered(5, bytes(32), 15.0, 1.0, 0, (NEAR, ONE))
        message = decode(near.encode(TRANSACTION))
        self.assertEqual(Registered.decode(message).relays, (ONE,))
        self.assertEqual(Registered.decode(message, allow_loopback=True), near)

    def test_bind(self) -> None:
        """A server signs where it has parked; the longest relays fit with four addresses."""
        many = tuple((f"2001:db8::{i:x}", 1000 + i) for i in range(1, MAX_ADDRESSES + 1))
        parked = tuple(ParkedAt(each, 0.02) for each in LONGEST[:MAX_PARKED])
        bind = Bind(1, many[:4], (), parked)
        raw = bind.encode(TRANSACTION, prover(server(), nonce=bytes(32)))
        self.assertLessEqual(len(raw), MAX_BIND_SIZE)
        self.assertEqual(Bind.decode(decode(raw)), bind)
        full = Bind(1, many, (), parked)
        self.assertRaises(ValueError, full.encode, TRANSACTION, prover(server()))
        near = Bind(1, (), (), (ParkedAt(NEAR),)).encode(TRANSACTION, prover(server()))
        self.assertEqual(Bind.decode(decode(near)).relays, ())

    def test_connect_answer(self) -> None:
        """Whatever else is in the answer, with relays it is no longer than the request."""
        seen = ("192.0.2.7", 4000), V6
        for signed in (0, 1, 500, 700, 898, MAX_BIND_SIZE):
            for relays in (LONGEST[:MAX_RELAYS], (ONE, TWO), (ONE, *LONGEST[:3])):
                answer = ConnectAnswer(
                    "0" * 32, server().target, bytes(signed), seen, 7, 0.3, V6, 2**62, b"", relays
                )
                raw = answer.encode(TRANSACTION)
                self.assertLessEqual(len(raw), CONNECT_SIZE)
                found = ConnectAnswer.decode(decode(raw)).relays
                self.assertEqual(found, relays[: len(found)])
        self.assertEqual(found, (ONE,))

    def test_many_relays_little_else(self) -> None:
        """Where the server has signed few addresses, all relays are named."""
        bind = Bind(1, (V6,), ()).encode(TRANSACTION, prover(server()))
        answer = ConnectAnswer(
            "0" * 32, server().target, bind, (V6,), 7, 0.0, V6, relays=(ONE, TWO)
        )
        self.assertEqual(ConnectAnswer.decode(decode(answer.encode(TRANSACTION))), answer)

    def test_nothing_named(self) -> None:
        """Without relays nothing is sent about them: who does not know them sees what it knew."""
        for raw in (
            Registered(5, bytes(32), 15.0, 1.0).encode(TRANSACTION),
            Bind(1, (V6,), ()).encode(TRANSACTION, prover(server())),
            ConnectAnswer("0" * 32, server().target, b"", (), 7, 0.0, V6).encode(TRANSACTION),
        ):
            kinds = {kind for kind, _ in decode(raw).attributes}
            lists = {Attribute.TRAFFIC_RELAY_URL_LIST, Attribute.PARKED_RELAY_LIST}
            self.assertFalse(kinds & lists)
