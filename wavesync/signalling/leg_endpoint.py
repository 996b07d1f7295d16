"""The way to a mediator's TCP port, from a local port that others may share.

The mediator sees the mapping of that port; a simultaneous open with a peer can then leave from it
(:mod:`wavesync.tcp.opening`).
"""

import errno
import socket
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.errors import ConnectFailed
from wavesync.interfaces import IReactor
from wavesync.signalling.resolving import resolve
from wavesync.tcp.adopting import adopt
from wavesync.tcp.dial import Dial
from wavesync.tcp.sockets import why_not

__all__ = ["AGAIN_DELAY", "MAX_HOSTS", "NEXT_HOST_DELAY", "LegEndpoint"]

MAX_HOSTS = 8
"""Addresses of one name that are tried."""

NEXT_HOST_DELAY = 0.25
"""Seconds after which the next address is tried as well (RFC 8305 section 5)."""

AGAIN_DELAY = 2.0
"""Seconds after which an address that does not answer is dialled again, from another port, while it may
still answer the first.  TCP repeats a SYN after one second and after three, so that with this one leaves
each second: whoever waits for a network that comes back does not wait for TCP."""


@implementer(IStreamClientEndpoint)
class LegEndpoint:
    """Connects to a host by name or address; each connection leaves from a new port of its own.

    :param host: a name or a numeric address.
    :param timeout: seconds for a connection to stand, finding the addresses included.
    :param ipv6: whether to take IPv6 addresses only, or IPv4 ones only; ``None`` for both.
    """

    def __init__(
        self,
        reactor: IReactor,
        host: str,
        port: int,
        *,
        timeout: float,
        ipv6: bool | None = None,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout
        self._ipv6 = ipv6

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint).

        :returns: fires with the protocol; fails with :class:`ConnectFailed`.  Cancelling it gives
            up.
        """
        connecting = _Connecting(self._reactor, protocolFactory, self._timeout)
        connecting.find(self._host, self._port, self._ipv6)
        return connecting.result


class _Connecting:
    """One connection being made: each address a while after the one before, the first wins."""

    def __init__(self, reactor: IReactor, factory: IProtocolFactory, timeout: float) -> None:
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._reactor = reactor
        self._factory = factory
        self._over = False
        self._all: list[tuple[str, int]] = []
        self._left: list[tuple[str, int]] = []
        self._dials: list[Dial] = []
        self._why = why_not(errno.ETIMEDOUT)
        self._limit = reactor.callLater(timeout, self._timed_out)
        self._next: IDelayedCall | None = None
        self._again: IDelayedCall | None = None

    def find(self, host: str, port: int, ipv6: bool | None) -> None:
        """Begin by finding the addresses, of one family or both."""
        finding = resolve(self._reactor, host).addCallback(self._found, host, port, ipv6)
        finding.addErrback(self._failed)

    def _found(self, found: Sequence[str], name: str, port: int, ipv6: bool | None) -> None:
        if self._over:
            return
        hosts = [host for host in found if ipv6 is None or (":" in host) == ipv6]
        if not hosts:
            self._give_up(f"the name {name!r} cannot be resolved")
            return
        self._all = [(host, port) for host in hosts[:MAX_HOSTS]]
        self._left = self._all[:]
        self._again = self._reactor.callLater(AGAIN_DELAY, self._dial_again)
        self._dial()

    def _dial_again(self) -> None:
        """Dial those once more that have not answered."""
        self._again = self._reactor.callLater(AGAIN_DELAY, self._dial_again)
        if not self._left:
            under_way = [dial.remote for dial in self._dials]
            self._left = [remote for remote in self._all if remote in under_way]
            self._dial()

    def _dial(self) -> None:
        """Try the next address now, and the one after it in a while."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        remote = self._left.pop(0)
        if self._left:
            self._next = self._reactor.callLater(NEXT_HOST_DELAY, self._dial)
        any_host = "::" if ":" in remote[0] else "0.0.0.0"

        def failed(error: int) -> None:
            self._dials.remove(dial)
            self._dial_failed(error)

        dial = Dial(self._reactor, (any_host, 0), remote, self._connected, failed)
        self._dials.append(dial)
        dial.start()

    def _dial_failed(self, error: int) -> None:
        self._why = why_not(error)
        if self._over:
            return
        if self._left:
            self._dial()
        elif not self._dials:
            self._give_up(self._why)

    def _connected(self, made: socket.socket) -> None:
        self._end()
        try:
            protocol = adopt(self._reactor, made, self._factory)
        except Exception:
            self._failed(Failure())
        else:
            if not self.result.called:
                self.result.callback(protocol)

    def _timed_out(self) -> None:
        self._give_up(self._why)

    def _give_up(self, why: str) -> None:
        self._failed(Failure(ConnectFailed(why)))

    def _failed(self, failure: Failure) -> None:
        self._end()
        if not self.result.called:
            self.result.errback(failure)

    def _end(self) -> None:
        """Close everything but what stands."""
        self._over = True
        for timer in (self._limit, self._next, self._again):
            if timer is not None and timer.active():
                timer.cancel()
        dials, self._dials = self._dials, []
        for dial in dials:
            dial.cancel()
