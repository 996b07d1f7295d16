"""Targets: STUN, the messages between mediators and others, proofs and certificates."""

import os
import random
from functools import cache

from tests.abuse.fuzz_identity import good_crl
from tests.abuse.fuzzing import Target
from tests.abuse.garbage import sealed
from tests.identity.fixed import (
    NOW,
    client_credentials,
    server_credentials,
)
from tests.signalling.provers import AUDIENCE, prover
from tests.stun import vectors
from wavesync.mediator.core import Mediator
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling import messages
from wavesync.signalling.addresses import decode_addresses, encode_addresses
from wavesync.signalling.messages import Connect, covered
from wavesync.signalling.numbers import CONNECT_SIZE, ConnectType, ErrorCode
from wavesync.signalling.relay_lists import ParkedAt
from wavesync.signalling.relay_urls import parse_relay
from wavesync.stun import attributes
from wavesync.stun.alternate import AddressPair
from wavesync.stun.behaviour import BehaviourDiscovery
from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import BINDING, Message, MessageClass, StunError, decode, encode

__all__ = ["MESSAGE_TARGETS", "all_messages", "mended_message", "padded", "read_stream"]

_ID = "c0" * 16
_TRANSACTION = bytes(range(12))
_ADDRESSES = (("192.0.2.1", 5000), ("10.0.0.1", 1), ("2001:db8::1", 65535))
_SOURCE = ("203.0.113.1", 5100)


def well_formed(data: bytearray, chance: random.Random) -> bytes:
    """Make *data* a STUN message from outside: header, length, and mostly a right FINGERPRINT."""
    del data[: max(0, len(data) - 4000)]
    data += bytes(-len(data) % 4)
    if data[-8:-4] == b"\x80\x28\x00\x04":
        del data[-8:]
    data += bytes(max(0, 20 - len(data)))
    data[0] &= 0x3F
    data[4:8] = b"\x21\x12\xa4\x42"
    seal = chance.random() < 0.9
    data[2:4] = (len(data) - 20 + 8 * seal).to_bytes(2, "big")
    return sealed(bytes(data)) if seal else bytes(data)


def padded(data: bytearray, chance: random.Random) -> bytes:
    """The same; requests to connect get their size, or nothing in them would be looked at."""
    if data[:2] == b"\x00\x56" and len(data) > 8 and chance.random() < 0.9:
        if data[-8:-4] == b"\x80\x28\x00\x04":
            del data[-8:]
        del data[CONNECT_SIZE - 8 :]
        data += bytes(CONNECT_SIZE - 8 - len(data))
    return well_formed(data, chance)


@cache
def all_messages() -> list[bytes]:
    """One of each message there is."""
    server, peer = server_credentials(), prover(client_credentials(), now=NOW)
    own = server.target
    relays = parse_relay("one.example:3356"), parse_relay("https://two.example")
    parked = ParkedAt(relays[0], 0.02), ParkedAt(relays[1])
    bind = messages.Bind(1, _ADDRESSES[:2], _ADDRESSES[2:], parked).encode(
        _TRANSACTION, prover(server, now=NOW)
    )
    asked = messages.Connect(_ID, own, _ADDRESSES).encode(_TRANSACTION, peer)
    opened = messages.OpenStream(_ID, own, 0.1).encode(_TRANSACTION, peer)
    public = bytes(range(32))
    refusal = messages.Refusal(ErrorCode.STALE_NONCE, "late", b"n" * 24, AUDIENCE, NOW)
    crl = good_crl()
    return [
        bind,
        asked,
        opened,
        messages.Listen(own, public).encode(_TRANSACTION, prover(server, now=NOW, nonce=b"n" * 24)),
        messages.Registered(7, public, 15.0, NOW, 0, relays).encode(_TRANSACTION),
        messages.RegistrationEnded(ErrorCode.SUPERSEDED, "superseded").encode(_TRANSACTION),
        messages.Bound().encode(_TRANSACTION),
        messages.WarmUp(7, 1).encode(_TRANSACTION, b"k" * 32),
        messages.WarmedUp(_SOURCE).encode(_TRANSACTION, b"k" * 32),
        messages.ConnectAnswer(
            _ID, own, bind, _ADDRESSES[:1], 5, 0.1, _SOURCE, relays=relays
        ).encode(_TRANSACTION),
        messages.ConnectionRequested(_ID, asked, _ADDRESSES[:2], 5, 0.1).encode(_TRANSACTION),
        messages.ConnectionAck(_ID, 7).encode(_TRANSACTION, b"k" * 32),
        messages.ConnectionAcked().encode(_TRANSACTION, b"k" * 32),
        messages.ConnectionUpdate(_ID, 1, _ADDRESSES[:2]).encode(_TRANSACTION),
        messages.ConnectionResult(_ID, 0, ConnectType.UDP, 1.0).encode(_TRANSACTION),
        messages.CrlPush(3, 0, len(crl), crl[:200]).encode(_TRANSACTION),
        messages.CrlPushed(3).encode(_TRANSACTION),
        messages.CrlNews(3).encode(_TRANSACTION),
        messages.CrlPiece(3, 0, len(crl), crl[:200]).encode(_TRANSACTION),
        messages.StreamAnswer(_ADDRESSES[:1], 0.1).encode(_TRANSACTION),
        messages.StreamRequested(_ID, opened, _ADDRESSES[:1], 0.1).encode(_TRANSACTION),
        refusal.encode(0x56, _TRANSACTION),
    ]


