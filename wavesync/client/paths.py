"""The ways to a server that a race tries: direct TCP, a punched UDP hole, a hole that is open."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession

__all__ = [
    "HOLE_TIMEOUT",
    "PUNCH_TIMEOUT",
    "TCP_TIMEOUT",
    "HolePath",
    "PunchPath",
    "Rendezvous",
    "Sessions",
    "TCPPath",
    "UDPPort",
    "verified_over",
]

TCP_TIMEOUT = 2.5
"""Seconds for a TCP connection to stand: the first SYN and its repetition after one second.  An
attempt gives what its one deadline leaves."""

PUNCH_TIMEOUT = 2.5
"""Seconds of punching.  An unheard candidate gets its last packet after two."""

HOLE_TIMEOUT = 3.0
"""Seconds for a further connection over a hole that is open; then mediation starts again."""

Sessions = Callable[[], tuple[IProtocolFactory, Deferred[ClientSession]]]
"""Makes the factory for one path and what fires when the server was verified over it
(:func:`wavesync.session.client.connect_session`)."""


class Rendezvous(Protocol):
    """Punching that goes on (:class:`wavesync.udt.calls.Rendezvous`)."""

    connected: Deferred[IProtocol]

    def add_candidate(self, address: Address) -> bool:
        """Punch towards this address too."""

    def cancel(self) -> None:
        """Give up."""


class UDPPort(Protocol):
    """What paths need of :class:`wavesync.udt.port.Port`."""

    def rendezvous(
        self,
        candidates: Sequence[Address],
        factory: IProtocolFactory,
        *,
        token: int | None,
        timeout: float = PUNCH_TIMEOUT,
        delay: float = 0.0,
    ) -> Rendezvous:
        """Punch towards all candidates at once, beginning after *delay* seconds."""

    def connect(
        self, address: Address, factory: IProtocolFactory, timeout: float = HOLE_TIMEOUT
    ) -> Deferred[IProtocol]:
        """Connect to a listener."""


def verified_over(
    connecting: Deferred[Any],
    session: Deferred[ClientSession],
    kind: str,
    on_heard: Callable[[], None] | None = None,
) -> Deferred[ClientSession]:
    """Join the making of a path and the verification over it into one Deferred.

    Cancelling it ends both; a path that cannot be made fails it.

    :param on_heard: called when the path is made.
    """

    def give_up(_: object) -> None:
        connecting.cancel()
        session.cancel()

    result: Deferred[ClientSession] = Deferred(give_up)

    def unmade(failure: Failure) -> None:
        if not result.called:
            result.errback(failure)
        session.cancel()

    def verified(done: ClientSession) -> None:
        done.path_kind = kind
        if not result.called:
            result.callback(done)

    def unverified(failure: Failure) -> None:
        if not result.called:
            result.errback(failure)

    def made(_: object) -> None:
        if on_heard is not None:
            on_heard()

    # Verification may even be over before the path's own Deferred has fired.
    connecting.addCallbacks(made, unmade)
    session.addCallbacks(verified, unverified)
    return result


class ClientPort(UDPPort, Protocol):
    """The UDP port of a client (:class:`wavesync.udt.port.Port`)."""

    def send_stun(self, data: bytes, address: Address) -> None:
        """Send a STUN message from this port."""

    def close(self) -> Deferred[None]:
        """Close it."""


class TCPPath:
    """Direct TCP to one address.

    :param timeout: seconds for the connection to stand.
    """

    kind = "tcp"
    on_heard: Callable[[], None] | None = None

    def __init__(
        self,
        reactor: IReactor,
        address: Address,
        sessions: Sessions,
        *,
        timeout: float = TCP_TIMEOUT,
    ) -> None:
        self.addresses = [address]
        self._reactor = reactor
        self._sessions = sessions
        self._timeout = timeout

    def open(self) -> Deferred[ClientSession]:
        """Connect, and verify the server."""
        (host, port) = self.addresses[0]
        endpoint_class = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint = endpoint_class(self._reactor, host, port, timeout=self._timeout)
        factory, session = self._sessions()
        connecting = endpoint.connect(factory).addErrback(_unanswered)
        return verified_over(connecting, session, self.kind, self.on_heard)


class PunchPath:
    """A rendezvous towards all UDP addresses of the server.

    :param timeout: seconds for the server to be heard.
    :param delay: seconds before the first punch, so that both sides begin together.
    """

    kind = "udp"
    on_heard: Callable[[], None] | None = None

    def __init__(
        self,
        port: UDPPort,
        addresses: Sequence[Address],
        token: int,
        sessions: Sessions,
        *,
        timeout: float = PUNCH_TIMEOUT,
        delay: float = 0.0,
    ) -> None:
        self.addresses = list(addresses)
        self._port = port
        self._token = token
        self._sessions = sessions
        self._timeout = timeout
        self._delay = delay
        self._rendezvous: Rendezvous | None = None

    def add(self, addresses: Sequence[Address]) -> None:
        """The server is seen at these addresses too."""
        for address in addresses:
            if address not in self.addresses:
                self.addresses.append(address)
                if self._rendezvous is not None:
                    self._rendezvous.add_candidate(address)

    def open(self) -> Deferred[ClientSession]:
        """Punch, and verify the server."""
        factory, session = self._sessions()
        try:
            self._rendezvous = self._port.rendezvous(
                self.addresses,
                factory,
                token=self._token,
                timeout=self._timeout,
                delay=self._delay,
            )
        except ValueError as error:
            # A token that is in use or impossible: the mediator is confused, or worse.
            return verified_over(fail(ConnectFailed(str(error))), session, self.kind, self.on_heard)
        connected = self._rendezvous.connected
        connected.addErrback(_unheard)
        return verified_over(connected, session, self.kind, self.on_heard)


class HolePath:
    """A further connection over an open hole: an ordinary UDT connect on the same port."""

    kind = "udp"
    on_heard: Callable[[], None] | None = None

    def __init__(self, port: UDPPort, address: Address, sessions: Sessions) -> None:
        self.addresses = [address]
        self._port = port
        self._sessions = sessions

    def open(self) -> Deferred[ClientSession]:
        """Connect, and verify the server."""
        factory, session = self._sessions()
        try:
            connecting = self._port.connect(self.addresses[0], factory, timeout=HOLE_TIMEOUT)
        except ValueError as error:
            # The port is closed, or makes too many attempts.
            connecting = fail(ConnectFailed(str(error)))
        return verified_over(connecting, session, self.kind, self.on_heard)


def _unanswered(failure: Failure) -> Failure:
    """Say what a time-out of TCP means."""
    if failure.check(TimeoutError):
        return Failure(ConnectFailed("no answer came"))
    return failure


def _unheard(failure: Failure) -> Failure:
    """Say what a time-out of punching means."""
    if failure.check(TimeoutError):
        return Failure(
            ConnectFailed("the other side was never heard; UDP may be blocked on either side")
        )
    return failure
