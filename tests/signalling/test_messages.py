"""Every message between servers, clients and mediators, as wavesync.signalling.messages has them."""

import random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.provers import AUDIENCE, NOW, client, prover, server
from wavesync.identity.ids import Target
from wavesync.identity.proofs import check_proof
from wavesync.identity.verify import Role, VerificationError
from wavesync.interfaces import Address
from wavesync.signalling import messages
from wavesync.signalling.addresses import encode_addresses
from wavesync.signalling.messages import (
    Bind,
    Bound,
    Connect,
    ConnectAnswer,
    ConnectionAck,
    ConnectionAcked,
    ConnectionRequested,
    ConnectionResult,
    ConnectionUpdate,
    Listen,
    OpenStream,
    Refusal,
    Registered,
    RegistrationEnded,
    SignallingError,
    WarmedUp,
    WarmUp,
    covered,
    keep_alive_indication,
    keep_alive_request,
    registration_key,
)
from wavesync.signalling.numbers import (
    BINDING,
    CONNECT_SIZE,
    MAX_ADDRESSES,
    MAX_BIND_SIZE,
    WARM_UP_SIZE,
    Attribute,
    ConnectType,
    Method,
    Purpose,
)
from wavesync.stun.message import Message, MessageClass, check_integrity, decode, encode

TRANSACTION = bytes(range(12))
KEY = bytes(range(32))
CONNECTION = "00112233445566778899aabbccddeeff"
V4: Address = ("192.0.2.7", 4000)
V6: Address = ("2001:db8::7", 4001)
SERVER = Target("a" * 32, "b" * 32)


