"""Introductions for a client: all its mediators, updates, and the report afterwards."""

import os
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.python.failure import Failure

from wavesync.client.asking import Asking
from wavesync.client.introduction import Introduction, NoMediator, NotOnline
from wavesync.client.outward import Outward
from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations
from wavesync.interfaces import Address, IReactor
from wavesync.signalling.asking import Asker
from wavesync.signalling.messages import ConnectionResult, ConnectionUpdate, SignallingError
from wavesync.signalling.numbers import ConnectType, Method, ResultCode
from wavesync.signalling.resolving import resolve
from wavesync.signalling.urls import Mediator
from wavesync.stun.message import Message
from wavesync.stun.transactions import Transactions

__all__ = [
    "INTRODUCTION_TIMEOUT",
    "NAMES_TIMEOUT",
    "NEXT_MEDIATOR_DELAY",
    "PROXIED_NAMES_TIMEOUT",
    "Introducer",
    "Introducing",
]

INTRODUCTION_TIMEOUT = 2.8
"""Seconds for an introduction by whichever mediator, from when the first one can be asked: whoever
cannot connect knows within three (as :data:`~.attempt.CONNECT_LIMIT`)."""

NAMES_TIMEOUT = 10.0
"""Seconds for the names of mediators: a host whose first name server is gone takes five to find out."""

PROXIED_NAMES_TIMEOUT = 1.0
"""The same where a proxy knows them anyway."""

NEXT_MEDIATOR_DELAY = 1.0
"""Seconds without an answer after which the next mediator is asked as well."""

_RTO = 0.12
"""Seconds to the first retransmission.  RFC 8489 section 6.2.1 has 500 ms for strangers' servers; here
somebody waits, the mediator is ours, and it answers a copy with the answer that it has already."""

_RC, _RM = 5, 6
"""Sendings, and the last wait in RTOs: given up after 2.52 s, within the time for an introduction."""


