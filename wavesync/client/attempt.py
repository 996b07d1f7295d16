"""One attempt to reach a server: an introduction, the race that follows, and one deadline for both.

Where nothing of the server was heard within :data:`CONNECT_LIMIT`, a person is told so then.  What
was heard gets the time to prove who it is.
"""

from collections.abc import Callable, Collection, Iterable

from wavesync.client.introducer import Introducer, Introducing
from wavesync.client.introduction import Introduction
from wavesync.client.paths import PunchPath, Sessions, TCPPath, UDPPort
from wavesync.client.race import Path, Race, Winner
from wavesync.client.report import Timeline
from wavesync.client.stream_opening import StreamOpener, patience
from wavesync.errors import ConnectFailed, NotAllowed, WavesyncError
from wavesync.identity.ids import Target
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.numbers import ResultCode

__all__ = ["CONNECT_LIMIT", "LEAST_LIMIT", "VERIFY_GRACE", "Attempt", "place"]

CONNECT_LIMIT = 2.8
"""Seconds from asking the mediator until a path that nothing was heard on is given up: whoever
cannot connect knows within three, even on a busy host."""

LEAST_LIMIT = 1.0
"""Seconds that paths get even when the introduction took almost all of that."""

VERIFY_GRACE = 2.0
"""Seconds after that for a server that was heard to be verified."""

_ADVICE = (
    "; allow UDP at both sites, or forward a TCP port to the server and name it in its agent's"
    " public_addresses"
)
_FAMILIES = {False: "IPv4", True: "IPv6"}


class Attempt:
    """Makes verified sessions to servers that mediators introduce.

    :param introducer: asks mediators.
    :param port: the UDP port that punches; ``None`` to do without UDP.
    :param kinds: the kinds of path to take.
    :param sessions: makes the sessions of one server's paths.
    :param allow_loopback: use loopback addresses too.
    :param opener: has TCP connections that both ends open take part, where TCP is taken at all.
    """

    def __init__(
        self,
        reactor: IReactor,
        introducer: Introducer,
        port: UDPPort | None,
        kinds: Collection[str],
        sessions: Callable[[Target], Sessions],
        *,
        allow_loopback: bool = False,
        opener: StreamOpener | None = None,
    ) -> None:
        self._reactor = reactor
        self._introducer = introducer
        self._port = port
        self._kinds = kinds
        self._sessions = sessions
        self._allow_loopback = allow_loopback
        self._opener = opener if "tcp" in kinds else None

    async def winner(self, target: Target, timeline: Timeline) -> Winner[ClientSession]:
        """Have *target* introduced, race all paths to it, and tell the mediator how it ended.

        :raises WavesyncError: with a sentence that says why it failed, and what can be done.
        """
        introducing = self._introducer.introduce(target)
        began = self._reactor.seconds()
        # Done while the answer is under way: it takes some milliseconds.
        ours = _families(introducing.own)
        if target.server is not None:
            self._sessions(target)
        introduction: Introduction | None = None
        try:
            introduction = await introducing.result
            timeline.mark("introduced")
            timeline.server = str(introduction.server)
            winner = await self._race(introducing, introduction, ours, timeline, began)
        except BaseException as error:
            if introduction is not None and isinstance(error, WavesyncError):
                refused = isinstance(error, NotAllowed)
                code = ResultCode.VERIFICATION_FAILED if refused else ResultCode.NO_SUITABLE_PATH
                introducing.finish(code, None, self._reactor.seconds() - began)
            introducing.close()
            raise
        seconds = self._reactor.seconds() - began
        # The application's first bytes go first.
        self._reactor.callLater(0, introducing.finish, ResultCode.OK, winner.path.kind, seconds)
        return winner

    async def _race(
        self,
        introducing: Introducing,
        introduction: Introduction,
        ours: set[bool],
        timeline: Timeline,
        began: float,
    ) -> Winner[ClientSession]:
        """Race all paths to the server that was introduced."""
        limit = max(began + CONNECT_LIMIT - self._reactor.seconds(), LEAST_LIMIT)
        race: Race[ClientSession] = Race(timeline, place)
        introduction = _without_other_families(introduction, ours, timeline)
        paths, punch = self._paths_to(introduction, limit)
        if punch is not None:
            introducing.on_update = punch.add
        deadline = self._reactor.callLater(limit + VERIFY_GRACE, race.expire)
        close: Callable[[], None] | None = None
        try:
            race.enter(paths)
            if self._opener is None:
                race.no_more()
            else:
                close = self._opener.enter(
                    race,
                    introduction,
                    self._sessions(introduction.server),
                    delay=patience(
                        self._reactor.seconds() - began,
                        introduction.round_trip,
                        punching=punch is not None and bool(punch.addresses),
                    ),
                    timeout=limit,
                )
            return await race.result
        except ConnectFailed as error:
            raise ConnectFailed(f"{error}{_ADVICE}") from None
        finally:
            if deadline.active():
                deadline.cancel()
            if close is not None:
                close()

    def _paths_to(
        self, introduction: Introduction, limit: float
    ) -> tuple[list[Path[ClientSession]], PunchPath | None]:
        """All ways to try, UDP first since it has the longest way to go."""
        sessions = self._sessions(introduction.server)
        paths: list[Path[ClientSession]] = []
        punch = None
        if "udp" in self._kinds and self._port is not None:
            candidates = introduction.udp(allow_loopback=self._allow_loopback)
            punch = PunchPath(
                self._port,
                candidates,
                introduction.token,
                sessions,
                timeout=limit,
                delay=introduction.wait,
            )
            paths.append(punch)
        if "tcp" in self._kinds:
            paths += [
                TCPPath(self._reactor, address, sessions, timeout=limit)
                for address in introduction.tcp
            ]
        return paths, punch


def _families(addresses: Iterable[Address]) -> set[bool]:
    return {":" in host for host, _ in addresses}


def _without_other_families(
    introduction: Introduction, ours: set[bool], timeline: Timeline
) -> Introduction:
    """Leave out addresses that this host has no family for.

    :param ours: the families it has; when none is known, all addresses stay.
    :raises ConnectFailed: none is left: client and server have no family in common.
    """
    theirs = _families((*introduction.tcp, *introduction.listed, *introduction.observed))
    if not ours or theirs <= ours:
        return introduction
    for kind, addresses in (("udp", introduction.observed), ("tcp", introduction.tcp)):
        for address in addresses:
            if (":" in address[0]) not in ours:
                entry = timeline.candidate(kind, address)
                family = _FAMILIES[":" in address[0]]
                timeline.close(entry, "failed", f"this host has no {family}")
    if not ours & theirs:
        have, need = (_FAMILIES[min(each)] for each in (ours, theirs))
        raise ConnectFailed(
            f"no path is possible: this host has {have} only and {introduction.server} has"
            f" {need} only; give either of them the other, too"
        )
    return introduction.only(ours)


def place(session: ClientSession) -> Address:
    """Where the far end of a session is."""
    if session.path_address is not None:
        return session.path_address
    peer = session.path_peer()
    return getattr(peer, "host", ""), getattr(peer, "port", 0)