def other_values(data: bytearray, chance: random.Random) -> bytes:
    """Give a good message in which attributes have other values, come twice or not at all."""
    message = decode(chance.choice(all_messages()))
    pairs = [
        (kind, value)
        for kind, value in message.attributes
        if kind not in (attributes.FINGERPRINT, attributes.MESSAGE_INTEGRITY_SHA256)
    ]
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(pairs) + 1)
        kind, value = pairs[at] if at < len(pairs) else (attributes.SOFTWARE, b"")
        match chance.randrange(5):
            case 0:
                del pairs[at : at + 1]
            case 1:
                pairs.insert(at, (kind, bytes(data[: chance.randrange(64)])))
            case 2:
                pairs[at : at + 1] = [(kind, value[: chance.randrange(len(value) + 1)])]
            case 3:
                pairs[at : at + 1] = [(kind, value + chance.randbytes(chance.randint(1, 40)))]
            case _:
                changed = bytearray(value or b"\0")
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
                pairs[at : at + 1] = [(kind, bytes(changed))]
    if message.method == Connect.METHOD:
        pairs.append((attributes.PADDING, bytes(CONNECT_SIZE)))
    made = Message(message.method, message.message_class, _TRANSACTION, tuple(pairs))
    return padded(bytearray(encode(made)), chance)


def mended_message(data: bytearray, chance: random.Random) -> bytes:
    """Make a message that looks right from outside, in one way or the other."""
    return (other_values if chance.random() < 0.6 else padded)(data, chance)


_KINDS = [
    kind
    for name in messages.__all__
    if isinstance(kind := getattr(messages, name), type) and hasattr(kind, "decode")
]
_OTHER_KIND = "another kind"


def read_message(data: bytes) -> object:
    """Read a message as whatever it may be."""
    message = decode(data)
    found = []
    covered(message)
    for kind in _KINDS:
        try:
            found.append(kind.decode(message))
        except StunError as error:
            if _OTHER_KIND not in str(error):
                raise
    return found


def _stun_seeds() -> list[bytes]:
    return [*vectors.ALL, encode(Message(BINDING, MessageClass.REQUEST, _TRANSACTION))]


def _attribute_values() -> list[bytes]:
    values = [
        attributes.encode_address(address) for address in (*_ADDRESSES, ("255.255.255.255", 0))
    ]
    return [
        *values,
        attributes.encode_xor_address(_SOURCE, _TRANSACTION),
        attributes.encode_error_code(438, "Stale"),
        attributes.encode_unknown_attributes((1, 2, 0x7FFF)),
        attributes.encode_u32(5),
        attributes.encode_u64(5),
        "wörter".encode(),
    ]


_VALUE_READERS = (
    attributes.decode_address,
    attributes.decode_error_code,
    attributes.decode_unknown_attributes,
    attributes.decode_u32,
    attributes.decode_u64,
    lambda value: attributes.decode_xor_address(value, _TRANSACTION),
    lambda value: attributes.decode_text(value, 20),
)


def read_values(data: bytes) -> object:
    """Read an attribute's value in every way; the first refusal counts that input chose."""
    reader = _VALUE_READERS[len(data) and data[0] % len(_VALUE_READERS)]
    for each in _VALUE_READERS:
        try:
            each(data)
        except StunError:
            continue
    return reader(data)


def read_stream(data: bytes) -> object:
    """Read a stream in pieces of a size that the bytes decide."""
    decoder, size = StreamDecoder(1300), len(data) and data[-1] % 50 + 1
    found = []
    for start in range(0, len(data), size or 1):
        found += decoder.feed(data[start : start + size])
        assert decoder.buffered < 1300
    return found


