"""Attempts to make a connection as a port holds them: an attempt, a factory and a Deferred."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Protocol as TypingProtocol

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.interfaces import Address, Burst
from wavesync.udt.connecting import ClientAttempt
from wavesync.udt.handshake import Agreement, Handshake
from wavesync.udt.link import Link, Member
from wavesync.udt.punching import PunchAttempt
from wavesync.udt.rendezvous import DATA_HOLD, RendezvousAttempt
from wavesync.udt.transport import udt_address

__all__ = ["MAX_EARLY", "ClientCall", "OnEvent", "Rendezvous"]

MAX_EARLY = 64 * 1024
"""Bytes kept for a socket id whose peer is not known yet: data may overtake a handshake."""

OnEvent = Callable[[str, Address], None]


class Caller(TypingProtocol):
    """What an attempt asks of its port."""

    def send(self, burst: Burst, remote: Address) -> None:
        """Send a burst."""

    def touch(self, member: Member) -> None:
        """Give *member* a turn soon."""

    def seconds(self) -> float:
        """:return: the time."""

    def drop_call(self, call: "ClientCall | Rendezvous") -> None:
        """The attempt is over."""

    def open(
        self,
        agreement: Agreement,
        remote: Address,
        sources: Collection[Address],
        *,
        hold_data_until: float = 0.0,
    ) -> Link:
        """Make the link for what was agreed on."""


class _Early:
    """What came for a socket id before its peer was known."""

    def __init__(self) -> None:
        self._kept: list[tuple[bytes, int, Address]] = []
        self._size = 0

    def keep(self, data: bytes, segment_size: int, source: Address) -> None:
        if self._size + len(data) <= MAX_EARLY:
            self._size += len(data)
            self._kept.append((data, segment_size, source))

    def feed(self, link: Link, now: float) -> None:
        kept, self._kept = self._kept, []
        self._size = 0
        for data, segment_size, source in kept:
            if source in link.sources:
                link.receive(data, segment_size, now)


class _Call(ABC):
    """What both kinds of attempt have in common."""

    log = Logger()

    def __init__(self, port: Caller, factory: IProtocolFactory, socket_id: int) -> None:
        self.connected: Deferred[IProtocol] = Deferred(lambda _deferred: self.cancel())
        self.scheduled: float | None = None
        self.socket_id = socket_id
        self.link: Link | None = None
        self._port = port
        self._factory = factory
        self._early = _Early()
        self._over = False

    @abstractmethod
    def cancel(self) -> None:
        """Give the attempt up."""

    def traffic(self, data: bytes, segment_size: int, source: Address, now: float) -> None:
        """Take packets other than handshakes that came for our socket id, but not for its link."""
        if self.link is None:
            self._early.keep(data, segment_size, source)

    def _open(self, agreement: Agreement, remote: Address, sources: Collection[Address]) -> None:
        now = self._port.seconds()
        try:
            protocol = self._factory.buildProtocol(udt_address(remote))
        except Exception:
            self._fail(Failure())
            return
        if protocol is None:
            self._fail(Failure(error.NoProtocol()))
            return
        hold = 0.0 if agreement.wavesync or not self._holds else now + DATA_HOLD
        self.link = link = self._port.open(agreement, remote, sources, hold_data_until=hold)
        link.attach(protocol)
        if self._should_show(link):
            link.connection.send_keep_alive()
        self._early.feed(link, now)
        self.connected.callback(protocol)

    _holds = False

    @abstractmethod
    def _should_show(self, link: Link) -> bool:
        """:return: whether a keep-alive is to tell the peer at once that we have heard it."""

    def _fail(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            self._port.drop_call(self)  # type: ignore[arg-type]
            if self.link is None:
                self.connected.errback(reason)


class ClientCall(_Call):
    """A connect to a listener."""

    def __init__(self, port: Caller, factory: IProtocolFactory, attempt: ClientAttempt) -> None:
        super().__init__(port, factory, attempt.offer.socket_id)
        self._attempt = attempt

    def cancel(self) -> None:
        """Give the attempt up; the Deferred fails with ``ConnectingCancelledError``."""
        reason = error.ConnectingCancelledError(udt_address(self._attempt.remote))
        self._fail(Failure(reason))

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake."""
        self._attempt.receive(packet, source, now)
        self._port.touch(self)

    def turn(self, now: float) -> None:
        """Do whatever is due."""
        attempt = self._attempt
        due = attempt.deadline()
        if due is not None and due <= now:
            attempt.timer(now)
        for datagram, remote in attempt.datagrams():
            self._port.send(Burst(datagram, len(datagram)), remote)
        if self._over:
            return
        if attempt.failure is not None:
            self._fail(Failure(attempt.failure))
        elif attempt.agreement is not None:
            self._open(attempt.agreement, attempt.remote, (attempt.remote,))
            if self.link is not None:
                self.link.connection.expect_round_trip(attempt.round_trip)
                self._over = True
                self._port.drop_call(self)

    def _should_show(self, link: Link) -> bool:
        # What it says at once shows it as well, but libudt may drop the first packets.
        return not (link.agreement.wavesync and link.connection.unsent)

    def deadline(self, now: float) -> float | None:
        """:return: when the next turn is due by itself."""
        return None if self._over else self._attempt.deadline()


