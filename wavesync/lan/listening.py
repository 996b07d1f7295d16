"""The server's side: belongs to the groups on every interface, and answers."""

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wavesync.interfaces import IReactor
from wavesync.lan.answering import Answerer
from wavesync.lan.links import Link, find_links
from wavesync.lan.sockets import HOPS, HOPS6, PORT, Datagram, GroupSocket, open_listening
from wavesync.lan.wire import Keys

__all__ = ["LOOK_INTERVAL", "Listener"]

LOOK_INTERVAL = 5.0
"""Seconds between looks at the interfaces: one that comes, or comes back, is joined by then."""


Opening: TypeAlias = Callable[[IReactor, bool, Callable[[Datagram], None]], GroupSocket]


class Listener:
    """Answers queries for one server.

    :param reactor: Twisted's reactor.
    :param system: the system's id.
    :param server: the server's id.
    :param links: finds the interfaces to answer on.
    :param random: gives so many random bytes.
    :param opening: opens a socket of a family (:func:`wavesync.lan.sockets.open_listening`).
    :ivar answerer: decides what is answered.
    :ivar joined: names of the interfaces with IPv4, and with IPv6, that are listened on.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactor,
        system: str,
        server: str,
        *,
        links: Callable[[], Sequence[Link]] = find_links,
        random: Callable[[int], bytes] = os.urandom,
        opening: Opening = open_listening,
    ) -> None:
        self._opening = opening
        self.answerer = Answerer(Keys(system), server, random)
        self._reactor = reactor
        self._links = links
        self._port = 0
        self._sockets: list[GroupSocket] = []
        self._joined: dict[GroupSocket, dict[int, Link]] = {}
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    def start(self, port: int, *, ipv6: bool = True) -> None:
        """Answer from now on, as far as this host lets us.

        :param port: where the server accepts TCP.
        :param ipv6: whether it accepts TCP over IPv6 as well.
        """
        self._port = port
        for family in (False, True) if ipv6 else (False,):
            try:
                sock = self._opening(self._reactor, family, self._received)
            except OSError as problem:
                if not family:
                    self.log.warn(
                        "clients on this network cannot find the server without a mediator: UDP port"
                        " {port} cannot be used: {why}",
                        port=PORT,
                        why=problem.strerror,
                    )
                continue
            self._sockets.append(sock)
            self._joined[sock] = {}
        self._looking.start(LOOK_INTERVAL)

    def stop(self) -> None:
        """Answer nothing any more.  Idempotent."""
        if self._looking.running:
            self._looking.stop()
        sockets, self._sockets = self._sockets, []
        self._joined.clear()
        for sock in sockets:
            sock.close()

    @property
    def joined(self) -> tuple[list[str], list[str]]:
        """Names of the interfaces that are listened on, by family."""
        named: tuple[list[str], list[str]] = ([], [])
        for sock, links in self._joined.items():
            named[sock.ipv6].extend(link.name for link in links.values())
        return named

    def look(self) -> None:
        """Join on interfaces that have come, leave those that have gone."""
        links = self._links()
        for sock in self._sockets:
            usable = {
                link.index: link for link in links if (link.ipv6 if sock.ipv6 else link.hosts)
            }
            joined = self._joined[sock]
            for index in set(joined) - set(usable):
                sock.leave(joined.pop(index))
            for index, link in usable.items():
                # Joining twice does no harm, and an interface may have gone and come back meanwhile.
                if sock.join(link):
                    joined[index] = link
                else:
                    joined.pop(index, None)

    def _received(self, datagram: Datagram) -> None:
        ipv6 = ":" in datagram.source[0]
        sock = next((each for each in self._sockets if each.ipv6 == ipv6), None)
        if sock is None or not datagram.multicast or datagram.hops != (HOPS6 if ipv6 else HOPS):
            return
        link = self._joined[sock].get(datagram.index)
        if link is None or not link.reaches(datagram.source[0]):
            return
        answer = self.answerer.answer(
            datagram.data, datagram.source[0], self._port, self._reactor.seconds()
        )
        if answer is not None:
            sock.reply(answer, datagram)