class RoundTripTests(SynchronousTestCase):
    """What one side encodes, the other decodes to the same value."""

    def test_listen(self) -> None:
        """``listen`` carries the server's name and key, with or without a proof."""
        listen = Listen(server().target, KEY)
        self.assertEqual(Listen.decode(decode(listen.encode(TRANSACTION))), listen)
        proved = decode(listen.encode(TRANSACTION, prover(server())))
        self.assertEqual(Listen.decode(proved), listen)
        self.assertIsNotNone(proved.get(Attribute.PROOF))
        standby = Listen(server().target, KEY, standby=True)
        self.assertEqual(Listen.decode(decode(standby.encode(TRANSACTION))), standby)

    def test_registered(self) -> None:
        """The answer to ``listen`` carries id, key, interval and time."""
        registered = Registered(2**63 + 5, KEY, 15.0, NOW)
        self.assertEqual(Registered.decode(decode(registered.encode(TRANSACTION))), registered)

    def test_bind(self) -> None:
        """``bind`` carries two lists and a sequence number."""
        bind = Bind(7, (V4, V6), (V4,))
        self.assertEqual(Bind.decode(decode(bind.encode(TRANSACTION, prover(server())))), bind)
        self.assertEqual(Bound.decode(decode(Bound().encode(TRANSACTION))), Bound())

    def test_warm_up(self) -> None:
        """``bind`` over UDP and its answer prove their sender by the registration's key."""
        raw = WarmUp(9, 3).encode(TRANSACTION, KEY)
        self.assertEqual(len(raw), WARM_UP_SIZE)
        message = decode(raw)
        self.assertEqual(WarmUp.decode(message), WarmUp(9, 3))
        self.assertTrue(check_integrity(message, KEY))
        self.assertFalse(check_integrity(message, bytes(32)))
        for mapped in (V4, V6):
            answer = decode(WarmedUp(mapped).encode(TRANSACTION, KEY))
            self.assertEqual(WarmedUp.decode(answer), WarmedUp(mapped))
            self.assertTrue(check_integrity(answer, KEY))
            self.assertLessEqual(len(answer.raw), WARM_UP_SIZE)

    def test_connect(self) -> None:
        """``connect`` names a server or a system, and is always of the same size."""
        many = tuple((f"2001:db8::{i:x}", 1000 + i) for i in range(1, MAX_ADDRESSES + 1))
        for target in (client().target, Target(client().system, "c" * 32)):
            for udp in ((), (V4, V6), many):
                connect = Connect(CONNECTION, target, udp)
                raw = connect.encode(TRANSACTION, prover(client(), nonce=bytes(32)))
                self.assertEqual(len(raw), CONNECT_SIZE)
                self.assertEqual(Connect.decode(decode(raw)), connect)

    def test_connect_answer(self) -> None:
        """The answer to ``connect`` carries the server's signed addresses untouched."""
        bind = Bind(1, (V4,), ()).encode(TRANSACTION, prover(server()))
        for signed in (bind, b""):
            answer = ConnectAnswer(CONNECTION, SERVER, signed, (V4, V6), 77, 0.25, V6)
            self.assertEqual(ConnectAnswer.decode(decode(answer.encode(TRANSACTION))), answer)

    def test_longest_connect_answer(self) -> None:
        """The longest answer is no longer than any request: nobody can be flooded through it."""
        answer = ConnectAnswer(CONNECTION, SERVER, bytes(MAX_BIND_SIZE), (V4, V6), 77, 0.25, V6)
        self.assertLessEqual(len(answer.encode(TRANSACTION)), CONNECT_SIZE)

    def test_connection_requested(self) -> None:
        """``connectionRequested`` carries the client's whole request, proof and all."""
        request = Connect(CONNECTION, client().target, (V4,)).encode(TRANSACTION, prover(client()))
        for observed in ((), (V4,)):
            asked = ConnectionRequested(CONNECTION, request, observed, 2**32 - 1, 0.0)
            self.assertEqual(ConnectionRequested.decode(decode(asked.encode(TRANSACTION))), asked)

    def test_connection_ack(self) -> None:
        """``connectionAck`` and its answer prove their sender by the registration's key."""
        ack = ConnectionAck(CONNECTION, 9)
        message = decode(ack.encode(TRANSACTION, KEY))
        self.assertEqual(ConnectionAck.decode(message), ack)
        self.assertTrue(check_integrity(message, KEY))
        answer = decode(ConnectionAcked().encode(TRANSACTION, KEY))
        self.assertEqual(ConnectionAcked.decode(answer), ConnectionAcked())
        self.assertTrue(check_integrity(answer, KEY))
        self.assertLessEqual(len(answer.raw), len(message.raw))

    def test_connection_update(self) -> None:
        """``connectionUpdate`` carries where the other side is seen."""
        update = ConnectionUpdate(CONNECTION, 3, (V4, V6))
        self.assertEqual(ConnectionUpdate.decode(decode(update.encode(TRANSACTION))), update)

    def test_connection_result(self) -> None:
        """``connectionResult`` carries outcome, path and time, unknown path bits left out."""
        result = ConnectionResult(CONNECTION, 10, ConnectType.UDP, 1.5)
        self.assertEqual(ConnectionResult.decode(decode(result.encode(TRANSACTION))), result)
        odd = ConnectionResult(CONNECTION, 2**32 - 1, ConnectType(0x102), 0.0)
        decoded = ConnectionResult.decode(decode(odd.encode(TRANSACTION)))
        self.assertEqual(decoded.connect_type, ConnectType.UDP)

    def test_refusal(self) -> None:
        """An error answer carries what the sender needs to do better."""
        full = Refusal(438, "stale", bytes(24), "mediator.example", NOW)
        for refusal in (full, Refusal(404)):
            for key in (None, KEY):
                message = decode(refusal.encode(Method.CONNECT, TRANSACTION, key=key))
                self.assertEqual(Refusal.decode(message), refusal)
                self.assertEqual(message.method, Method.CONNECT)

    def test_reason_for_people(self) -> None:
        """A mediator cannot forge lines of a log, nor give orders to a terminal, by its reasons."""
        raw = Refusal(403, "no\n\x1b[2Jforged\u202e").encode(Method.LISTEN, TRANSACTION)
        self.assertEqual(Refusal.decode(decode(raw)).reason, "no??[2Jforged?")
        raw = RegistrationEnded(500, "a\rb").encode(TRANSACTION)
        self.assertEqual(RegistrationEnded.decode(decode(raw)).reason, "a?b")

    def test_registration_ended(self) -> None:
        """The last word on a server's leg carries a code and a reason."""
        ended = RegistrationEnded(409, "superseded")
        self.assertEqual(RegistrationEnded.decode(decode(ended.encode(TRANSACTION))), ended)

    def test_keep_alives(self) -> None:
        """Keep-alives are plain Binding messages, which any STUN peer understands."""
        request = decode(keep_alive_request(TRANSACTION))
        indication = decode(keep_alive_indication(TRANSACTION))
        self.assertEqual((request.method, indication.method), (BINDING, BINDING))
        self.assertIs(request.message_class, MessageClass.REQUEST)
        self.assertIs(indication.message_class, MessageClass.INDICATION)


