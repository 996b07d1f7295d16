"""A client's way to a connection: request, cookie, request with the cookie, answer.

:class:`ClientAttempt` owns the times and the packets; :data:`connecting` is the state machine.
"""

from dataclasses import dataclass, field
from typing import Protocol

from automat import TypeMachineBuilder
from twisted.internet import error

from wavesync.interfaces import Address
from wavesync.machines import with_table
from wavesync.udt.handshake import (
    ANSWER,
    REFUSED,
    REQUEST,
    Agreement,
    Handshake,
    HandshakeError,
    Offer,
    agree,
)

__all__ = ["DEFAULT_TIMEOUT", "DOUBT", "REPEAT", "ClientAttempt"]

REPEAT = 0.25
"""Seconds between two requests while nothing is heard."""
DOUBT = 1.0
"""Seconds after which a cookie that gets no answer is thrown away: libudt's listener ignores a
cookie that was asked for before and used after a full minute of its life."""
DEFAULT_TIMEOUT = 3.0
"""Seconds after which an unanswered attempt fails, as in libudt."""


class Inputs(Protocol):
    """What can happen to an attempt."""

    def challenged(self, cookie: int) -> None:
        """The listener gave a cookie."""

    def accepted(self, agreement: Agreement) -> None:
        """The listener answered: the connection stands."""

    def refused(self) -> None:
        """The listener does not want this connection."""

    def mismatched(self) -> None:
        """The listener answered with values that cannot be ours."""

    def repeat(self) -> None:
        """Nothing was heard for :data:`REPEAT` seconds."""

    def doubt(self) -> None:
        """The cookie was not answered for :data:`DOUBT` seconds."""

    def expire(self) -> None:
        """The time is up."""


@dataclass
class _Core:
    """What the machine works on.

    :ivar outgoing: requests to send now, as (request type, cookie).
    """

    remote: Address
    cookie: int = 0
    outgoing: list[tuple[int, int]] = field(default_factory=list)
    agreement: Agreement | None = None
    failure: Exception | None = None

    @property
    def where(self) -> str:
        return (
            "[{}]:{}".format(*self.remote)
            if ":" in self.remote[0]
            else "{}:{}".format(*self.remote)
        )


_machine = TypeMachineBuilder(Inputs, _Core)
_asking = _machine.state("asking")
_answering = _machine.state("answering")
_connected = _machine.state("connected")
_failed = _machine.state("failed")


@_asking.upon(Inputs.repeat).loop()
@_answering.upon(Inputs.doubt).to(_asking)
def ask(inputs: Inputs, core: _Core) -> None:
    """Send the first request."""
    core.cookie = 0
    core.outgoing.append((REQUEST, 0))


@_asking.upon(Inputs.challenged).to(_answering)
def show_cookie(inputs: Inputs, core: _Core, cookie: int) -> None:
    """Send the request with the cookie at once."""
    core.cookie = cookie
    core.outgoing.append((ANSWER, cookie))


@_answering.upon(Inputs.challenged).loop()
def show_new_cookie(inputs: Inputs, core: _Core, cookie: int) -> None:
    """A repeated challenge is answered only if the cookie is another one."""
    if cookie != core.cookie:
        core.cookie = cookie
        core.outgoing.append((ANSWER, cookie))


@_answering.upon(Inputs.repeat).loop()
def show_again(inputs: Inputs, core: _Core) -> None:
    """Send the request with the cookie again."""
    core.outgoing.append((ANSWER, core.cookie))


@_asking.upon(Inputs.accepted).to(_connected)
@_answering.upon(Inputs.accepted).to(_connected)
def connect(inputs: Inputs, core: _Core, agreement: Agreement) -> None:
    """Take the listener's values."""
    core.agreement = agreement


@_asking.upon(Inputs.refused).to(_failed)
@_answering.upon(Inputs.refused).to(_failed)
def note_refusal(inputs: Inputs, core: _Core) -> None:
    """Fail: the listener said no."""
    core.failure = error.ConnectionRefusedError(
        string=f"{core.where} refused the connection: it is full, or speaks another UDT."
    )