class Rendezvous(_Call):
    """A rendezvous of a port, made by :meth:`wavesync.udt.port.Port.rendezvous`.

    It outlives the moment of connecting: until both ends use the same path, and then as long as
    the connection, to answer handshakes that come late.

    :param begin: when candidates are called first.
    :ivar connected: fires with the protocol as soon as data may flow, or fails.
    """

    _holds = True

    def __init__(
        self,
        port: Caller,
        factory: IProtocolFactory,
        attempt: RendezvousAttempt | PunchAttempt,
        on_event: OnEvent | None,
        *,
        begin: float = 0.0,
    ) -> None:
        super().__init__(port, factory, attempt.offer.socket_id)
        self._attempt = attempt
        self._on_event = on_event
        self._begin = begin
        self._path: tuple[Address, bool] | None = None

    @property
    def token(self) -> int | None:
        """The token of a rendezvous between wavesync ends."""
        return self._attempt.token

    @property
    def remote(self) -> Address | None:
        """Where the peer is, as far as is known."""
        return self._attempt.remote

    def add_candidate(self, address: Address, *, urgent: bool = True) -> bool:
        """Call one more address of the peer.

        :param urgent: it was seen just now: it is called as often as the first ones.
        :return: whether it is called; not if it is known, or there are too many, or it is late.
        """
        begin = max(self._begin, self._port.seconds())
        added = not self._over and self._attempt.add_candidate(address, begin, urgent=urgent)
        if added:
            self._port.touch(self)
        return added

    def cancel(self) -> None:
        """Call nobody any more.  A connection that was made is left alone."""
        self._fail(Failure(CancelledError()))

    def receive(self, packet: Handshake, source: Address, now: float) -> None:
        """Take a handshake."""
        self._attempt.receive(packet, source, now)
        self._port.touch(self)

    def traffic(self, data: bytes, segment_size: int, source: Address, now: float) -> None:
        """Take early packets: they show that the peer knows us."""
        super().traffic(data, segment_size, source, now)
        self.notice(source, now)

    def notice(self, source: Address, now: float) -> None:
        """The peer sent something other than a handshake to our socket id."""
        self._attempt.traffic(source, now)
        self._port.touch(self)

    def _should_show(self, link: Link) -> bool:
        # Whoever is not where it was expected is sent no more than it sends.
        return not isinstance(self._attempt, PunchAttempt) or self._attempt.expected

    @property
    def unsettled(self) -> bool:
        """Whether :meth:`notice` may still change something."""
        return isinstance(self._attempt, PunchAttempt) and not self._attempt.settled

    def calls(self, source: Address) -> bool:
        """:return: whether a handshake without a token from *source* may be our peer's."""
        return isinstance(self._attempt, RendezvousAttempt) and self._attempt.has(source)

    def closed(self) -> None:
        """The link is over, and the rendezvous with it."""
        self._fail(Failure(CancelledError()))

    def turn(self, now: float) -> None:
        """Do whatever is due."""
        attempt = self._attempt
        due = attempt.deadline()
        if due is not None and due <= now:
            attempt.timer(now)
        for datagram, remote in attempt.datagrams(now):
            self._port.send(Burst(datagram, len(datagram)), remote)
        for name, address in attempt.events():
            if self._on_event is not None:
                self._on_event(name, address)
        if self._over:
            return
        if attempt.failure is not None:
            if self.link is not None:
                self.link.transport.fail(attempt.failure)
            self._fail(Failure(attempt.failure))
        elif attempt.agreement is not None and attempt.remote is not None:
            if self.link is None:
                self._open(attempt.agreement, attempt.remote, attempt.sources)
            if self.link is not None and isinstance(attempt, PunchAttempt):
                self._direct(self.link, attempt, attempt.remote)

    def _direct(self, link: Link, attempt: PunchAttempt, remote: Address) -> None:
        """Have the connection use what the rendezvous found out."""
        link.remote = remote
        link.connection.expect_round_trip(attempt.round_trip)
        if self._path != (remote, attempt.settled):
            self._path = (remote, attempt.settled)
            link.connection.new_path(settled=attempt.settled)

    def deadline(self, now: float) -> float | None:
        """:return: when the next turn is due by itself."""
        return None if self._over else self._attempt.deadline()
