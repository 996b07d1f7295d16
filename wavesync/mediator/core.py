"""The mediator without its sockets: datagrams in, answers out, and what all legs share."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from twisted.logger import Logger

from wavesync.interfaces import Address
from wavesync.mediator.admission import Admission
from wavesync.mediator.connecting import Connecting
from wavesync.mediator.introducing import Way
from wavesync.mediator.introductions import Introductions
from wavesync.mediator.keeping import KeptLists
from wavesync.mediator.registry import IRegistry, MemoryRegistry
from wavesync.mediator.revoking import Revoking
from wavesync.mediator.settings import MediatorSettings
from wavesync.mediator.statistics import Statistics
from wavesync.mediator.stream_opening import StreamOpening, StreamWay
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.messages import (
    ConnectionAck,
    ConnectionAcked,
    ConnectionResult,
    ConnectionUpdate,
    Refusal,
    WarmedUp,
    WarmUp,
)
from wavesync.signalling.numbers import Attribute, ErrorCode, Method
from wavesync.stun.binding import binding_response
from wavesync.stun.buckets import SourceBuckets
from wavesync.stun.message import (
    Message,
    MessageClass,
    StunError,
    check_integrity,
    decode,
    encode,
    is_stun,
    unknown_required,
)
from wavesync.stun.responses import unknown_attributes_response

__all__ = [
    "DROP_LOG_INTERVAL",
    "KNOWN_ATTRIBUTES",
    "MAX_DATAGRAM",
    "BindingAnswer",
    "Datagrams",
    "Mediator",
]

MAX_DATAGRAM = 1500
"""Bytes of the longest datagram that is looked at."""

DROP_LOG_INTERVAL = 60.0
"""Seconds between two lines in the log about what is dropped."""

KNOWN_ATTRIBUTES = frozenset(attribute for attribute in Attribute if attribute < 0x8000)
"""The comprehension-required attributes that a mediator understands."""

_BINDING_REQUEST = b"\0\1"

_Handler: TypeAlias = Callable[[Message, Address, "Datagrams", float], bytes | None]


BindingAnswer: TypeAlias = Callable[[bytes, Address], bytes | None]
"""Answers the Binding request in a datagram from an address."""


class Datagrams(Protocol):
    """One UDP port of the mediator."""

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send one datagram; must not raise."""


class _DatagramWay:
    """The way back to a client over UDP."""

    __slots__ = ("_port", "source")

    reliable = False

    def __init__(self, port: Datagrams, source: Address) -> None:
        self._port = port
        self.source = source

    def send(self, data: bytes) -> None:
        """Send a message from the port at which the client knocked."""
        self._port.send_datagram(data, self.source)

    def afford(self, now: float) -> bool:
        """Admission itself sees to sources that may be forged."""
        return True