@_asking.upon(Inputs.mismatched).to(_failed)
@_answering.upon(Inputs.mismatched).to(_failed)
def note_mismatch(inputs: Inputs, core: _Core) -> None:
    """Fail: the answer is to a question we did not ask."""
    core.failure = error.ConnectError(
        string=f"{core.where} answered with values that do not fit what was asked."
    )


@_asking.upon(Inputs.expire).to(_failed)
@_answering.upon(Inputs.expire).to(_failed)
def note_timeout(inputs: Inputs, core: _Core) -> None:
    """Fail: nobody answered."""
    core.failure = error.TimeoutError(string=f"{core.where} did not answer in time.")


_asking.upon(Inputs.doubt).loop().returns(None)
for _over in (_connected, _failed):
    for _input in (
        Inputs.challenged,
        Inputs.accepted,
        Inputs.refused,
        Inputs.mismatched,
        Inputs.repeat,
        Inputs.doubt,
        Inputs.expire,
    ):
        # Late and duplicated answers are ordinary on a network.
        _over.upon(_input).loop().returns(None)

connecting = with_table(_machine.build())
"""The machine; drawn in ``docs/diagrams``."""


class ClientAttempt:
    """One attempt to connect to a listener, without I/O.

    :param remote: the listener.
    :param offer: our end.
    :param now: seconds.
    :param timeout: seconds until the attempt fails.
    :ivar round_trip: seconds from a request to its answer, where it is known which was answered.
    """

    def __init__(
        self, remote: Address, offer: Offer, now: float, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.remote = remote
        self.offer = offer
        self._core = _Core(remote)
        self._machine = connecting(self._core)
        self._expires = now + timeout
        self._repeats = now + REPEAT
        self._doubts: float | None = None
        self._core.outgoing.append((REQUEST, 0))
        self._asked: float | None = now
        self.round_trip: float | None = None

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed on, once connected."""
        return self._core.agreement

    @property
    def failure(self) -> Exception | None:
        """Why the attempt failed, once it has."""
        return self._core.failure

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake that came to our socket id (or to 0)."""
        if source != self.remote or packet.destination not in (self.offer.socket_id, 0):
            return
        ours = packet.isn == self.offer.isn
        if ours and self._asked is not None:
            self.round_trip, self._asked = now - self._asked, None
        if packet.request == REQUEST:
            if ours and packet.socket_id == self.offer.socket_id:
                first = self._core.cookie == 0
                self._machine.challenged(packet.cookie)
                if first:
                    self._doubts = now + DOUBT
        elif packet.request == REFUSED:
            if ours:
                self._machine.refused()
        elif packet.request == ANSWER:
            try:
                agreement = agree(
                    self.offer, packet, send_isn=self.offer.isn, receive_isn=self.offer.isn
                )
            except HandshakeError:
                ours = False
            if ours:
                self._machine.accepted(agreement)
            else:
                self._machine.mismatched()

    def timer(self, now: float) -> None:
        """The deadline has come."""
        self._asked = None
        if now >= self._expires:
            self._machine.expire()
        elif self._doubts is not None and now >= self._doubts:
            self._doubts = None
            self._repeats = now + REPEAT
            self._machine.doubt()
        elif now >= self._repeats:
            self._repeats = now + REPEAT
            self._machine.repeat()

    def deadline(self) -> float | None:
        """:return: when :meth:`timer` is due, ``None`` when the attempt is over."""
        if self.agreement is not None or self.failure is not None:
            return None
        return min(t for t in (self._expires, self._repeats, self._doubts) if t is not None)

    def datagrams(self) -> list[tuple[bytes, Address]]:
        """:return: what to send now (each once)."""
        outgoing, self._core.outgoing = self._core.outgoing, []
        return [
            (self.offer.handshake(request, self.remote[0], cookie=cookie).encode(), self.remote)
            for request, cookie in outgoing
        ]
