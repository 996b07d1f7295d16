"""What comes back over UDP from mediators: whether anything does, how fast, and what they say."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol

from wavesync.doctor.findings import Dependence, Family
from wavesync.errors import ConnectFailed
from wavesync.identity.ids import Target, new_id
from wavesync.interfaces import Address
from wavesync.signalling.asking import Asker
from wavesync.signalling.fields import connection_id_field, endpoints_field, target_field
from wavesync.signalling.messages import Refusal, SignallingError
from wavesync.signalling.numbers import CONNECT_SIZE, Attribute, Method
from wavesync.stun.attributes import StunError
from wavesync.stun.behaviour_words import Behaviour
from wavesync.stun.binding_request import BindingFailed, mapped_address
from wavesync.stun.discover import discover_behaviour
from wavesync.stun.message import (
    BINDING,
    FINGERPRINT_SIZE,
    Message,
    MessageClass,
    decode,
    encode,
    pad_message,
)
from wavesync.stun.transactions import Answer, Transactions

__all__ = ["RTO", "Answered", "ask_all", "ask_binding", "ask_clock", "behave", "of_family"]

RTO = 0.25
"""Seconds to the first retransmission; a silent server is given up after 2.75 s."""

_RC, _RM = 4, 4.0

_ERROR = MessageClass.ERROR


@dataclass(slots=True)
class Answered:
    """What one mediator answered.

    :ivar ms: of the round trip, where the first sending was answered, else to the answer.
    :ivar mapped: where it sees us.
    :ivar big: whether it answered a request of 1200 bytes.
    :ivar clock_error: seconds that this host's clock is ahead of its own.
    """

    ms: float | None = None
    mapped: Address | None = None
    big: bool | None = None
    clock_error: float | None = None


def binding_request() -> bytes:
    """A request for our own address."""
    return encode(Message(BINDING, MessageClass.REQUEST, os.urandom(12)))


def clock_request() -> bytes:
    """A request of 1200 bytes without a proof; the refusal names the mediator's time."""
    attributes = (
        connection_id_field(os.urandom(16).hex()),
        target_field(Target(new_id(), None)),
        endpoints_field(Attribute.UDP_ENDPOINT_LIST, ()),
    )
    request = Message(Method.CONNECT, MessageClass.REQUEST, os.urandom(12), attributes)
    return encode(pad_message(request, CONNECT_SIZE, reserve=FINGERPRINT_SIZE))


async def ask_binding(asked: Deferred[Answer], found: Answered) -> None:
    """Note the answer to :func:`binding_request`, if one comes."""
    try:
        answer = await asked
        if answer.message.message_class is not _ERROR:
            found.mapped = mapped_address(answer.message)
            found.ms = round(answer.elapsed * 1000, 1)
    except (CancelledError, ConnectFailed, StunError):
        return


async def ask_clock(
    asked: Deferred[Answer], found: Answered, wall_clock: Callable[[], float]
) -> None:
    """Note the answer to :func:`clock_request`, if one comes."""
    try:
        answer = await asked
        at = wall_clock()
        found.big = True
        refusal = Refusal.decode(answer.message)
    except ConnectFailed:
        found.big = False
    except (CancelledError, SignallingError):
        return
    else:
        if refusal.time:
            found.clock_error = round(at - refusal.time - answer.elapsed / 2, 3)