class Introducing:
    """One introduction being made, and what comes after it.

    :ivar result: fires with the :class:`Introduction`.
    """

    def __init__(self, owner: "Introducer", target: Target) -> None:
        self.connection_id = os.urandom(16).hex()
        self.result: Deferred[Introduction] = Deferred(lambda _: self.close())
        self.on_update: Callable[[tuple[Address, ...]], None] | None = None
        """Called with the server's observed addresses when they change."""
        self._owner = owner
        self._target = target
        self._left = list(owner.mediators)
        self._asking: dict[Mediator, Asking | None] = {}
        self._errors: list[WavesyncError] = []
        self._answered_by: Mediator | None = None
        self._over = self._begun = False
        self._timers: list[IDelayedCall] = []
        self._own: Sequence[Address] | None = None

    @property
    def own(self) -> Sequence[Address]:
        """This client's own addresses of the punching port, as they were when it was needed first."""
        if self._own is None:
            self._own = self._owner.own_addresses()
        return self._own

    def start(self) -> None:
        """Ask the first mediator, the next ones after a while."""
        clock = self._owner.reactor
        self._timers.append(clock.callLater(NAMES_TIMEOUT, self._timed_out))
        self._next()

    def close(self) -> None:
        """Forget the introduction; nothing of it stays."""
        self._over = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()
        for asking in list(self._asking.values()):
            if asking is not None:
                asking.close()
        self._owner.forget(self)

    def finish(self, result: ResultCode, kind: str | None, seconds: float) -> None:
        """Tell the mediator how it ended, and forget the introduction; nobody waits for an answer.

        :param kind: the path that won, ``None`` when none did.
        :param seconds: from asking to the end.
        """
        asking = self._asking.get(self._answered_by) if self._answered_by is not None else None
        if asking is not None and not self._over:
            types = {
                "lan": ConnectType.LAN,
                "tcp": ConnectType.TCP,
                "udp": ConnectType.UDP,
                "relay": ConnectType.RELAY,
            }
            connect_type = types.get(kind or "", ConnectType.NONE)
            told = ConnectionResult(self.connection_id, result, connect_type, seconds)
            self._owner.leaving(asking.tell(told.encode(os.urandom(12))))
        self.close()

    def indication(self, message: Message, echo: Callable[[bytes], None]) -> None:
        """Take a ``connectionUpdate``: send it back, and tell what it says."""
        try:
            update = ConnectionUpdate.decode(message, allow_loopback=self._owner.allow_loopback)
        except SignallingError:
            return
        if update.connection_id != self.connection_id:
            return
        echo(message.raw)
        if self.on_update is not None:
            self.on_update(update.observed)

    def _next(self) -> None:
        if self._over or self._answered_by is not None or not self._left:
            return
        mediator = self._left.pop(0)
        self._asking[mediator] = None
        if self._left:
            clock = self._owner.reactor
            self._timers.append(clock.callLater(NEXT_MEDIATOR_DELAY, self._next))
        resolving = resolve(self._owner.reactor, mediator.host)
        if self._owner.proxied:
            # A host behind a proxy may know no names at all, and need none.
            resolving.addTimeout(PROXIED_NAMES_TIMEOUT, self._owner.reactor)
            resolving.addErrback(lambda _: ())
        resolving.addCallbacks(
            self._resolved, self._unresolved, callbackArgs=(mediator,), errbackArgs=(mediator,)
        )

    def _unresolved(self, failure: Failure, mediator: Mediator) -> None:
        self._failed(Failure(NoMediator(_unknown(mediator))), mediator)

    def _resolved(self, hosts: Sequence[str], mediator: Mediator) -> None:
        if self._over or self._answered_by is not None:
            return
        if not hosts and not (self._owner.proxied and mediator.streams):
            self._failed(Failure(NoMediator(_unknown(mediator))), mediator)
            return
        owner = self._owner
        if not self._begun:
            self._begun = True
            self._timers.append(owner.reactor.callLater(owner.limit, self._timed_out))
        udp = owner.udp_addresses(hosts, mediator)
        asking = Asking(
            owner.reactor,
            owner.credentials,
            self._target,
            mediator,
            connection_id=self.connection_id,
            udp=udp,
            tcp=owner.stream(mediator),
            asker=owner.asker,
            own=self.own if udp else (),
            wall_clock=owner.wall_clock,
            on_indication=lambda message: self.indication(message, asking.echo),
            allow_loopback=owner.allow_loopback,
            revocations=owner.revocations,
        )
        self._asking[mediator] = asking
        asking.result.addCallbacks(
            self._answered, self._failed, callbackArgs=(mediator,), errbackArgs=(mediator,)
        )
        asking.start()

    def _answered(self, introduction: Introduction, mediator: Mediator) -> None:
        if self._over or self._answered_by is not None:
            return
        self._answered_by = mediator
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        for other, asking in list(self._asking.items()):
            if other is not mediator and asking is not None:
                asking.close()
        self._owner.on_introduced(introduction)
        self.result.callback(introduction)

    def _failed(self, failure: Failure, mediator: Mediator) -> None:
        if failure.check(CancelledError) or self._over or self._answered_by is not None:
            return
        failure.trap(WavesyncError)
        assert isinstance(failure.value, WavesyncError)
        self._errors.append(failure.value)
        del self._asking[mediator]
        if self._left:
            self._next()
        elif not self._asking:
            self._give_up()

    def _timed_out(self) -> None:
        for mediator, asking in self._asking.items():
            why = "" if asking is None else asking.ailments()
            silent = f"the mediator {mediator} does not answer" + (f": {why}" if why else "")
            self._errors.append(NoMediator(_unknown(mediator) if asking is None else silent))
        self._give_up()

    def _give_up(self) -> None:
        self.close()
        refused = [error for error in self._errors if isinstance(error, NotAllowed)]
        # What a person can act on comes first; the same sentence is told once.
        told = dict.fromkeys(str(error) for error in refused or self._errors)
        sentence = "; ".join(told)
        away = [
            each
            for error in self._errors
            if isinstance(error, NotOnline)
            for each in error.mediators
        ]
        if refused:
            self.result.errback(NotAllowed(sentence))
        elif all(isinstance(error, NoMediator) for error in self._errors):
            self.result.errback(NoMediator(sentence))
        elif all(isinstance(error, (NoMediator, NotOnline)) for error in self._errors):
            self.result.errback(NotOnline(sentence, away))
        else:
            self.result.errback(ConnectFailed(sentence))


