"""Rendezvous with an end that is not known to be wavesync: both call each other's exact address.

This is libudt's exchange (``docs/udt.rst``, "Rendezvous with libudt").  :data:`rendezvous` is the
state machine, :class:`RendezvousAttempt` owns times and packets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from automat import TypeMachineBuilder
from twisted.internet import error

from wavesync.interfaces import Address
from wavesync.machines import with_table
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    REQUEST,
    Agreement,
    Handshake,
    HandshakeError,
    Offer,
    agree,
)

__all__ = ["DATA_HOLD", "DEFAULT_TIMEOUT", "REPEAT", "RendezvousAttempt"]

REPEAT = 0.25
"""Seconds between two handshakes while nothing is heard."""
DEFAULT_TIMEOUT = 15.0
"""Seconds after which a rendezvous fails (libudt: 30)."""
DATA_HOLD = 0.02
"""Seconds for which nothing is sent after connecting: libudt drops what comes sooner, and its
rate collapses for it."""
MAX_CANDIDATES = 32
"""Addresses of one peer that are called."""


class Inputs(Protocol):
    """What can happen to an attempt."""

    def called(self, agreement: Agreement) -> None:
        """The peer calls; it has not heard us."""

    def answered(self, agreement: Agreement) -> None:
        """The peer has heard us."""

    def finished(self, agreement: Agreement) -> None:
        """The peer is connected."""

    def traffic(self) -> None:
        """Data or a keep-alive came for our socket id: the peer is connected."""

    def repeat(self) -> None:
        """Time to send our handshake again."""

    def expire(self) -> None:
        """The time is up."""


@dataclass
class _Core:
    """What the machine works on.

    :ivar outgoing: request types to send now.
    :ivar known: the peer's values, from its first handshake.
    """

    outgoing: list[int] = field(default_factory=list)
    known: Agreement | None = None
    agreement: Agreement | None = None
    failure: Exception | None = None


_machine = TypeMachineBuilder(Inputs, _Core)
_calling = _machine.state("calling")
_answering = _machine.state("answering")
_connected = _machine.state("connected")
_failed = _machine.state("failed")


@_calling.upon(Inputs.repeat).loop()
def call(inputs: Inputs, core: _Core) -> None:
    """Call again."""
    core.outgoing.append(CALL)


@_calling.upon(Inputs.called).to(_answering)
@_calling.upon(Inputs.answered).to(_answering)
@_calling.upon(Inputs.finished).to(_answering)
@_answering.upon(Inputs.called).loop()
def answer(inputs: Inputs, core: _Core, agreement: Agreement) -> None:
    """Take the peer's values and answer at once."""
    core.known = agreement
    core.outgoing.append(ANSWER)


@_answering.upon(Inputs.repeat).loop()
def answer_again(inputs: Inputs, core: _Core) -> None:
    """Answer again."""
    core.outgoing.append(ANSWER)


@_answering.upon(Inputs.answered).to(_connected)
def connect_and_finish(inputs: Inputs, core: _Core, agreement: Agreement) -> None:
    """Connected; say so at once, so that libudt is connected too."""
    core.agreement = core.known = agreement
    core.outgoing.append(FINAL)


@_answering.upon(Inputs.finished).to(_connected)
def connect(inputs: Inputs, core: _Core, agreement: Agreement) -> None:
    """Connected, and the peer knows; a final handshake is never answered."""
    core.agreement = core.known = agreement


@_answering.upon(Inputs.traffic).to(_connected)
def connect_by_traffic(inputs: Inputs, core: _Core) -> None:
    """Connected with the values remembered from the peer's handshake."""
    core.agreement = core.known


@_connected.upon(Inputs.called).loop()
@_connected.upon(Inputs.answered).loop()
def finish_again(inputs: Inputs, core: _Core, agreement: Agreement) -> None:
    """The peer has not noticed that we are connected."""
    core.outgoing.append(FINAL)


@_calling.upon(Inputs.expire).to(_failed)
@_answering.upon(Inputs.expire).to(_failed)
def note_timeout(inputs: Inputs, core: _Core) -> None:
    """Fail: the peer was not heard, or did not hear us."""
    heard = "was heard but did not hear us" if core.known else "was not heard"
    core.failure = error.TimeoutError(string=f"The other end of the rendezvous {heard}.")