class _Socket(DatagramProtocol):
    """A socket that asks."""

    transport: Any
    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        transactions = Transactions(rto=RTO, rc=_RC, rm=_RM)
        self.asker = Asker(clock, self._send, transactions)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Perhaps an answer."""
        try:
            message = decode(datagram)
        except StunError:
            return
        self.asker.receive(message, addr[:2])

    def _send(self, data: bytes, address: Address) -> None:
        try:
            self.transport.write(data, address)
        except OSError:
            return


@dataclass(slots=True)
class Asked:
    """What all mediators answered in one family.

    :ivar port: the local port.
    :ivar answers: by address.
    """

    port: int = 0
    answers: dict[Address, Answered] = field(default_factory=dict)


async def ask_all(
    reactor: Any, addresses: Sequence[Address], found: Asked, wall_clock: Callable[[], float]
) -> None:
    """Ask mediators of one family from one socket; what comes is noted in *found* at once."""
    if not addresses:
        return
    wildcard = "::" if ":" in addresses[0][0] else "0.0.0.0"
    socket = _Socket(reactor)
    try:
        port = reactor.listenUDP(0, socket, interface=wildcard)
    except (CannotListenError, OSError):
        return
    found.port = port.getHost().port
    running: list[Deferred[None]] = []
    try:
        for address in addresses:
            answered = found.answers.setdefault(address, Answered())
            small = socket.asker.ask(binding_request(), address)
            big = socket.asker.ask(clock_request(), address)
            running.append(Deferred.fromCoroutine(ask_binding(small, answered)))
            running.append(Deferred.fromCoroutine(ask_clock(big, answered, wall_clock)))
        for each in running:
            await each
    finally:
        socket.asker.stop("nobody waits any more")
        await maybeDeferred(port.stopListening)


async def behave(reactor: Any, address: Address) -> Behaviour | None:
    """Have one mediator show how the router behaves; None where it cannot be asked at all."""
    try:
        return await discover_behaviour(reactor, address, rto=RTO)
    except (BindingFailed, CannotListenError, OSError):
        return None


def of_family(
    hosts: Sequence[str],
    asked: Asked,
    behaviours: Sequence[Behaviour],
    streams: Sequence[Answered],
) -> Family | None:
    """Put together what is known of one family; pure.

    :param hosts: this host's addresses of the family, the one first that packets leave from.
    :param behaviours: what mediators with two addresses have shown.
    :param streams: what was answered over TCP; one that was not has no :attr:`Answered.ms`.
    """
    answers = list(asked.answers.values())
    local = next((each for each in hosts if not ip_address(each).is_loopback), "")
    if not local and not answers and not streams:
        return None
    seen = {host: each.mapped for (host, _), each in asked.answers.items() if each.mapped}
    mapped = next(iter(seen.values()), None)
    outside = mapped or next((each.mapped for each in streams if each.mapped), None)
    behaviour = max(behaviours, key=_worth, default=Behaviour())
    mapping, why = behaviour.mapping, dict(behaviour.unknown)
    if mapping is None and len(seen) > 1:
        mapping = _compared(list(seen.values()))
        why.pop("mapping", None)
    udp = bool(seen) if answers else None
    translated = None if outside is None or not hosts else outside[0] not in hosts
    if outside is None and local and ":" not in local and not ip_address(local).is_global:
        translated = True  # or else nothing leads out
    if translated is False and udp:
        mapping = Dependence.ENDPOINT_INDEPENDENT
        why.pop("mapping", None)
    if udp is False:
        why = dict.fromkeys(("mapping", "filtering"), "No UDP comes back.")
    preserved = None if mapped is None or not translated else mapped[1] == asked.port
    bigs = [each.big for each in answers if each.mapped is not None and each.big is not None]
    return Family(
        local=local,
        mapped="" if outside is None else outside[0],
        translated=translated,
        udp=udp,
        big_udp=any(bigs) if bigs else None,
        tcp=any(each.ms is not None for each in streams) if streams else None,
        mapping=mapping if udp else None,
        filtering=behaviour.filtering,
        hairpinning=behaviour.hairpinning if translated else None,
        port_preserved=preserved,
        unknown={name: text for name, text in why.items() if name in ("mapping", "filtering")},
    )


def _worth(behaviour: Behaviour) -> int:
    """The more is known, the better."""
    known = (behaviour.mapping, behaviour.filtering, behaviour.hairpinning)
    return sum(each is not None for each in known)


def _compared(mapped: Sequence[Address]) -> Dependence:
    """What several mediators see: at another port for each at least by address."""
    same = len(set(mapped)) == 1
    return Dependence.ENDPOINT_INDEPENDENT if same else Dependence.ADDRESS_DEPENDENT
