"""The ways to servers that have worked, by the server that was authenticated and by what was asked for."""

from wavesync.client.hole import Hole
from wavesync.client.lan_path import LANPath
from wavesync.client.paths import HolePath, Sessions, TCPPath, UDPPort
from wavesync.client.race import LAN, RELAY
from wavesync.client.way import KnownWay
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.stun.learning import LifetimeLearner

__all__ = ["MAX_KNOWN", "RECALL_LIFE", "Ways"]

MAX_KNOWN = 1024
"""Servers whose working way is remembered; the oldest goes first."""


RECALL_LIFE = 120.0
"""Seconds for which a hole that was given up may still be there: its mappings live no longer."""


class Ways:
    """Remembers, and holds holes open.

    :param port: the UDP port that holes belong to; ``None`` when there is none.
    :param learner: runs from the first hole on.
    """

    def __init__(
        self, reactor: IReactor, port: UDPPort | None, learner: LifetimeLearner | None = None
    ) -> None:
        self._learner = learner
        self._reactor = reactor
        self._port = port
        self._known: dict[str, KnownWay] = {}
        self._names: dict[str, str] = {}
        self._lost: dict[str, tuple[KnownWay, float]] = {}

    def __len__(self) -> int:
        """How many servers' ways are known."""
        return len(self._known)

    def get(self, name: str) -> KnownWay | None:
        """Find the way to a server, or to the server that a system's name stood for last time."""
        return self._known.get(self._names.get(name, name))

    def recall(self, name: str) -> KnownWay | None:
        """Find a hole that was given up lately: it may have been a short interruption only.

        Without a mediator it is all there is.
        """
        way, until = self._lost.get(name, (None, 0.0))
        if way is None or self._reactor.seconds() >= until:
            return None
        return way.again()

    def remember(
        self,
        name: str,
        server: str,
        session: ClientSession,
        address: Address,
        sessions: Sessions,
        *,
        spare: bool = False,
    ) -> None:
        """Keep a way that was verified; a hole is held open from now on.

        :param name: what was asked for.
        :param server: the whole name of the server that was found.
        :param session: the session that was verified, which goes on.
        :param address: where its far end is.
        :param spare: nobody else needs the session.
        """
        if session.path_kind != "udp":
            reactor = self._reactor
            path = LANPath if session.path_kind == LAN else TCPPath
            way = KnownWay(
                server,
                session.path_kind,
                address,
                lambda: path(reactor, address, sessions),
                reactor,
            )
            self.remember_path(name, way)
            if spare:
                session.close()
            return
        assert self._port is not None
        if self._learner is not None:
            self._learner.start()
        port = self._port
        hole = Hole(
            server,
            address,
            lambda: HolePath(port, address, sessions),
            clock=self._reactor,
            on_lost=self.forget,
        )
        self.remember_path(name, hole)
        if spare:
            hole.hold(session)
        else:
            hole.hold()
            hole.watch(session)

    def remember_path(self, name: str, way: KnownWay) -> None:
        """Keep a way in place of an older one to the same server.

        :param name: what was asked for.
        """
        old = self._known.get(way.server)
        if old is not None:
            self.retire(old)
        if len(self._known) >= MAX_KNOWN:
            self.forget(next(iter(self._known.values())))
        self._names[name] = way.server
        self._known[way.server] = way

    def retire(self, way: KnownWay) -> None:
        """There is a better one: connections that are being made over a relay go on, others end."""
        if way.kind == RELAY:
            if self._known.get(way.server) is way:
                del self._known[way.server]
        else:
            self.forget(way)

    def forget(self, way: KnownWay) -> None:
        """It works no more."""
        if self._known.get(way.server) is way:
            del self._known[way.server]
            if way.kind == "udp":
                self._lose(way)
            self._names = {name: to for name, to in self._names.items() if to != way.server}
        way.close()

    def _lose(self, way: KnownWay) -> None:
        """Keep a hole that was given up, by every name that led to it."""
        until = self._reactor.seconds() + RECALL_LIFE
        for name in [way.server, *(name for name, to in self._names.items() if to == way.server)]:
            self._lost.pop(name, None)
            if len(self._lost) >= MAX_KNOWN:
                del self._lost[next(iter(self._lost))]
            self._lost[name] = way, until

    def close(self) -> None:
        """Let all go."""
        if self._learner is not None:
            self._learner.stop()
        for way in list(self._known.values()):
            self.forget(way)
