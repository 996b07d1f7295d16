"""The paths that a race tries: those known beforehand, and those that an introduction shows."""

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence

from wavesync.client.introduction import Introduction
from wavesync.client.lan_path import Finder, LANPath, LANSearch
from wavesync.client.memory import Remembered
from wavesync.client.paths import PunchPath, Sessions, TCPPath, UDPPort
from wavesync.client.race import LAN, RELAY, Path
from wavesync.client.relay_choice import RelayOption
from wavesync.client.relay_path import Relaying, RelayPath
from wavesync.client.report import Timeline
from wavesync.errors import ConnectFailed
from wavesync.identity.ids import Target
from wavesync.interfaces import Address, IReactor
from wavesync.session.client import ClientSession
from wavesync.signalling.relay_urls import MAX_RELAYS, Relay

__all__ = ["Candidates", "families_of"]

_FAMILIES = {False: "IPv4", True: "IPv6"}


class Candidates:
    """Makes paths of what is known.

    :param port: the UDP port that punches; ``None`` to do without UDP.
    :param kinds: the kinds of path to take.
    :param relaying: makes paths through relays; ``None`` to do without them.
    :param relays: relays that may have any server, whatever mediators say.
    :param allow_loopback: use loopback addresses too.
    :param finder: searches this host's networks; ``None`` to do without.
    """

    def __init__(
        self,
        reactor: IReactor,
        port: UDPPort | None,
        kinds: frozenset[str],
        *,
        relaying: Relaying | None = None,
        relays: Sequence[Relay] = (),
        allow_loopback: bool = False,
        finder: Finder | None = None,
    ) -> None:
        self.kinds = kinds
        self._finder = finder
        self._reactor = reactor
        self._port = port
        self._relaying = relaying
        self._relays = tuple(relays)
        self._allow_loopback = allow_loopback

    def search(
        self,
        target: Target,
        kinds: Collection[str],
        found: Callable[[Target, Address], None],
    ) -> list[Path[ClientSession]]:
        """The search for *target* on this host's networks, if there is to be one.

        :param found: is told the server that answered, and where it accepts.
        """
        if self._finder is None or LAN not in kinds:
            return []
        return [LANSearch(self._finder, target, found)]

    def on_lan(self, address: Address, sessions: Sessions) -> LANPath:
        """The path to an address that was found so."""
        return LANPath(self._reactor, address, sessions)

    def known(
        self,
        server: Target,
        known: Remembered | None,
        connection_id: str,
        kinds: Collection[str],
        sessions: Sessions,
    ) -> list[Path[ClientSession]]:
        """Paths for which no mediator is needed.

        :param known: what worked before, if anything did.
        """
        paths: list[Path[ClientSession]] = []
        if known is not None and known.lan[1] and LAN in kinds:
            paths.append(self.on_lan(known.lan, sessions))
        if known is not None and known.tcp[1] and "tcp" in kinds:
            paths.append(TCPPath(self._reactor, known.tcp, sessions))
        options = self._early_options(known) if RELAY in kinds else []
        if self._relaying is not None and options:
            paths.append(RelayPath(self._relaying, server, options, connection_id, sessions))
        return paths

    def introduced(
        self,
        introduction: Introduction,
        early: Sequence[Path[ClientSession]],
        kinds: Collection[str],
        sessions: Sessions,
        limit: float,
    ) -> list[Path[ClientSession]]:
        """All ways that an introduction shows, UDP first since it has the longest way to go.

        :param early: what is being tried already.
        :param limit: seconds in which the server has to be heard.
        """
        paths: list[Path[ClientSession]] = []
        if "udp" in kinds and self._port is not None:
            paths.append(
                PunchPath(
                    self._port,
                    introduction.udp(allow_loopback=self._allow_loopback),
                    introduction.token,
                    sessions,
                    timeout=limit,
                    delay=introduction.wait,
                )
            )
        if "tcp" in kinds:
            tried = {path.addresses[0] for path in early if isinstance(path, TCPPath)}
            paths += [
                TCPPath(self._reactor, address, sessions, timeout=limit)
                for address in introduction.tcp
                if address not in tried
            ]
        if RELAY in kinds and self._relaying is not None:
            asked = {
                option.relay
                for path in early
                if isinstance(path, RelayPath)
                for option in path.options
            }
            options = [
                RelayOption(parked.relay, parked.round_trip)
                for parked in introduction.relays
                if parked.relay not in asked
            ]
            if options:
                paths.append(
                    RelayPath(
                        self._relaying,
                        introduction.server,
                        options,
                        introduction.connection_id,
                        sessions,
                    )
                )
        return paths

    def further(
        self, server: Target, options: Sequence[RelayOption], sessions: Sessions
    ) -> RelayPath:
        """A further connection through relays that have worked."""
        assert self._relaying is not None
        return RelayPath(self._relaying, server, options, uuid.uuid4().hex, sessions)

    def usable(
        self,
        introduction: Introduction,
        ours: set[bool],
        kinds: Collection[str],
        timeline: Timeline,
    ) -> Introduction:
        """Leave out addresses that this host has no family for.

        :param ours: the families it has; when none is known, all addresses stay.
        :raises ConnectFailed: none is left, nor any relay: client and server have no family in common.
        """
        theirs = families_of((*introduction.tcp, *introduction.listed, *introduction.observed))
        if not ours or theirs <= ours:
            return introduction
        for kind, addresses in (("udp", introduction.observed), ("tcp", introduction.tcp)):
            for address in addresses:
                if (":" in address[0]) not in ours:
                    entry = timeline.candidate(kind, address)
                    family = _FAMILIES[":" in address[0]]
                    timeline.close(entry, "failed", f"this host has no {family}")
        relayed = RELAY in kinds and self._relaying is not None and introduction.relays
        if not ours & theirs and not relayed:
            have, need = (_FAMILIES[min(each)] for each in (ours, theirs))
            raise ConnectFailed(
                f"no path is possible: this host has {have} only and {introduction.server} has"
                f" {need} only; give either of them the other, too"
            )
        return introduction.only(ours)

    def _early_options(self, known: Remembered | None) -> list[RelayOption]:
        """The relays that are asked before any introduction: those that had the server here."""
        if self._relaying is None:
            return []
        relays = known.relay_list if known is not None else ()
        return [RelayOption(relay) for relay in (relays or self._relays)[:MAX_RELAYS]]


def families_of(addresses: Iterable[Address]) -> set[bool]:
    """The families of *addresses*: ``False`` for IPv4, ``True`` for IPv6."""
    return {":" in host for host, _ in addresses}
