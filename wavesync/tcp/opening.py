"""One end of a simultaneous open: dial the other end from a known port, and listen there as well."""

import errno
import random
import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
)
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed
from wavesync.interfaces import Address, IReactor
from wavesync.tcp.accepting import Accepting, Listeners
from wavesync.tcp.adopting import adopt
from wavesync.tcp.attempts import Attempts
from wavesync.tcp.dial import Dial
from wavesync.tcp.sockets import RETRIED, why_not

__all__ = ["Opening"]


class Opening:
    """Connects to *remote* from *own*, while *remote* does the same towards us.

    :param reactor: watches the sockets.
    :param own: the local end of a connection to a mediator, made by a
        :class:`~wavesync.tcp.endpoint.SharedPortEndpoint`: its mapping is what the peer was told.
    :param remote: the same of the peer, as the mediator sees it.
    :param factory: builds the protocol for the one connection that comes of it.
    :param timeout: seconds for all of it.
    :param delay: seconds before the first SYN; the port is listened on at once.
    :param any_port: take a connection from another port of the peer's host, too: the peer's router
        may give it a new one.
    :param listeners: listens on *own*, where other openings may go on as well; this one listens by
        itself when ``None``.
    :ivar connected: fires with the protocol; fails with :class:`ConnectFailed`, or with what the
        factory raises.  Cancelling it gives up.
    """

    def __init__(
        self,
        reactor: IReactor,
        own: Address,
        remote: Address,
        factory: IProtocolFactory,
        *,
        timeout: float,
        delay: float = 0.0,
        any_port: bool = False,
        listeners: Listeners | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.connected: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._reactor = reactor
        self._own = own
        self._remote = remote
        self._factory = factory
        self._any_port = any_port
        self._attempts = Attempts(uniform)
        self._over = False
        self._last = errno.ETIMEDOUT
        self._dial: Dial | None = None
        self._unlisten: Callable[[], None] | None = None
        self._next: IDelayedCall | None = None
        self._limit = reactor.callLater(timeout, self._timed_out)
        try:
            if listeners is None:
                self._unlisten = Accepting(reactor, own, self._accepted).close
            else:
                self._unlisten = listeners.add(own, remote, self._established)
        except OSError as error:
            self._give_up(error.errno or errno.EINVAL)
            return
        if delay > 0:
            self._next = reactor.callLater(delay, self._attempt)
        else:
            self._attempt()

    def _accepted(self, made: socket.socket, address: Address) -> None:
        """Somebody connects to us: is it the peer?"""
        if address == self._remote or (self._any_port and address[0] == self._remote[0]):
            self._established(made)
        else:
            made.close()

    def _attempt(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
        self._attempts.begun()
        hops = self._attempts.hops
        failed = self._dial_failed if hops is None else _ignore
        self._dial = Dial(
            self._reactor, self._own, self._remote, self._established, failed, hops=hops
        )
        self._dial.start()
        if hops is not None and not self._over:
            # It has opened our router, and is heard of no more; the peer's SYN may end it well.
            self._again()

    def _dial_failed(self, error: int) -> None:
        """Try again, as long as the reason may pass."""
        if self._over:
            return
        self._last = error
        if error not in RETRIED:
            self._give_up(error)
        else:
            self._again()

    def _again(self) -> None:
        if not self._attempts.exhausted:
            # Never from within the attempt that has failed: it may fail before it returns.
            self._next = self._reactor.callLater(self._attempts.gap(), self._attempt)

    def _established(self, made: socket.socket) -> None:
        if self._over:
            made.close()
            return
        self._end()
        try:
            protocol = adopt(self._reactor, made, self._factory)
        except Exception:
            self.connected.errback(Failure())
        else:
            if not self.connected.called:
                self.connected.callback(protocol)

    def _timed_out(self) -> None:
        self._give_up(self._last)

    def _give_up(self, error: int) -> None:
        self._end()
        if not self.connected.called:
            count = self._attempts.made
            told = f" ({count} attempts)" if count > 1 else ""
            self.connected.errback(
                ConnectFailed(
                    f"dialled from both ends, nothing came through: {why_not(error)}{told}"
                )
            )

    def _end(self) -> None:
        """Close everything but what stands."""
        self._over = True
        for timer in (self._limit, self._next):
            if timer is not None and timer.active():
                timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()


def _ignore(error: int) -> None:
    """A SYN has died on the way, as it was to."""