class ProofTests(SynchronousTestCase):
    """A proof covers everything in front of it, and nothing may follow it."""

    def _check(self, raw: bytes, purpose: str, role: Role) -> str:
        found = covered(decode(raw))
        assert found is not None
        blob, covers = found
        checked = check_proof(
            blob, purpose=purpose, audience=AUDIENCE, message=covers, role=role, now=NOW
        )
        return checked.peer.text

    def test_proofs_hold(self) -> None:
        """Each proved message shows its sender."""
        listen = Listen(server().target, KEY).encode(TRANSACTION, prover(server()))
        self.assertEqual(self._check(listen, "listen", Role.SERVER), str(server().target))
        bind = Bind(1, (V4,), (V6,)).encode(TRANSACTION, prover(server()))
        self.assertEqual(self._check(bind, "bind", Role.SERVER), str(server().target))
        connect = Connect(CONNECTION, client().target, (V4,)).encode(TRANSACTION, prover(client()))
        self.assertEqual(self._check(connect, "connect", Role.CLIENT), client().peer.text)

    def test_every_byte_counts(self) -> None:
        """A changed byte anywhere before the proof, header included, spoils it."""
        raw = Bind(1, (V4,), (V6,)).encode(TRANSACTION, prover(server()))
        message = decode(raw)
        end = raw.index(message.get(Attribute.PROOF) or b"?")
        attributes = [pair for pair in message.attributes if pair[0] != 0x8028]
        for at, (attribute, value) in enumerate(attributes[:-1]):
            changed = list(attributes)
            changed[at] = attribute, bytes([value[0] ^ 1]) + value[1:]
            forged = Message(message.method, message.message_class, TRANSACTION, tuple(changed))
            self.assertRaises(VerificationError, self._check, encode(forged), "bind", Role.SERVER)
        other = Message(message.method, message.message_class, bytes(12), tuple(attributes))
        self.assertRaises(VerificationError, self._check, encode(other), "bind", Role.SERVER)
        self.assertGreater(end, 20)

    def test_without_proof(self) -> None:
        """A message without a proof has none."""
        self.assertIsNone(covered(decode(Listen(server().target, KEY).encode(TRANSACTION))))

    def test_nothing_follows(self) -> None:
        """An attribute after the proof, which nobody signed, is refused."""
        message = decode(Listen(server().target, KEY).encode(TRANSACTION, prover(server())))
        attributes = [pair for pair in message.attributes if pair[0] != 0x8028]
        attributes.append((Attribute.UDP_ENDPOINT_LIST, b""))
        forged = Message(message.method, message.message_class, TRANSACTION, tuple(attributes))
        self.assertRaises(SignallingError, covered, decode(encode(forged)))

    def test_largest_bind(self) -> None:
        """A ``bind`` with the most addresses fits, one more address is refused."""
        many = tuple((f"2001:db8::{i:x}", 1000 + i) for i in range(1, MAX_ADDRESSES + 1))
        raw = Bind(1, many[:8], many[8:]).encode(TRANSACTION, prover(server(), nonce=bytes(32)))
        self.assertLessEqual(len(raw), MAX_BIND_SIZE)
        self.assertEqual(Bind.decode(decode(raw)).udp, many[8:])
        one_more = Bind(1, (*many, V6), ())
        self.assertRaises(ValueError, one_more.encode, TRANSACTION, prover(server()))

    def test_bind_with_too_much(self) -> None:
        """A ``bind`` of a peer with too many addresses or bytes is refused."""
        many = tuple((f"192.0.2.{i}", 1000 + i) for i in range(1, MAX_ADDRESSES + 1))
        lists = [
            (Attribute.PUBLIC_ENDPOINT_LIST, encode_addresses(many)),
            (Attribute.UDP_ENDPOINT_LIST, encode_addresses([V4])),
            (Attribute.SEQUENCE, bytes(4)),
        ]
        message = Message(Method.BIND, MessageClass.REQUEST, TRANSACTION, tuple(lists))
        self.assertRaises(SignallingError, Bind.decode, decode(encode(message)))
        for size, fits in ((MAX_BIND_SIZE, True), (MAX_BIND_SIZE + 4, False)):
            value = bytes(size - 20 - 8 - 8 - 4)
            long = Message(
                Method.BIND,
                MessageClass.REQUEST,
                TRANSACTION,
                ((Attribute.SEQUENCE, bytes(4)), (Attribute.CRL, value)),
            )
            raw = encode(long)
            self.assertEqual(len(raw), size)
            if fits:
                self.assertEqual(Bind.decode(decode(raw)), Bind(0, (), ()))
            else:
                self.assertRaises(SignallingError, Bind.decode, decode(raw))