def _discovery() -> tuple[BehaviourDiscovery, list[bytes]]:
    """A discovery that waits, and the good answers to what it has asked."""
    asking = BehaviourDiscovery(
        ("192.0.2.1", 3478), random.Random(5).randbytes, 0.0, local=("10.0.0.1", 1)
    )
    pair = AddressPair(("192.0.2.1", 3478), ("192.0.2.2", 3479))
    answers = []
    for data, destination, _ in asking.datagrams(0.0):
        reply = pair.answer(data, _SOURCE, destination)
        assert reply is not None
        answers.append(reply.data)
    return asking, answers


def read_answer(data: bytes) -> object:
    """Let a discovery read an answer; it goes on, or says what was wrong."""
    asking, _ = _discovery()
    asking.datagram_received(data, ("192.0.2.1", 3478), 0.1)
    for step in range(40):
        for outgoing in asking.datagrams(1.0 + step):
            asking.datagram_received(data, outgoing.destination, 1.0 + step)
        asking.timer(1.0 + step)
    return asking.outcome


def read_answer_carelessly(data: bytes) -> object:
    """The same, but whatever comes is taken for STUN."""
    decode(data)
    return read_answer(data)


def read_pair(data: bytes) -> object:
    """Let a server with two addresses answer."""
    pair = AddressPair(("192.0.2.1", 3478), ("192.0.2.2", 3479))
    reply = pair.answer(data, _SOURCE, pair.primary)
    if reply is not None:
        assert reply.destination[0] == _SOURCE[0]
        assert len(reply.data) <= 120
        decode(reply.data)
    return reply


def _pair_requests() -> list[bytes]:
    return [
        encode(Message(BINDING, MessageClass.REQUEST, _TRANSACTION, ((kind, value),)))
        for kind, value in (
            (attributes.CHANGE_REQUEST, bytes(3) + b"\6"),
            (attributes.RESPONSE_PORT, b"\x20\0\0\0"),
            (attributes.PADDING, bytes(64)),
        )
    ]


@cache
def _mediator() -> Mediator:
    plenty = Limits(source_rate=1e6, source_burst=1e9)
    return Mediator(MediatorSettings(name=AUDIENCE, limits=plenty), os.urandom)


class _Silent:
    """A UDP port that nobody hears."""

    def send_datagram(self, data: bytes, address: tuple[str, int]) -> None:
        """Say nothing."""


def ask_mediator(data: bytes) -> object:
    """Let a mediator take a datagram; what it answers is not longer."""
    answer = _mediator().datagram(data, _SOURCE, _Silent(), NOW)
    if answer is not None and data[:2] != b"\0\1":
        assert len(answer) <= len(data), "the answer is longer than the request"
    return answer


def ask_mediator_carelessly(data: bytes) -> object:
    """The same by a mediator that reads what it does not know."""
    read_message(data)
    return ask_mediator(data)


MESSAGE_TARGETS = (
    Target(
        "stun messages",
        _stun_seeds,
        decode,
        StunError,
        (
            "do not begin with a STUN header",
            "goes past the end",
            "FINGERPRINT is not the last",
            "FINGERPRINT is wrong",
        ),
        count=3000,
        mend=well_formed,
    ),
    Target(
        "stun attributes",
        _attribute_values,
        read_values,
        StunError,
        (
            "unknown family or the wrong length",
            "ERROR-CODE attribute has the wrong length",
            "code outside 300..699",
            "odd length",
            "bytes long instead of",
            "longer than 20 bytes",
            "not UTF-8",
        ),
        count=3000,
    ),
    Target(
        "stun streams",
        lambda: [b"".join(_stun_seeds()[:3]), *all_messages()[3:8]],
        read_stream,
        StunError,
        ("does not go on with a STUN message", "not a multiple of 4", "longer than 1300 bytes"),
    ),
    Target(
        "signalling messages",
        all_messages,
        read_message,
        StunError,
        (
            "is missing",
            "bytes long, not",
            "HOST_NAME",
            "list of addresses is malformed",
            "follows the proof",
            "ERROR_CODE is malformed",
            "CRL_",
        ),
        count=3000,
        mend=mended_message,
    ),
    Target(
        "address lists",
        lambda: [encode_addresses(_ADDRESSES), encode_addresses([("10.0.0.1", 5)] * 16)],
        decode_addresses,
        StunError,
        ("is malformed", "more than 16 addresses"),
        count=3000,
    ),
    Target(
        "answers of behaviour discovery",
        lambda: _discovery()[1],
        read_answer,
        count=400,
        careless=read_answer_carelessly,
        mend=well_formed,
    ),
    Target(
        "requests to a server with two addresses",
        _pair_requests,
        read_pair,
        count=3000,
        careless=decode,
        mend=well_formed,
    ),
    Target(
        "a mediator's datagrams",
        all_messages,
        ask_mediator,
        count=3000,
        careless=ask_mediator_carelessly,
        mend=mended_message,
    ),
)