_calling.upon(Inputs.traffic).loop().returns(None)
_connected.upon(Inputs.finished).loop().returns(None)
_connected.upon(Inputs.traffic).loop().returns(None)
_connected.upon(Inputs.repeat).loop().returns(None)
_connected.upon(Inputs.expire).loop().returns(None)
for _input in (
    Inputs.called,
    Inputs.answered,
    Inputs.finished,
    Inputs.traffic,
    Inputs.repeat,
    Inputs.expire,
):
    _failed.upon(_input).loop().returns(None)

rendezvous = with_table(_machine.build())
"""The machine; drawn in ``docs/diagrams``."""


class RendezvousAttempt:
    """One rendezvous by libudt's rules, without I/O.

    The first candidate from which a handshake comes is the peer; the others are then left alone.

    :param candidates: the peer's possible addresses.
    :param offer: our end.
    :param now: seconds.
    :param timeout: seconds until the attempt fails.
    """

    token: int | None = None

    def __init__(
        self,
        candidates: Iterable[Address],
        offer: Offer,
        now: float,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.offer = offer
        self.sources: set[Address] = set()
        self.remote: Address | None = None
        self._candidates: list[Address] = []
        self._events: list[tuple[str, Address]] = []
        self._greetings: list[Address] = []
        self._core = _Core()
        self._machine = rendezvous(self._core)
        self._expires = now + timeout
        self._repeats = now + REPEAT
        for address in candidates:
            self.add_candidate(address, now)

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed on, once connected."""
        return self._core.agreement

    @property
    def failure(self) -> Exception | None:
        """Why the attempt failed, once it has."""
        return self._core.failure

    def add_candidate(self, address: Address, now: float, *, urgent: bool = False) -> bool:
        """Call one more address.

        :return: whether it is called: not if it is known, or there are too many, or the peer
            has been heard already.
        """
        if (
            self.remote is not None
            or address in self._candidates
            or len(self._candidates) >= MAX_CANDIDATES
        ):
            return False
        self._candidates.append(address)
        self._greetings.append(address)
        self._events.append(("tried", address))
        return True

    def has(self, source: Address) -> bool:
        """:return: whether *source* is one of the candidates."""
        return source in self._candidates

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake that came to our socket id, or to 0 from one of the candidates."""
        if (
            source not in self._candidates
            or packet.destination not in (0, self.offer.socket_id)
            or packet.request == REQUEST
            or packet.socket_id == self.offer.socket_id
        ):
            return
        if self.remote is not None and source != self.remote:
            return
        known = self._core.known
        if known is not None and packet.socket_id != known.peer_id:
            return
        try:
            agreement = agree(
                self.offer,
                packet,
                send_isn=self.offer.isn,
                receive_isn=packet.isn,
                receive_mss=self.offer.mss,
            )
        except HandshakeError:
            return
        if known is not None:
            # libudt's later handshakes repeat some values and leave others out.
            agreement = known
        if self.remote is None:
            self.remote = source
            self.sources.add(source)
            self._events.append(("heard", source))
        if packet.request == CALL:
            self._machine.called(agreement)
        elif packet.request == FINAL:
            self._machine.finished(agreement)
        else:
            self._machine.answered(agreement)

    def traffic(self, source: Address, now: float) -> None:
        """A packet other than a handshake came for our socket id."""
        if source in self.sources:
            self._machine.traffic()

    def timer(self, now: float) -> None:
        """The deadline has come."""
        if now >= self._expires:
            self._machine.expire()
        elif now >= self._repeats:
            self._repeats = now + REPEAT
            self._machine.repeat()

    def deadline(self) -> float | None:
        """:return: when :meth:`timer` is due, ``None`` when the attempt is over."""
        if self.agreement is not None or self.failure is not None:
            return None
        return min(self._expires, self._repeats)

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        """:return: what to send now (each once)."""
        outgoing, self._core.outgoing = self._core.outgoing, []
        greetings, self._greetings = self._greetings, []
        known = self._core.known
        peer_id = 0 if known is None else known.peer_id
        targets = self._candidates if self.remote is None else [self.remote]
        sends = [(CALL, address) for address in greetings if self.remote is None]
        sends += [(request, address) for request in outgoing for address in targets]
        return [
            (self.offer.handshake(request, address[0], destination=peer_id).encode(), address)
            for request, address in sends
        ]

    def events(self) -> list[tuple[str, Address]]:
        """:return: what happened to which candidate since the last call."""
        events, self._events = self._events, []
        return events