class RegistrationKeyTests(SynchronousTestCase):
    """Both sides of a registration come to the same key."""

    def test_same_key(self) -> None:
        """Server and mediator derive one key, another for another registration."""
        one = X25519PrivateKey.from_private_bytes(bytes([1]) * 32)
        two = X25519PrivateKey.from_private_bytes(bytes([2]) * 32)
        key = registration_key(one, two.public_key().public_bytes_raw(), 5)
        self.assertEqual(key, registration_key(two, one.public_key().public_bytes_raw(), 5))
        self.assertNotEqual(key, registration_key(two, one.public_key().public_bytes_raw(), 6))
        # As docs/mediator.rst has it.
        self.assertEqual(
            key.hex(), "80f85525874a07bcfc5fd5306a9c51534f6bb3c5bae3347cea6618ced8997dde"
        )

    def test_bad_key(self) -> None:
        """A key that would give everybody the same secret is refused."""
        own = X25519PrivateKey.from_private_bytes(bytes([1]) * 32)
        self.assertRaises(SignallingError, registration_key, own, bytes(32), 5)
        self.assertRaises(SignallingError, registration_key, own, bytes(31), 5)


DECODERS = tuple(
    getattr(messages, name)
    for name in messages.__all__
    if hasattr(getattr(messages, name), "decode")
)


class TotalTests(SynchronousTestCase):
    """Whatever a peer puts into a message, decoders give a value or one exception."""

    def test_all_decoders_are_meant(self) -> None:
        """The tests below cover all messages."""
        self.assertEqual(len(DECODERS), 23)

    @given(
        st.sampled_from(DECODERS),
        st.sampled_from(sorted(Method)),
        st.sampled_from(list(MessageClass)),
        st.lists(
            st.tuples(
                st.sampled_from(sorted(set(Attribute) - {Attribute.MESSAGE_INTEGRITY_SHA256})),
                st.one_of(
                    st.binary(max_size=40),
                    st.sampled_from([bytes(4), bytes(8), bytes(16), bytes(32), b"a" * 32]),
                ),
            ),
            max_size=10,
        ),
    )
    def test_any_attributes(
        self,
        decoder: type[Listen],
        method: int,
        message_class: MessageClass,
        attributes: list[tuple[int, bytes]],
    ) -> None:
        """Any attributes with any contents are taken or refused, never a traceback."""
        raw = encode(Message(method, message_class, TRANSACTION, tuple(attributes)))
        try:
            value = decoder.decode(decode(raw))
        except SignallingError:
            return
        self.assertIsInstance(value, decoder)

    def test_cut_and_changed(self) -> None:
        """Valid messages with one byte of an attribute changed or cut never raise otherwise."""
        valid: list[tuple[type, bytes]] = [
            (Listen, Listen(SERVER, KEY).encode(TRANSACTION)),
            (Registered, Registered(1, KEY, 1.0, NOW).encode(TRANSACTION)),
            (Connect, Connect(CONNECTION, SERVER, (V4, V6)).encode(TRANSACTION, prover(client()))),
            (
                ConnectAnswer,
                ConnectAnswer(CONNECTION, SERVER, b"x", (V4,), 1, 0, V6).encode(TRANSACTION),
            ),
            (ConnectionUpdate, ConnectionUpdate(CONNECTION, 3, (V4, V6)).encode(TRANSACTION)),
            (Refusal, Refusal(438, "x", bytes(24), "m", NOW).encode(Method.BIND, TRANSACTION)),
        ]
        chance = random.Random(1)
        for kind, raw in valid:
            message = decode(raw)
            attributes = [pair for pair in message.attributes if pair[0] != 0x8028]
            for _ in range(200):
                changed = list(attributes)
                at = chance.randrange(len(changed))
                attribute, value = changed[at]
                spoilt = bytearray(value)
                if spoilt:
                    spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
                changed[at] = attribute, bytes(spoilt[: chance.randrange(len(spoilt) + 1)])
                forged = Message(message.method, message.message_class, TRANSACTION, tuple(changed))
                try:
                    kind.decode(decode(encode(forged)))  # type: ignore[attr-defined]
                except SignallingError:
                    continue

    def test_wrong_kind(self) -> None:
        """A message of another method or class is refused by every decoder."""
        other = decode(encode(Message(BINDING, MessageClass.SUCCESS, TRANSACTION)))
        for decoder in DECODERS:
            self.assertRaises(SignallingError, decoder.decode, other)

    def test_system_is_no_server(self) -> None:
        """``listen`` for a whole system is refused."""
        raw = Listen(Target("a" * 32), KEY).encode(TRANSACTION)
        self.assertRaises(SignallingError, Listen.decode, decode(raw))

    def test_purposes(self) -> None:
        """A proof for one purpose cannot serve another."""
        purposes = {Purpose.LISTEN, Purpose.BIND, Purpose.CONNECT, Purpose.OPEN_STREAM}
        kinds = (Listen, Bind, Connect, OpenStream)
        self.assertEqual({kind.PURPOSE for kind in kinds}, purposes)
        self.assertEqual(len(purposes), len(kinds))
