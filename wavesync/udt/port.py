"""One UDP port that a listener, clients, rendezvous, many connections and STUN share.

A shell: :mod:`wavesync.udt.sorting` tells packets apart, :mod:`wavesync.udt.turns` keeps the one
timer; decisions are those of the listener, the attempts and the connections.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger

from wavesync.interfaces import Address, Burst
from wavesync.udt.accepting import Acceptor
from wavesync.udt.calls import ClientCall, OnEvent, Rendezvous
from wavesync.udt.carrier import Arrival, ICarrier, numeric
from wavesync.udt.connecting import DEFAULT_TIMEOUT, ClientAttempt
from wavesync.udt.cookies import KEY_SIZE
from wavesync.udt.courtesy import Courtesy
from wavesync.udt.handshake import (
    DEFAULT_MSS,
    DEFAULT_MSS_IPV6,
    DEFAULT_WINDOW,
    Agreement,
    Offer,
)
from wavesync.udt.link import Link, Member, connection_for
from wavesync.udt.paths import MAX_UNHEARD
from wavesync.udt.punching import PunchAttempt
from wavesync.udt.rendezvous import RendezvousAttempt
from wavesync.udt.room import Room
from wavesync.udt.sorting import Sorter, StunHandler
from wavesync.udt.tail import SharedTrips
from wavesync.udt.turns import Turns

__all__ = ["CLOSE_GRACE", "LAST_WORDS", "MAX_CALLS", "Port"]

MAX_CALLS = 4096
"""Attempts that one port makes at a time."""
CLOSE_GRACE = 1.0
"""Seconds that connections get to drain when the port is closed."""
LAST_WORDS = 0.25
"""Seconds for which the socket outlives its last connection, to repeat the SHUTDOWN."""


class Port:
    """One UDP port.

    :param clock: the reactor, or a virtual clock.
    :param carriers: what carries the datagrams: one carrier, or one a family.
    :param mss: packet size offered, bytes with 28 bytes of headers; the family's default if None.
    :param window: receive window offered, packets.
    :param early_window: packets held for a connection until its transport is told to trust the
        peer; ``None`` where nobody will tell.
    :param randbits: random source of socket ids and of the key of cookies.
    :param choose_isn: gives initial sequence numbers, 0 .. 2**31 - 1.
    :param stun_handler: gets every STUN datagram and its source.
    """

    log = Logger()

    touch: Callable[[Member], None]
    """Gives a member a turn soon."""

    def __init__(
        self,
        clock: IReactorTime,
        carriers: ICarrier | Sequence[ICarrier],
        *,
        mss: int | None = None,
        window: int = DEFAULT_WINDOW,
        early_window: int | None = None,
        randbits: Callable[[int], int] = secrets.randbits,
        choose_isn: Callable[[], int] | None = None,
        stun_handler: StunHandler | None = None,
    ) -> None:
        listed = list(carriers) if isinstance(carriers, Sequence) else [carriers]
        self._carriers = {":" in carrier.address[0]: carrier for carrier in listed}
        if not listed or len(self._carriers) != len(listed):
            raise ValueError("a UDT port needs one carrier, or two of different address families")
        self._clock = clock
        self._mss = mss
        self._windows = window, early_window, Room(min(carrier.room for carrier in listed))
        self._randbits = randbits
        self._choose_isn = choose_isn or (lambda: randbits(31))
        self._turns = Turns(clock)
        self.touch = self._turns.touch
        self._trips = SharedTrips()
        self._acceptor = Acceptor(self, randbits(8 * KEY_SIZE).to_bytes(KEY_SIZE, "big"))
        self._sorter = Sorter(self._acceptor, self.send)
        self._sorter.stun_handler = stun_handler
        self._when_idle: list[Deferred[None]] = []
        self._ending: IDelayedCall | None = None
        self._stopped = False
        self._connected = 0
        for carrier in listed:
            carrier.start(self)

    # What users call.

    @property
    def address(self) -> Address:
        """The local address of the first carrier (IPv4 if there is one)."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[Address]:
        """The local address of every carrier, IPv4 first."""
        return [self._carriers[family].address for family in sorted(self._carriers)]

    @property
    def connections(self) -> int:
        """Connections of which the protocol has not been told the end."""
        return self._connected

    @property
    def attempts(self) -> int:
        """Clients and rendezvous that are not connected yet."""
        return sum(call.link is None for call in self._sorter.calls.values())

    @property
    def dropped(self) -> int:
        """Datagrams that were nobody's."""
        return self._sorter.dropped

    @property
    def stun_handler(self) -> StunHandler | None:
        """What gets every STUN datagram and its source."""
        return self._sorter.stun_handler

    @stun_handler.setter
    def stun_handler(self, handler: StunHandler | None) -> None:
        self._sorter.stun_handler = handler

    def listen(self, factory: IProtocolFactory) -> None:
        """Accept connections.

        :param factory: makes a protocol for each; ``None`` from it refuses the client.
        :raises ValueError: there is a listener already.
        """
        if self._acceptor.factory is not None:
            raise ValueError("this UDT port has a listener already")
        self._acceptor.factory = factory

    def stop_listening(self) -> None:
        """Accept no more; connections go on."""
        self._acceptor.factory = None

    def connect(
        self, address: Address, factory: IProtocolFactory, timeout: float = DEFAULT_TIMEOUT
    ) -> Deferred[IProtocol]:
        """Connect to a listener.

        :param address: numeric.
        :param timeout: seconds.
        :return: fires with the protocol; fails with ``TimeoutError``, ``ConnectionRefusedError``
            or ``ConnectError`` of :mod:`twisted.internet.error`.  Cancelling it gives up.
        :raises ValueError: the address is not numeric, or the port is closed or too busy.
        """
        remote = numeric(address)
        attempt = ClientAttempt(remote, self.offer(remote), self.seconds(), timeout)
        call = ClientCall(self, factory, attempt)
        self._add_call(call)
        return call.connected

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None = None,
        timeout: float = 15.0,
        delay: float = 0.0,
        share: int = MAX_UNHEARD,
        on_event: OnEvent | None = None,
    ) -> Rendezvous:
        """Meet a peer that calls us at the same time.

        :param candidates: where the peer may be, numeric.
        :param token: what both wavesync ends were given, 1 .. 2**32 - 1; without one the peer may
            be libudt and must be at exactly one of the candidates.
        :param timeout: seconds.
        :param delay: with a token, seconds before the first call; answers go out at once.
        :param on_event: told what happens to a candidate: ``tried``, ``heard``, ``adopted``,
            ``completed``, ``chosen``, ``silent``.
        :param share: with a token, calls to each of the first candidates until it is heard.
        :raises ValueError: the token is in use on this port, or out of range.
        """
        if token is not None and token in self._sorter.tokens:
            raise ValueError("this rendezvous token is in use already")
        addresses = [numeric(candidate) for candidate in candidates]
        offer, now = self.offer(*addresses), self.seconds()
        attempt: PunchAttempt | RendezvousAttempt
        if token is None:
            attempt = RendezvousAttempt(addresses, offer, now, timeout)
        else:
            attempt = PunchAttempt(
                (), offer, token, now, timeout, randbits=self._randbits, share=share
            )
        call = Rendezvous(self, factory, attempt, on_event, begin=now + delay)
        self._add_call(call)
        if token is not None:
            self._sorter.tokens[token] = call
            for address in addresses:
                call.add_candidate(address, urgent=False)
        else:
            self._sorter.tokenless[call] = None
        return call

    def trust(self, address: Address) -> None:
        """A connection with this address is authenticated: it connects without a cookie.

        Call :meth:`untrust` as often.
        """
        self._acceptor.trust(numeric(address))

    def untrust(self, address: Address) -> None:
        """Such a connection has ended."""
        self._acceptor.untrust(numeric(address))

    def send_datagram(self, data: bytes, address: Address) -> None:
        """Send a datagram that is not UDT's."""
        self.send(Burst(data, len(data)), address)

    send_stun = send_datagram

    def close(self, grace: float = CLOSE_GRACE) -> Deferred[None]:
        """Close everything, then the socket.

        :param grace: seconds that connections get to deliver what was written.
        :return: fires when the socket is closed.
        """
        if self._stopped:
            return succeed(None)
        self.stop_listening()
        for call in list(self._sorter.calls.values()):
            call.cancel()
        for link in list(self._sorter.links.values()):
            link.transport.loseConnection()
        cutoff = self._clock.callLater(grace, self._abort_all)

        def spare_cutoff(result: None) -> None:
            if cutoff.active():
                cutoff.cancel()

        return self.close_when_idle().addCallback(spare_cutoff)

    def close_when_idle(self) -> Deferred[None]:
        """Close the socket once there is no listener, no attempt and no connection.

        :return: fires then.
        """
        if self._stopped:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._when_idle.append(done)
        self.settle()
        return done

    # What members call.

    def seconds(self) -> float:
        """:return: the time."""
        return self._clock.seconds()

    def offer(self, *remotes: Address) -> Offer:
        """:return: a new offer of ours to these addresses, with a free socket id."""
        socket_id = 0
        while not socket_id or self._sorter.knows(socket_id):
            socket_id = self._randbits(30)
        mss = self._mss
        if mss is None:
            ipv6 = any(":" in remote[0] for remote in remotes)
            mss = DEFAULT_MSS_IPV6 if ipv6 else DEFAULT_MSS
        return Offer(socket_id, self._choose_isn(), mss, self._windows[0])

    def local_address(self, remote: Address) -> Address:
        """:return: our address for the family of *remote*."""
        carrier = self._carriers.get(":" in remote[0])
        return self.address if carrier is None else carrier.address

    def congested(self, remote: Address) -> bool:
        """:return: whether bursts to *remote* had better wait."""
        carrier = self._carriers.get(":" in remote[0])
        return carrier is not None and bool(carrier.congested)

    def send(self, burst: Burst, remote: Address) -> None:
        """Send a burst; nothing happens without a carrier of that family."""
        carrier = self._carriers.get(":" in remote[0])
        if carrier is not None and not self._stopped:
            carrier.send(burst, remote)

    def open(
        self,
        agreement: Agreement,
        remote: Address,
        sources: Collection[Address],
        *,
        hold_data_until: float = 0.0,
        answer: bytes | None = None,
        courtesy: Courtesy | None = None,
    ) -> Link:
        """Make the link for what was agreed on."""
        connection = connection_for(
            agreement, self.seconds(), *self._windows, hold_data_until, self._trips.of(remote)
        )
        link = Link(self, connection, agreement, remote, sources, answer=answer, courtesy=courtesy)
        self._sorter.links[agreement.local_id] = link
        self._connected += 1
        return link

    def ended(self) -> None:
        """The protocol of a link has been told the end."""
        self._connected -= 1
        self.settle()

    def forget(self, link: Link) -> None:
        """The link is over and has nothing more to say."""
        agreement = link.agreement
        if self._sorter.links.pop(agreement.local_id, None) is None:
            return
        link.end()
        self._turns.drop(link)
        self._acceptor.listener.closed(agreement.local_id)
        self._sorter.closed.add(agreement.local_id, link.remote, agreement.peer_id, self.seconds())
        call = self._sorter.calls.get(agreement.local_id)
        if isinstance(call, Rendezvous):
            call.closed()
        self.settle()

    def shown(self, link: Link) -> None:
        """The client of an accepted link has shown itself."""
        self._acceptor.listener.shown(link.agreement.local_id)

    def drop_call(self, call: ClientCall | Rendezvous) -> None:
        """The attempt is over."""
        if self._sorter.calls.pop(call.socket_id, None) is None:
            return
        self._turns.drop(call)
        if isinstance(call, Rendezvous):
            self._sorter.tokenless.pop(call, None)
            if call.token is not None:
                del self._sorter.tokens[call.token]
        self.settle()

    def settle(self) -> None:
        """Close the socket if that is wanted and nobody needs it."""
        if not self._when_idle or self._stopped or self._ending is not None:
            return
        if self._acceptor.factory is not None or self.connections or self.attempts:
            return
        wait = LAST_WORDS if self._sorter.links else 0.0
        self._ending = self._clock.callLater(wait, self._end_if_idle)

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Take all that came in one turn of the reactor."""
        now, taken = self._clock.seconds(), 0
        self._turns.hold()
        try:
            taken = self._sorter.take_all(arrivals, now)
        finally:
            self._turns.run(now if taken == 1 else None)  # taking many takes its time

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """See :meth:`~wavesync.udt.carrier.Receiver.too_large`."""
        return self._sorter.too_large(datagram, destination, self.seconds())

    def carrier_ready(self) -> None:
        """A carrier that was congested takes bursts again."""
        for link in self._sorter.links.values():
            self._turns.touch(link)

    def _add_call(self, call: ClientCall | Rendezvous) -> None:
        if self._stopped:
            raise ValueError("this UDT port is closed")
        if len(self._sorter.calls) >= MAX_CALLS:
            raise ValueError("this UDT port makes too many attempts at a time")
        self._sorter.calls[call.socket_id] = call
        self.touch(call)

    def _abort_all(self) -> None:
        for link in list(self._sorter.links.values()):
            link.transport.abortConnection()

    def _end_if_idle(self) -> None:
        self._ending = None
        if self._acceptor.factory is not None or self.connections or self.attempts:
            return
        self._stopped = True
        self._turns.stop()
        for carrier in self._carriers.values():
            carrier.stop()
        waiting, self._when_idle = self._when_idle, []
        for done in waiting:
            done.callback(None)