class Mediator:
    """What all ports and legs of one mediator share.

    :param settings: checked settings.
    :param random: gives that many unpredictable bytes.
    :param registry: who is registered; in memory when ``None``.
    :param wall: gives the date, seconds since the epoch, of a *now*; the same by default.
    :param kept: keeps revocation lists across restarts; ``None`` to forget them.
    :param started: since when it remembers proofs, seconds since the epoch; 0 for always.
    :ivar sources: the bucket of each source, charged before anything is checked.
    :ivar stream_proofs: the bucket of each TCP source, charged before a signature is checked.
    :ivar revoking: the systems' revocation lists.
    """

    log = Logger()

    def __init__(
        self,
        settings: MediatorSettings,
        random: Callable[[int], bytes],
        registry: IRegistry | None = None,
        *,
        wall: Callable[[float], float] = float,
        kept: KeptLists | None = None,
        started: float = 0.0,
    ) -> None:
        limits = settings.limits
        if registry is None:
            registry = MemoryRegistry(limits.registrations, limits.registrations_per_system)
        self.settings = settings
        self.wall = wall
        self.random = random
        self.registry: IRegistry = registry
        self.statistics = Statistics()
        self.sources = SourceBuckets(limits.source_rate, limits.source_burst)
        self.stream_proofs = SourceBuckets(limits.stream_proof_rate, limits.stream_proof_burst)
        self.admission = Admission(
            settings.name,
            settings.allowed_systems,
            random,
            unproven=SourceBuckets(limits.unproven_rate, limits.unproven_burst),
            unproven_total=SourceBuckets(
                limits.unproven_total_rate, limits.unproven_total_burst, 1
            ),
            wall=wall,
        )
        self.introductions = Introductions(
            self.statistics,
            random,
            limits.introductions,
            limits.introductions_per_host,
            limits.introductions_per_system,
            settings.relay_list,
        )
        self.revoking = Revoking(
            registry, self.introductions.system_of, random, limits.crl_bytes, kept
        )
        self.admission.revoked = self.revoking.lists.revoked
        self._connecting = Connecting(
            self.admission,
            registry,
            self.introductions,
            self.statistics,
            limits,
            self.revoking,
            started,
        )
        self._stream_opening = StreamOpening(
            self.admission, registry, self.introductions, self.statistics
        )
        self._serial = 0
        self._quiet_until = 0.0
        self._handlers: dict[tuple[int, MessageClass], _Handler] = {
            (Method.CONNECT, MessageClass.REQUEST): self._connect,
            (Method.BIND, MessageClass.REQUEST): self._warm_up,
            (Method.CONNECTION_ACK, MessageClass.REQUEST): self._acknowledge,
            (Method.CONNECTION_UPDATE, MessageClass.INDICATION): self._indication,
            (Method.CONNECTION_RESULT, MessageClass.INDICATION): self._indication,
        }

    @property
    def replays(self) -> int:
        """How many proofs are remembered."""
        return len(self._connecting.replays)

    def next_serial(self) -> int:
        """Count legs."""
        self._serial += 1
        return self._serial

    def datagram(
        self,
        data: bytes,
        source: Address,
        port: Datagrams,
        now: float,
        binding: BindingAnswer = binding_response,
    ) -> bytes | None:
        """Take a datagram.

        :param source: where it came from.
        :param port: at which it came.
        :param now: seconds of a clock that nobody sets, if there is one.
        :param binding: answers a Binding request that came at this port, or sees to its answer
            itself and gives ``None``.
        :returns: what to send back, which is never longer than *data* but for a Binding request;
            ``None`` for silence.
        """
        if not is_stun(data) or len(data) > MAX_DATAGRAM:
            self.drop(source[0], "not STUN, or too long", now)
            return None
        if not self.sources.allow(source[0], now):
            self.drop(source[0], "too much", now)
            return None
        if data[:2] == _BINDING_REQUEST:
            return binding(data, source)
        try:
            message = decode(data)
            handler = self._handlers.get((message.method, message.message_class))
            answer = None
            if handler is None:
                self.drop(source[0], "no message for a mediator's UDP port", now)
            elif unknown := unknown_required(message, KNOWN_ATTRIBUTES):
                if message.message_class is MessageClass.REQUEST:
                    answer = encode(unknown_attributes_response(message, unknown))
            else:
                answer = handler(message, source, port, now)
        except StunError as error:
            self.drop(source[0], str(error), now)
            return None
        if answer is not None and len(answer) > len(data):
            self.drop(source[0], "a request shorter than its answer", now)
            return None
        return answer

    def allow_all(self, hosts: Sequence[bytes], now: float) -> bool:
        """Charge the sources of many datagrams for them; all, or none where one has sent too much.

        :param hosts: IPv4 addresses, four bytes each, one for each datagram.
        """
        return self.sources.allow_all(Counter(hosts), now)

    def drop(self, host: str, why: str, now: float) -> None:
        """Count something that is dropped; now and then one line in the log tells of it."""
        self.statistics.dropped += 1
        if now >= self._quiet_until:
            self._quiet_until = now + DROP_LOG_INTERVAL
            self.log.warn(
                "dropped what {host} sent: {why} ({count} dropped so far)",
                host=host,
                why=why,
                count=self.statistics.dropped,
            )

    def connect(self, message: Message, way: Way, now: float) -> bytes:
        """Return the answer to a ``connect`` that came over *way*."""
        return self._connecting.receive(message, way, now)

    def open_stream(self, message: Message, way: StreamWay, now: float) -> bytes:
        """Return the answer to an ``openStream`` that came over *way*, a byte stream."""
        return self._stream_opening.receive(message, way, now)

    def indication(self, message: Message, host: str, now: float) -> None:
        """Take a ``connectionResult``, or a ``connectionUpdate`` that a client returns.

        :param host: where it came from: somewhere from where the client's proof came.
        """
        try:
            if message.method == Method.CONNECTION_RESULT:
                result = ConnectionResult.decode(message)
                introduction = self.introductions.find(result.connection_id)
                if introduction is not None and host in introduction.hosts:
                    introduction.report(result, now)
                    return
            else:
                update = ConnectionUpdate.decode(message)
                introduction = self.introductions.find(update.connection_id)
                if introduction is not None and host in introduction.hosts:
                    introduction.client_knows(update.sequence)
                    return
        except SignallingError as error:
            self.drop(host, str(error), now)
            return
        self.drop(host, "about no introduction of its own", now)

    def deadline(self) -> float | None:
        """Return when :meth:`timer` wants to be called next."""
        times = (self.introductions.deadline(), self._connecting.replays.deadline())
        return min((at for at in times if at is not None), default=None)

    def timer(self, now: float) -> None:
        """Do what is due."""
        self.introductions.timer(now)
        self._connecting.replays.forget_old(now)

    def _connect(self, message: Message, source: Address, port: Datagrams, now: float) -> bytes:
        return self.connect(message, _DatagramWay(port, source), now)

    def _indication(self, message: Message, source: Address, port: Datagrams, now: float) -> None:
        self.indication(message, source[0], now)

    def _warm_up(
        self, message: Message, source: Address, port: Datagrams, now: float
    ) -> bytes | None:
        """``bind`` over UDP: note where the server's port is seen."""
        request = WarmUp.decode(message)
        registration = self.registry.by_id(request.registration_id)
        if registration is None or not check_integrity(message, registration.key):
            self.drop(source[0], "no registration's integrity", now)
            return None
        if request.sequence > registration.warm_sequence:
            registration.warm_sequence = request.sequence
            registration.observe(source)
        return WarmedUp(source).encode(message.transaction_id, registration.key)

    def _acknowledge(
        self, message: Message, source: Address, port: Datagrams, now: float
    ) -> bytes | None:
        """``connectionAck``: the server has begun to punch, from *source*."""
        request = ConnectionAck.decode(message)
        registration = self.registry.by_id(request.registration_id)
        if registration is None or not check_integrity(message, registration.key):
            self.drop(source[0], "no registration's integrity", now)
            return None
        introduction = self.introductions.find(request.connection_id)
        if introduction is None or introduction.registration is not registration:
            refusal = Refusal(ErrorCode.NOT_FOUND)
            self.statistics.refused[refusal.code] += 1
            return refusal.encode(message.method, message.transaction_id, key=registration.key)
        introduction.acknowledge(message.transaction_id, source, now)
        return ConnectionAcked().encode(message.transaction_id, registration.key)
