"""Searches for servers on the networks of this host."""

import os
from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from wavesync.interfaces import Address, IReactor
from wavesync.lan.asking import Search
from wavesync.lan.links import Link, find_links
from wavesync.lan.sockets import Datagram, GroupSocket, open_asking
from wavesync.lan.wire import Keys

__all__ = ["Discovery", "Found"]

Found = Callable[[str, Address], None]
"""Is told a server's id and its TCP address; a link-local host has its scope (``fe80::1%eth0``)."""


class Discovery:
    """Asks all networks of this host for servers of one system.

    :param reactor: Twisted's reactor.
    :param system: the system's id.
    :param links: finds the interfaces to ask on.
    :param random: gives so many random bytes.
    """

    def __init__(
        self,
        reactor: IReactor,
        system: str,
        *,
        links: Callable[[], Sequence[Link]] = find_links,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._reactor = reactor
        self._keys = Keys(system)
        self._links = links
        self._random = random

    @classmethod
    def on(cls, reactor: IReactor, system: str, *, loopback: bool = False) -> "Discovery":
        """Make one.

        :param loopback: ask on this very host only (everything is there).
        """
        return cls(reactor, system, links=partial(find_links, loopback=loopback))

    def search(self, server: str | None, found: Found) -> Deferred[int]:
        """Ask, for half a second.

        :param server: the id of the one server that is wanted; ``None`` for any.
        :param found: told of each server at each address, once.
        :returns: fires at the end with the number of interfaces that were asked on.  Cancelling ends it.
        """
        search = Search(self._keys, server, self._reactor.seconds(), self._random)
        return _Asking(self._reactor, search, self._links(), found).done


class _Asking:
    """One search: its sockets and its timer."""

    def __init__(
        self, reactor: IReactor, search: Search, links: Sequence[Link], found: Found
    ) -> None:
        self.done: Deferred[int] = Deferred(lambda _: self._end())
        self._reactor = reactor
        self._search = search
        self._links = links
        self._found = found
        self._over = False
        self._sockets: list[GroupSocket] = []
        self._timer: IDelayedCall | None = None
        for ipv6 in (False, True):
            if any(link.ipv6 if ipv6 else link.hosts for link in links):
                opened = open_asking(reactor, ipv6, self._received)
                if opened is not None:
                    self._sockets.append(opened)
        self._turn()

    def _turn(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        if not self._sockets or self._search.over(now):
            self._end()
            self.done.callback(len(self._links) if self._sockets else 0)
            return
        query = self._search.query(now)
        if query is not None:
            for sock in self._sockets:
                for link in self._links:
                    if link.ipv6 if sock.ipv6 else link.hosts:
                        sock.ask(query, link)
        self._timer = self._reactor.callLater(max(self._search.deadline() - now, 0.0), self._turn)

    def _received(self, datagram: Datagram) -> None:
        if self._over:
            return
        try:
            host = datagram.host
        except OSError:
            return  # the interface is gone
        found = self._search.received(datagram.data, host)
        if found is not None:
            self._found(*found)

    def _end(self) -> None:
        self._over = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for sock in self._sockets:
            sock.close()
