"""Targets: both ends of the TCP connections between mediators and others, message by message."""

import os
from functools import cache
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.abuse.fuzz_messages import all_messages, mended_message, padded, read_stream
from tests.abuse.fuzzing import Target
from tests.abuse.garbage import sealed
from tests.identity.fixed import NOW, client_credentials, server_credentials
from tests.signalling.provers import AUDIENCE
from wavesync.client.introduction import Introduction
from wavesync.client.stream_asking import StreamAsking
from wavesync.errors import ConnectFailed
from wavesync.mediator.core import Mediator
from wavesync.mediator.leg import Leg as MediatorLeg
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling import messages
from wavesync.signalling.asking import NoAnswer
from wavesync.signalling.leg import Leg
from wavesync.signalling.urls import parse_mediators
from wavesync.stun.message import Message, MessageClass, StunError, decode, encode

__all__ = ["LEG_TARGETS"]

_TRANSACTION = bytes(range(12))
_METHOD = 0x58


def hear_leg(data: bytes) -> object:
    """Let a client's or an agent's leg take a stream, in two pieces; nothing of it stays."""
    clock = Clock()
    ends: list[str] = []
    heard: list[Message] = []
    leg = Leg(clock, lambda leg: None, heard.append, lambda leg, why: ends.append(why))
    leg.makeConnection(StringTransport())
    asked = leg.ask(encode(Message(_METHOD, MessageClass.REQUEST, _TRANSACTION, ())))
    answers: list[object] = []
    asked.addCallbacks(answers.append, lambda failure: failure.trap(NoAnswer))
    leg.keep_alive(15.0)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not ends:
            leg.dataReceived(piece)
    assert len(ends) <= 1
    clock.pump([1.0] * 20)
    leg.abandon()
    assert not clock.getDelayedCalls()
    return answers, heard


def hear_leg_carelessly(data: bytes) -> object:
    """The same by one that takes whatever comes for STUN."""
    read_stream(data)
    return hear_leg(data)


class _Endpoint:
    """Leads to a mediator at once."""

    def connect(self, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect."""
        made: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        self.leg = made
        made.makeConnection(StringTransport())
        return succeed(made)


def agree(data: bytes) -> object:
    """Let a client that wants to be dialled read an answer, to each of its requests."""
    credentials = client_credentials()
    mediator = parse_mediators((f"tcp://{AUDIENCE}",))[0]
    introduction = Introduction(
        mediator, "c0" * 16, server_credentials().target, (), (), (), 7, 0.0, ("203.0.113.1", 1)
    )
    clock, endpoint = Clock(), _Endpoint()
    asking = StreamAsking(
        clock,  # type: ignore[arg-type]
        credentials,
        introduction,
        lambda ipv6: endpoint,  # type: ignore[arg-type, return-value]
        wall_clock=lambda: NOW,
    )
    agreed: list[object] = []
    why: list[BaseException] = []
    asking.result.addCallbacks(agreed.append, lambda failure: why.append(failure.value))
    asking.start()
    for _ in range(5):
        said = endpoint.leg.transport.value()
        if asking.result.called or not said:
            break
        endpoint.leg.transport.clear()
        request = decode(said)
        # A mediator knows the transaction; what else it says is as bad as it comes.
        endpoint.leg.dataReceived(_answering(data, request.transaction_id))
    assert asking.result.called or endpoint.leg.transport.value() == b""
    asking.result.cancel()
    asking.close()
    assert all(isinstance(each, ConnectFailed | CancelledError) for each in why), why
    assert not clock.getDelayedCalls()
    return agreed


def agree_carelessly(data: bytes) -> object:
    """The same by one that takes any answer for an agreement."""
    messages.StreamAnswer.decode(decode(data))
    return agree(data)


def _answering(data: bytes, transaction_id: bytes) -> bytes:
    if len(data) < 28 or data[-8:-4] != b"\x80\x28\x00\x04":
        return data
    return sealed(data[:8] + transaction_id + data[20:-8])


@cache
def _answers() -> list[bytes]:
    """What a mediator may say to ``openStream``."""
    listed = (("198.51.100.1", 33000),)
    refusals = [
        messages.Refusal(438, "", b"n" * 24, AUDIENCE, NOW),
        messages.Refusal(401, "", b"n" * 24, AUDIENCE, NOW),
        messages.Refusal(404),
    ]
    return [
        messages.StreamAnswer(listed, 0.1).encode(_TRANSACTION),
        messages.StreamAnswer((("2001:db8::1", 33000),)).encode(_TRANSACTION),
        *(each.encode(_METHOD, _TRANSACTION) for each in refusals),
    ]


class _Channel:
    """A socket that nobody reads."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, data: bytes) -> None:
        """Count, and see that it is a message."""
        decode(data)
        self.sent += 1

    def close(self) -> None:
        """Nothing is open."""

    abort = close


@cache
def _mediator() -> Mediator:
    plenty = Limits(source_rate=1e6, source_burst=1e9, stream_proof_burst=1e9)
    return Mediator(MediatorSettings(name=AUDIENCE, limits=plenty), os.urandom)


def speak_to_mediator(data: bytes) -> object:
    """Let a mediator's leg take a message, twice; each is answered once at most."""
    message = decode(data)
    channel = _Channel()
    leg = MediatorLeg(_mediator(), channel, ("203.0.113.1", 44000), NOW)
    for _ in range(2):
        leg.receive(message, NOW)
    assert channel.sent <= 2
    leg.deadline()
    leg.timer(NOW + 1.0)
    leg.lost()
    assert not len(_mediator().registry)
    return channel.sent


LEG_TARGETS = (
    Target(
        "a leg to a mediator",
        lambda: [b"".join(_answers()), b"".join(all_messages()[3:8]), *_answers()],
        hear_leg,
        count=600,
        careless=hear_leg_carelessly,
    ),
    Target(
        "answers to who wants to be dialled",
        _answers,
        agree,
        count=300,
        careless=agree_carelessly,
        mend=padded,
    ),
    Target(
        "a mediator's leg",
        all_messages,
        speak_to_mediator,
        StunError,
        ("do not begin with a STUN header", "FINGERPRINT is wrong"),
        count=1000,
        mend=mended_message,
    ),
)
