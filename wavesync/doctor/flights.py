"""What a server saw of each connect: a ring, kept across restarts, found by connection id.

Nothing of what was carried is in it, no proof, key or token: names, addresses, times and sentences.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wavesync.errors import SettingsError
from wavesync.identity.files import write_file
from wavesync.session.crowd import oldest_of_crowd

__all__ = [
    "MAX_EVENTS",
    "MAX_FILE",
    "MAX_FLIGHTS",
    "MAX_TEXT",
    "SAVE_AFTER",
    "Flight",
    "FlightEvent",
    "Flights",
    "flights_path",
]

MAX_FLIGHTS = 256
"""Connects that are kept; for one more, the oldest of the client with most of them goes."""

MAX_EVENTS = 48
"""Events of one connect; further ones are counted only."""

MAX_TEXT = 240
"""Characters of any text in it."""

MAX_FILE = 1 << 20
"""Bytes of the file; the newest connects that fit are written."""

SAVE_AFTER = 10.0
"""Seconds from a change until it is written."""


class FlightEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened.

    :ivar ms: milliseconds after the connect began here; events need not be in order.
    :ivar what: a short word, such as ``punching``.
    :ivar why: a few words more.
    """

    ms: float
    what: str
    why: str = ""


class Flight(msgspec.Struct, omit_defaults=True):
    """One connect as the server saw it.

    :ivar id: the connection id, 32 hex digits.
    :ivar at: when it began here, seconds since the epoch on the server's clock.
    :ivar client: the client's name.
    :ivar events: what happened.
    :ivar left_out: events that were one too many.
    """

    id: str
    at: float
    client: str = ""
    events: list[FlightEvent] = []
    left_out: int = 0

    def sound(self) -> bool:
        """Whether it is what an honest writer writes: short printable texts, not too many."""
        texts = [self.client, *(text for each in self.events for text in (each.what, each.why))]
        return (
            len(self.id) == 32
            and not self.id.strip("0123456789abcdef")
            and len(self.events) <= MAX_EVENTS
            and all(len(text) <= MAX_TEXT and text.isprintable() for text in texts)
        )


class _Kept(msgspec.Struct):
    """A connect, and whose it is.

    :ivar owner: SHA-256 of the client's certificate in hex; before it was shown, who told of the client.
    :ivar verified: whether it was shown.
    """

    flight: Flight
    owner: str
    verified: bool = False


def flights_path(directory: Path) -> Path:
    """Where they are kept in a directory of state."""
    return directory / "flights.json"


class Flights:
    """The ring.

    :param clock: gives the time and timers.
    :param wall_clock: seconds since the epoch.
    :param path: the file; ``None`` to keep it only as long as the process lives.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, *, wall_clock: Callable[[], float], path: Path | None = None
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._path = path
        self._kept: dict[str, _Kept] = self._load()
        self._began: dict[str, float] = {}
        self._saving: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many connects are kept."""
        return len(self._kept)

    def note(
        self,
        connection: str,
        what: str,
        why: str = "",
        *,
        client: str = "",
        owner: str = "",
        verified: bool = False,
        when: float | None = None,
    ) -> None:
        """Something happened.

        :param connection: the connection id; with an empty one nothing is noted.
        :param client: the client's name, where it is known.
        :param owner: SHA-256 of the client's certificate in hex, or who told of the client.
        :param verified: it is the former.
        :param when: on the reactor's clock; now when None.
        """
        if not connection:
            return
        now = self._clock.seconds()
        when = now if when is None else when
        kept = self._kept.get(connection)
        if kept is None:
            if not owner:
                return  # it has dropped out meanwhile
            self._make_room()
            flight = Flight(connection, round(self._wall_clock() - (now - when), 3), client)
            kept = self._kept[connection] = _Kept(flight, owner, verified)
            self._began[connection] = when
        elif verified and not kept.verified:
            kept.owner, kept.verified = owner, True
            kept.flight.client = client
        elif verified and kept.owner != owner:
            return  # whoever this is, it is not the one whose connect this was
        if len(kept.flight.events) >= MAX_EVENTS:
            kept.flight.left_out += 1
            return
        began = self._began.get(connection)
        if began is None:  # it began before this process did
            began = self._began[connection] = now - (self._wall_clock() - kept.flight.at)
        ms = round((when - began) * 1000, 3)
        kept.flight.events.append(FlightEvent(ms, _clean(what), _clean(why)))
        self._changed()

    def find(self, connection: str, owner: str) -> Flight | None:
        """Find a connect of the client whose certificate has that SHA-256 in hex, and no other's."""
        kept = self._kept.get(connection)
        return kept.flight if kept is not None and kept.verified and kept.owner == owner else None

    def close(self) -> None:
        """Write what is not written yet."""
        if self._saving is not None:
            self._saving.cancel()
            self._save()

    def _make_room(self) -> None:
        if len(self._kept) >= MAX_FLIGHTS:
            owners = {connection: kept.owner for connection, kept in self._kept.items()}
            oldest = oldest_of_crowd(owners, 1)
            assert oldest is not None
            del self._kept[oldest]
            self._began.pop(oldest, None)

    def _changed(self) -> None:
        if self._path is not None and self._saving is None:
            self._saving = self._clock.callLater(SAVE_AFTER, self._save)

    def _load(self) -> dict[str, _Kept]:
        if self._path is None:
            return {}
        try:
            with open(self._path, "rb") as file:
                data = file.read(MAX_FILE + 1)
            if len(data) > MAX_FILE:
                raise msgspec.DecodeError("it is too long")
            found = msgspec.json.decode(data, type=list[_Kept])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.log.debug("{path} is not used: {why}", path=self._path, why=error)
            return {}
        return {each.flight.id: each for each in found[-MAX_FLIGHTS:] if each.flight.sound()}

    def _save(self) -> None:
        self._saving = None
        assert self._path is not None
        lines: list[bytes] = []
        left = MAX_FILE - 2
        for kept in reversed(list(self._kept.values())):
            line = msgspec.json.encode(kept)
            left -= len(line) + 2
            if left < 0:
                break
            lines.append(line)
        text = b"[" + b",\n".join(reversed(lines)) + b"]"
        try:
            write_file(self._path, text.decode(), force=True, durable=False)
        except (OSError, SettingsError) as error:
            self.log.debug("{path} cannot be written: {why}", path=self._path, why=error)


def _clean(text: str) -> str:
    """Make a text of what may come from others."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_TEXT])