class Introducer:
    """Asks mediators, from the port that will punch.

    :param reactor: Twisted's reactor.
    :param credentials: the client's.
    :param mediators: in order of preference.
    :param send_udp: sends a datagram from the punching port; ``None`` for TCP only.
    :param families: tells the families of that port: ``False`` for IPv4, ``True`` for IPv6.
    :param own_addresses: gives this client's own addresses of the punching port.
    :param wall_clock: seconds since the epoch.
    :param revocations: what this client knows of revoked servers; nothing when None.
    :param on_introduced: is told of each introduction, before anybody else.
    :param outward: leads to mediators by any way; None for plain TCP.
    :ivar limit: seconds for an introduction, from when the first mediator can be asked.
    :ivar proxied: whether a proxy leads to mediators.
    """

    def __init__(
        self,
        reactor: IReactor,
        credentials: Credentials,
        mediators: Sequence[Mediator],
        *,
        send_udp: Callable[[bytes, Address], None] | None,
        families: Callable[[], set[bool]] = lambda: {False},
        own_addresses: Callable[[], Sequence[Address]],
        wall_clock: Callable[[], float],
        allow_loopback: bool = False,
        revocations: Revocations | None = None,
        on_introduced: Callable[[Introduction], None] = lambda introduction: None,
        outward: Outward | None = None,
    ) -> None:
        self.limit = INTRODUCTION_TIMEOUT if outward is None else outward.limit
        self.proxied = outward is not None and outward.proxied
        self._outward = outward
        self.revocations = revocations
        self.on_introduced = on_introduced
        self.reactor = reactor
        self.credentials = credentials
        self.mediators = tuple(mediators)
        self.own_addresses = own_addresses
        self.wall_clock = wall_clock
        self.allow_loopback = allow_loopback
        self._send_udp = send_udp
        self._families = families
        self.asker: Asker | None = None
        """Asks over UDP; ``None`` where there is only TCP."""
        if send_udp is not None:
            self.asker = Asker(self.reactor, send_udp, Transactions(rto=_RTO, rc=_RC, rm=_RM))
        self._running: dict[str, Introducing] = {}
        self._leaving: dict[Deferred[None], None] = {}

    def introduce(self, target: Target) -> Introducing:
        """Ask for an introduction to *target*; close what comes back when it is not needed."""
        introducing = Introducing(self, target)
        self._running[introducing.connection_id] = introducing
        introducing.start()
        return introducing

    def stream(self, mediator: Mediator) -> IStreamClientEndpoint | None:
        """Give what leads to a mediator as a byte stream; None where nothing does."""
        if self._outward is not None:
            return self._outward.mediator(mediator)
        if mediator.tcp_port is None:
            return None
        return HostnameEndpoint(self.reactor, mediator.host, mediator.tcp_port, timeout=self.limit)

    def udp_addresses(self, hosts: Sequence[str], mediator: Mediator) -> list[Address]:
        """Where to ask over UDP: the first of the mediator's *hosts* in each family of our port."""
        if self.asker is None or mediator.udp_port is None:
            return []
        first = {":" in host: (host, mediator.udp_port) for host in reversed(hosts)}
        return [address for ipv6, address in first.items() if ipv6 in self._families()]

    def received_udp(self, message: Message, source: Address) -> None:
        """Take a STUN message that came to the punching port."""
        if self.asker is not None and self.asker.receive(message, source):
            return
        if message.method == Method.CONNECTION_UPDATE and self._send_udp is not None:
            send = self._send_udp
            for introducing in list(self._running.values()):
                introducing.indication(message, lambda data: send(data, source))

    def forget(self, introducing: Introducing) -> None:
        """An introduction is over."""
        self._running.pop(introducing.connection_id, None)

    def leaving(self, told: Deferred[None]) -> None:
        """A last word is on its way; :meth:`close` waits for it."""
        if not told.called:
            self._leaving[told] = None
            told.addCallback(lambda _: self._leaving.pop(told, None))

    def close(self) -> Deferred[None]:
        """Give up all that is under way.

        :returns: fires when mediators have been told what they were to be told.
        """
        for introducing in list(self._running.values()):
            introducing.result.cancel()
            introducing.close()
        if self.asker is not None:
            self.asker.stop("the client is closing")
        return DeferredList(list(self._leaving)).addCallback(lambda _: None)


def _unknown(mediator: Mediator) -> str:
    return f"the mediator's name {mediator.host!r} cannot be resolved"
