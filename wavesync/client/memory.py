"""What worked before, by network and by server, kept across restarts.

It decides nothing: it says what to try at once, before a mediator has answered, and how long a direct
path has taken here.  Whatever is in it, the server is verified as always.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from wavesync.errors import SettingsError
from wavesync.identity.ids import Target
from wavesync.identity.kept import read_kept, write_kept
from wavesync.signalling.network import this_network
from wavesync.signalling.relay_urls import MAX_RELAYS, Relay, parse_relay

__all__ = ["MAX_REMEMBERED", "REMEMBER_FOR", "Memory", "Remembered", "memory_path"]

MAX_REMEMBERED = 512
"""Pairs of network and server that are kept; the one that was of use the longest ago goes first."""

REMEMBER_FOR = 30 * 86400.0
"""Seconds after which nothing of a pair counts any more."""

_MAX_FILE = 1 << 20
_MAX_TEXT = 128
_NOTE_EVERY = 300.0


def memory_path(directory: Path, system: str) -> Path:
    """Where the memory of a system's servers is kept in a directory of credentials."""
    return directory / f"known-{system}.json"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What worked for one server on one network.

    :ivar server: its whole name; the name that was asked for may be the system's.
    :ivar relays: URLs of the relays that it was at, at most :data:`MAX_RELAYS`.
    :ivar tcp: the address at which it was reached by direct TCP; the port is 0 where there is none.
    :ivar lan: the same for the network that both are on.
    :ivar direct: the kind of direct path that worked last: ``lan``, ``udp``, ``tcp``, or empty when the
        last connect found none.
    :ivar took: seconds that the direct path took from the beginning to being verified.
    :ivar at: when it was noted, seconds since the epoch.
    """

    server: str
    relays: tuple[str, ...] = ()
    tcp: tuple[str, int] = ("", 0)
    lan: tuple[str, int] = ("", 0)
    direct: str = ""
    took: float = 0.0
    at: float = 0.0

    @property
    def target(self) -> Target:
        """The server."""
        return Target.parse(self.server)

    @property
    def relay_list(self) -> tuple[Relay, ...]:
        """The relays."""
        return tuple(parse_relay(url) for url in self.relays)

    def sound(self) -> bool:
        """Whether everything in it can be used."""
        try:
            relays, target = self.relay_list, self.target
        except SettingsError:
            return False
        places = (self.tcp, self.lan)
        return (
            len(relays) <= MAX_RELAYS
            and target.server is not None
            and all(len(host) <= _MAX_TEXT and 0 <= port <= 65535 for host, port in places)
            and self.direct in ("", "lan", "udp", "tcp")
            and 0 <= self.took < 3600
        )


class _File(msgspec.Struct, frozen=True):
    """The file: entries by network and name, the least useful first."""

    known: dict[str, Remembered]


class Memory:
    """Remembers.

    :param path: the file; ``None`` to remember only as long as the process lives.
    :param wall_clock: seconds since the epoch.
    :param network: names the network that this host is on now.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        wall_clock: Callable[[], float],
        network: Callable[[], str] = this_network,
    ) -> None:
        self._path = path
        self._wall_clock = wall_clock
        self._network = network
        self._known = self._load()

    def __len__(self) -> int:
        """How many pairs are remembered."""
        return len(self._known)

    def recall(self, name: str) -> Remembered | None:
        """Find what worked on this network.

        :param name: what is asked for: a server, or a system.
        """
        found = self._known.get(f"{self._network()} {name}")
        if found is None or not 0 <= self._wall_clock() - found.at < REMEMBER_FOR:
            return None
        return found

    def note(self, name: str, known: Remembered) -> None:
        """Keep what has worked, for the name that was asked for and for the server's own.

        The file is written only when something has changed, or was not written for minutes: other
        processes of the same user may have it, too, and what they have noted is kept.
        """
        now = self._wall_clock()
        known = msgspec.structs.replace(known, at=now)
        network = self._network()
        keys = [f"{network} {each}" for each in dict.fromkeys((name, known.server))]
        if all(_same(self._known.get(key), known) for key in keys):
            return
        if self._path is not None:
            self._known = {**self._load(), **self._known}
        for key in keys:
            self._known.pop(key, None)
            self._known[key] = known
        self._trim()
        self._save()

    def _trim(self) -> None:
        if len(self._known) > MAX_REMEMBERED:
            newest = sorted(self._known.items(), key=lambda item: item[1].at)[-MAX_REMEMBERED:]
            self._known = dict(newest)

    def _load(self) -> dict[str, Remembered]:
        found = None if self._path is None else read_kept(self._path, _File, _MAX_FILE)
        if found is None:
            return {}
        return {
            key: known
            for key, known in list(found.known.items())[-MAX_REMEMBERED:]
            if len(key) <= _MAX_TEXT and known.sound()
        }

    def _save(self) -> None:
        if self._path is not None:
            write_kept(self._path, _File(self._known))


def _same(old: Remembered | None, new: Remembered) -> bool:
    """Whether noting *new* would tell nothing: it took about as long, and not long ago."""
    if old is None or not 0 <= new.at - old.at < _NOTE_EVERY:
        return False
    alike = msgspec.structs.replace(new, at=old.at, took=old.took) == old
    return alike and new.took < 2 * old.took + 0.05 and old.took < 2 * new.took + 0.05
