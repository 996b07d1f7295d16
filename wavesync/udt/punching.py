"""Rendezvous between two wavesync ends that were introduced and share a token.

Every handshake carries the token in its cookie word.  Each end calls all addresses it knows of the
other, answers any source that shows the token, and may send data as soon as it has heard the other
end once.  So that both use one pair of addresses, the end with the greater socket id chooses it:
``docs/udt.rst``, "Rendezvous between wavesync ends", has the rules.

:data:`punching` is the state machine, :class:`PunchAttempt` owns times, paths and packets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from automat import TypeMachineBuilder
from twisted.internet import error

from wavesync.interfaces import Address
from wavesync.udt.handshake import (
    ANSWER,
    CALL,
    FINAL,
    Agreement,
    Handshake,
    HandshakeError,
    Offer,
    agree,
)
from wavesync.udt.paths import Path

__all__ = ["DOUBT", "MAX_ADOPTED", "MAX_CANDIDATES", "MAX_TOKEN", "PunchAttempt"]

MAX_TOKEN = 0xFFFFFFFF
"""Tokens are 1 .. this; 0 is what libudt writes."""
MAX_CANDIDATES = 32
"""Announced addresses that are called."""
MAX_ADOPTED = 16
"""Unannounced sources with the right token that are answered."""
DOUBT = 0.5
"""Seconds after which a chosen path that is not confirmed yields to another complete one."""


class Inputs(Protocol):
    """What can happen to an attempt."""

    def heard(self, path: Path, agreement: Agreement) -> None:
        """A handshake with the token came along *path*."""

    def completed(self, path: Path) -> None:
        """The peer has heard us along *path*, and the choice is his."""

    def chosen(self, path: Path) -> None:
        """The peer has heard us along *path*, and the choice is ours."""

    def nominated(self, path: Path) -> None:
        """The peer, whose choice it is, chose *path*."""

    def confirmed(self) -> None:
        """The peer follows our choice."""

    def doubt(self) -> None:
        """Our choice was not confirmed for :data:`DOUBT` seconds."""

    def expire(self) -> None:
        """The time is up."""


@dataclass
class _Core:
    """What the machine works on.

    :ivar chooser: the choice of a path is ours.
    :ivar remote: the path that data takes.
    :ivar outgoing: handshakes to send at once, as (request type, path).
    :ivar settled: both ends use one path; nothing is left to do.
    """

    paths: dict[Address, Path] = field(default_factory=dict)
    now: float = 0.0
    chooser: bool = False
    agreement: Agreement | None = None
    remote: Path | None = None
    outgoing: list[tuple[int, Path]] = field(default_factory=list)
    events: list[tuple[str, Address]] = field(default_factory=list)
    settled: bool = False
    failure: Exception | None = None

    def hear(self, path: Path) -> None:
        """Answer at once whoever may not have heard us along this path."""
        if path.heard:
            self.outgoing.append((path.request, path))
            return
        path.heard = True
        self.events.append(("heard", path.address))
        path.restart(self.now)

    def complete(self, path: Path) -> None:
        """The path works both ways."""
        if not path.completed:
            path.completed = True
            self.events.append(("completed", path.address))

    def take(self, path: Path) -> None:
        """Send data along this path from now on."""
        if path is not self.remote:
            self.remote = path
            self.events.append(("chosen", path.address))

    def stop(self) -> None:
        """Call nobody any more."""
        self.settled = True
        for path in self.paths.values():
            path.stopped = True


_machine = TypeMachineBuilder(Inputs, _Core)
_calling = _machine.state("calling")
_talking = _machine.state("talking")
_choosing = _machine.state("choosing")
_settled = _machine.state("settled")
_failed = _machine.state("failed")


@_calling.upon(Inputs.heard).to(_talking)
def meet(inputs: Inputs, core: _Core, path: Path, agreement: Agreement) -> None:
    """The peer is known: data may flow, first along the path it was heard on."""
    core.agreement = agreement
    core.remote = path
    core.hear(path)


@_talking.upon(Inputs.heard).loop()
def answer(inputs: Inputs, core: _Core, path: Path, agreement: Agreement) -> None:
    """Heard again or along another path: answer there."""
    core.hear(path)


@_choosing.upon(Inputs.heard).loop()
def answer_or_insist(inputs: Inputs, core: _Core, path: Path, agreement: Agreement) -> None:
    """Repeat the choice where it applies; answer elsewhere, it may be needed yet."""
    if path is core.remote:
        core.outgoing.append((FINAL, path))
    else:
        core.hear(path)


@_settled.upon(Inputs.heard).loop()
def insist(inputs: Inputs, core: _Core, path: Path, agreement: Agreement) -> None:
    """The peer has missed our choice."""
    if core.chooser and path is core.remote:
        core.outgoing.append((FINAL, path))


@_talking.upon(Inputs.completed).loop()
def prefer(inputs: Inputs, core: _Core, path: Path) -> None:
    """Until the peer has chosen, use the first path that is known to work both ways."""
    core.complete(path)
    if core.remote is not None and not core.remote.completed:
        core.remote = path


@_talking.upon(Inputs.chosen).to(_choosing)
def choose(inputs: Inputs, core: _Core, path: Path) -> None:
    """Choose the first path that works both ways, and say so at once."""
    core.complete(path)
    core.remote = path
    core.events.append(("chosen", path.address))
    path.restart(core.now)


@_choosing.upon(Inputs.chosen).loop()
def keep_in_reserve(inputs: Inputs, core: _Core, path: Path) -> None:
    """Another path works, too: it may be needed if the choice is not confirmed."""
    core.complete(path)


@_choosing.upon(Inputs.doubt).loop()
def choose_another(inputs: Inputs, core: _Core) -> None:
    """The chosen path does not carry our packets: take the next one that is complete."""
    usable = [path for path in core.paths.values() if path.completed]
    if core.remote in usable:
        core.take(usable[(usable.index(core.remote) + 1) % len(usable)])
        core.remote.restart(core.now)


@_choosing.upon(Inputs.confirmed).to(_settled)
def settle(inputs: Inputs, core: _Core) -> None:
    """Both ends use the chosen path."""
    core.stop()


@_talking.upon(Inputs.nominated).to(_settled)
def follow(inputs: Inputs, core: _Core, path: Path) -> None:
    """Use the path that the peer chose, and confirm it."""
    core.complete(path)
    core.remote = path
    core.events.append(("chosen", path.address))
    core.outgoing.append((FINAL, path))
    core.stop()


@_settled.upon(Inputs.nominated).loop()
def follow_again(inputs: Inputs, core: _Core, path: Path) -> None:
    """The confirmation was lost, or the peer changed its mind."""
    core.take(path)
    core.outgoing.append((FINAL, path))


@_calling.upon(Inputs.expire).to(_failed)
@_choosing.upon(Inputs.expire).to(_failed)
def give_up(inputs: Inputs, core: _Core) -> None:
    """Fail: no path works both ways."""
    heard = "was heard but did not hear us" if core.agreement else "was not heard"
    core.failure = error.TimeoutError(string=f"The other end of the rendezvous {heard}.")
    core.stop()


@_talking.upon(Inputs.expire).to(_settled)
def make_do(inputs: Inputs, core: _Core) -> None:
    """Time is up without a choice: stay on a complete path, or fail."""
    core.stop()
    if core.remote is None or not core.remote.completed:
        core.failure = error.TimeoutError(
            string="The other end of the rendezvous was heard but did not hear us."
        )


for _idle in (
    _calling.upon(Inputs.completed),
    _calling.upon(Inputs.chosen),
    _calling.upon(Inputs.nominated),
    _calling.upon(Inputs.confirmed),
    _calling.upon(Inputs.doubt),
    _talking.upon(Inputs.confirmed),
    _talking.upon(Inputs.doubt),
    _choosing.upon(Inputs.completed),
    _choosing.upon(Inputs.nominated),
    _settled.upon(Inputs.completed),
    _settled.upon(Inputs.chosen),
    _settled.upon(Inputs.confirmed),
    _settled.upon(Inputs.doubt),
    _settled.upon(Inputs.expire),
    _failed.upon(Inputs.heard),
    _failed.upon(Inputs.completed),
    _failed.upon(Inputs.chosen),
    _failed.upon(Inputs.nominated),
    _failed.upon(Inputs.confirmed),
    _failed.upon(Inputs.doubt),
    _failed.upon(Inputs.expire),
):
    _idle.loop().returns(None)

punching = _machine.build()
"""The machine; drawn in ``docs/diagrams``."""


class PunchAttempt:
    """One rendezvous between wavesync ends, without I/O.

    :param candidates: the peer's announced addresses.
    :param offer: our end: one socket id and ISN for all paths.
    :param token: what both ends were given, 1 .. :data:`MAX_TOKEN`.
    :param now: seconds.
    :param timeout: seconds until the attempt fails.
    """

    def __init__(
        self,
        candidates: Iterable[Address],
        offer: Offer,
        token: int,
        now: float,
        timeout: float,
    ) -> None:
        if not 0 < token <= MAX_TOKEN:
            raise ValueError("a rendezvous token is a number from 1 to 4294967295")
        self.offer = offer
        self.token: int = token
        self.sources: set[Address] = set()
        self._core = _Core(now=now)
        self._machine = punching(self._core)
        self._expires = now + timeout
        self._doubts: float | None = None
        self._adopted = 0
        for address in candidates:
            self.add_candidate(address, now)

    @property
    def agreement(self) -> Agreement | None:
        """What was agreed on, from the moment the peer is heard."""
        return self._core.agreement

    @property
    def failure(self) -> Exception | None:
        """Why the attempt failed, once it has; possibly after data began to flow one way."""
        return self._core.failure

    @property
    def settled(self) -> bool:
        """Whether the attempt is over: both ends use one path, or it failed."""
        return self._core.settled

    @property
    def remote(self) -> Address | None:
        """Where data goes now."""
        return None if self._core.remote is None else self._core.remote.address

    def add_candidate(self, address: Address, now: float) -> bool:
        """Call one more address.

        :return: whether it is called: not if it is known, or there are too many.
        """
        announced = len(self._core.paths) - self._adopted
        if address in self._core.paths or announced >= MAX_CANDIDATES or self.settled:
            return False
        self._core.paths[address] = Path(address, now)
        self._core.events.append(("tried", address))
        return True

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake; without our token it does nothing."""
        core = self._core
        core.now = now
        if (
            packet.cookie != self.token
            or packet.request not in (CALL, ANSWER, FINAL)
            or packet.destination not in (0, self.offer.socket_id)
            or packet.socket_id == self.offer.socket_id
        ):
            return
        agreement = core.agreement
        if agreement is None:
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
        elif agreement.peer_id != packet.socket_id:
            return
        path = core.paths.get(source) or self._adopt(source, now)
        if path is None:
            return
        self.sources.add(source)
        core.chooser = self.offer.socket_id > agreement.peer_id
        to_us = packet.destination == self.offer.socket_id
        if packet.request == FINAL and to_us and not core.chooser:
            if core.agreement is None:
                self._machine.heard(path, agreement)
            self._machine.nominated(path)
            return
        if packet.request == FINAL and to_us and path is core.remote:
            self._machine.confirmed()
            return
        # A peer that says ANSWER has heard us here: only the first one needs an answer.
        if packet.request != ANSWER or not path.heard or core.chooser:
            self._machine.heard(path, agreement)
        if packet.request == ANSWER and to_us:
            self._complete(path)

    def traffic(self, source: Address, now: float) -> None:
        """A packet other than a handshake came for our socket id: the peer knows us."""
        core = self._core
        core.now = now
        if core.settled or source not in self.sources:
            return
        path = core.paths[source]
        if not path.completed:
            self._complete(path)
        if core.chooser and path is core.remote:
            self._machine.confirmed()
            core.outgoing.append((FINAL, path))

    def timer(self, now: float) -> None:
        """The deadline has come."""
        self._core.now = now
        if now >= self._expires:
            self._machine.expire()
        elif self._doubts is not None and now >= self._doubts:
            self._doubts = now + DOUBT
            self._machine.doubt()

    def deadline(self) -> float | None:
        """:return: when :meth:`timer` and :meth:`datagrams` are due, ``None`` when over."""
        if self._core.settled:
            return None
        times = [self._expires, self._doubts]
        times += [path.deadline() for path in self._core.paths.values()]
        return min(time for time in times if time is not None)

    def datagrams(self, now: float) -> list[tuple[bytes, Address]]:
        """:return: what to send now (each once)."""
        core = self._core
        sends, core.outgoing = core.outgoing, []
        choosing = core.chooser and self._doubts is not None
        for path in core.paths.values():
            if path.due(now):
                final = choosing and path is core.remote
                sends.append((FINAL if final else path.request, path))
                if path.silent:
                    core.events.append(("silent", path.address))
        peer_id = 0 if core.agreement is None else core.agreement.peer_id
        return [
            (
                self.offer.handshake(
                    request, path.address[0], cookie=self.token, destination=peer_id
                ).encode(),
                path.address,
            )
            for request, path in sends
        ]

    def events(self) -> list[tuple[str, Address]]:
        """:return: what happened to which candidate since the last call."""
        events, self._core.events = self._core.events, []
        return events

    def _adopt(self, source: Address, now: float) -> Path | None:
        if self._adopted >= MAX_ADOPTED:
            return None
        self._adopted += 1
        path = self._core.paths[source] = Path(source, now, adopted=True)
        path.stopped = self.settled
        self._core.events.append(("adopted", source))
        return path

    def _complete(self, path: Path) -> None:
        if not self._core.chooser:
            self._machine.completed(path)
            return
        self._machine.chosen(path)
        if self._doubts is None:
            self._doubts = self._core.now + DOUBT
