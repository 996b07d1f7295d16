"""One client and the server chosen for it: who was seen where, and who was told what."""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from wavesync.interfaces import Address
from wavesync.mediator.introduction import Progress, build_progress
from wavesync.mediator.registry import Registration, family
from wavesync.mediator.statistics import Statistics
from wavesync.signalling.introducing import (
    ConnectAnswer,
    ConnectionRequested,
    ConnectionResult,
    ConnectionUpdate,
)
from wavesync.signalling.numbers import CONNECT_SIZE, UPDATE_SCHEDULE
from wavesync.signalling.relay_lists import other_ports
from wavesync.signalling.relay_urls import Relay

__all__ = ["INTRODUCTION_LIFE", "MAX_MOVES", "MAX_WAYS", "Introduction", "Table", "Way"]

INTRODUCTION_LIFE = 90.0
"""Seconds for which an introduction, and its answer, is remembered."""

MAX_MOVES = 8
"""Changes of one side's observed address that are passed on in one introduction."""

MAX_WAYS = 4
"""Sources from which one introduction's client is answered."""

_LONGEST_SOURCE: Address = "2001:db8::", 0
_NEWS_SIZE = 12 + 4 + 3
"""Bytes of CRL-NUMBER, and of CRL's head and padding."""


class Way(Protocol):
    """A way back to a client: its UDP source on the port that it used, or its leg.

    :ivar source: the client's address there.
    :ivar reliable: a byte stream.
    """

    @property
    def source(self) -> Address:
        """The client's address there."""

    @property
    def reliable(self) -> bool:
        """Whether it is a byte stream."""

    def send(self, data: bytes) -> None:
        """Send a message; nothing happens when it is closed."""

    def afford(self, now: float) -> bool:
        """Tell whether a signature may be checked for whoever is there, and charge for it."""


class Table(Protocol):
    """What an introduction needs of the table that holds it.

    :ivar statistics: where to count.
    :ivar relays: those that clients are told of: all where a server has named none, else the other
        ports of those that it has.
    """

    statistics: Statistics
    relays: tuple[Relay, ...]

    def transaction_id(self) -> bytes:
        """Draw a STUN transaction id."""

    def wake(self, introduction: "Introduction", at: float) -> None:
        """Have :meth:`Introduction.timer` called at that time."""

    def remove(self, introduction: "Introduction") -> None:
        """Forget an introduction."""


class Telling:
    """What one side is told of the other's address, until it says that it knows.

    :ivar sequence: of the last change, 0 before the first.
    :ivar due: when to send again; ``None`` when there is no need.
    """

    __slots__ = ("_changed", "_sent", "due", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        self.due: float | None = None
        self._changed = 0.0
        self._sent = 0

    def change(self, now: float) -> bool:
        """Begin to tell of a change; false when there were too many."""
        if self.sequence >= MAX_MOVES:
            return False
        self.sequence += 1
        self._changed = now
        self._sent = 0
        self.due = now
        return True

    def sent(self) -> None:
        """One was sent: decide when to repeat it."""
        self._sent += 1
        again = self._sent < len(UPDATE_SCHEDULE)
        self.due = self._changed + UPDATE_SCHEDULE[self._sent] if again else None

    def known(self, sequence: int) -> None:
        """The other side returned an update."""
        if sequence == self.sequence:
            self.due = None


class Introduction:
    """One client and the server that was chosen for it; the hands of its machine.

    :ivar connection_id: the client's id for it.
    :ivar fingerprint: of the client's certificate.
    :ivar client: the client's name, for logs.
    :ivar registration: the server's.
    :ivar token: 32 bits, never 0.
    :ivar hosts: from where the client's proofs came.
    :ivar stream_opened: both sides were asked to dial each other over TCP.
    :ivar told_delay: seconds from answering the client to the server's first punch.
    """

    log = Logger()

    __slots__ = (
        "_ack_seen",
        "_body",
        "_created",
        "_credit",
        "_owner",
        "_relays",
        "_request",
        "_server_observed",
        "_to_client",
        "_to_server",
        "_ways",
        "client",
        "client_observed",
        "connection_id",
        "fingerprint",
        "hosts",
        "now",
        "progress",
        "registration",
        "signed_addresses",
        "stream_opened",
        "token",
        "told_delay",
        "told_observed",
    )

    def __init__(
        self,
        owner: Table,
        connection_id: str,
        fingerprint: bytes,
        client: str,
        registration: Registration,
        token: int,
        request: bytes,
        now: float,
        news: Callable[[int], tuple[int, bytes]] = lambda room: (0, b""),
    ) -> None:
        self._owner = owner
        self.connection_id = connection_id
        self.fingerprint = fingerprint
        self.client = client
        self.registration = registration
        self.token = token
        self.hosts: set[str] = set()
        self.stream_opened = False
        self.signed_addresses = registration.signed_addresses
        parked = registration.parked
        self._relays = other_ports(owner.relays, parked) if parked else owner.relays
        self.told_observed = registration.observed
        self.told_delay = registration.leg_time.one_way
        self.client_observed: dict[int, Address] = {}
        self.now = now
        self._created = now
        self._request = request
        self._server_observed = {family(seen): seen for seen in registration.observed}
        self._ways: list[Way] = []
        # Bytes that each UDP source may still be sent: what came from it less what went there.  A
        # forged source would otherwise be sent more than was spent on it.
        self._credit: dict[Address, int] = {}
        self._to_client = Telling()
        self._to_server = Telling()
        self._ack_seen: dict[bytes, Address] = {}
        self._body = self._told(0, b"")
        longest = ConnectAnswer.size(_LONGEST_SOURCE, self._body) + _NEWS_SIZE
        number, crl = news(CONNECT_SIZE - longest)
        if number:
            self._body = self._told(number, crl)
        self.progress: Progress = build_progress(self)

    def answer(self, transaction_id: bytes, source: Address) -> bytes:
        """Return the answer to the client's request, always the same but for *source*."""
        return ConnectAnswer.to(transaction_id, source, self._body)

    def _told(self, crl_number: int, crl: bytes) -> bytes:
        """What every answer says, whatever the source."""
        return ConnectAnswer(
            self.connection_id,
            self.registration.server,
            self.signed_addresses,
            self.told_observed,
            self.token,
            self.told_delay,
            _LONGEST_SOURCE,
            crl_number,
            crl,
            self._relays,
        ).body()

    def admit(self, way: Way, now: float) -> None:
        """The client's request came over *way*, and its proof held."""
        self.now = now
        host = way.source[0]
        if len(self.hosts) < MAX_WAYS:
            self.hosts.add(host)
        known = {(seen.source, seen.reliable) for seen in self._ways}
        if (way.source, way.reliable) not in known and len(self._ways) < MAX_WAYS:
            self._ways.append(way)
            known.add((way.source, way.reliable))
        if not way.reliable and (way.source, False) in known:
            spent = CONNECT_SIZE - ConnectAnswer.size(way.source, self._body)
            self._credit[way.source] = self._credit.get(way.source, 0) + spent
        if not way.reliable and self.client_observed.get(family(way.source)) != way.source:
            self.client_observed[family(way.source)] = way.source
            if self._request:
                return  # the server has not been told of it at all
            self.progress.client_moved()

    def acknowledge(self, transaction_id: bytes, source: Address, now: float) -> None:
        """``connectionAck`` came from the server's punching port.

        A copy of an earlier one from another source tells nothing about the server.
        """
        self.now = now
        if not self._ack_seen:
            self.registration.leg_time.measured(now - self._created)
        if len(self._ack_seen) < MAX_WAYS:
            self._ack_seen.setdefault(transaction_id, source)
        self.progress.acknowledged()
        if self._ack_seen.get(transaction_id) != source:
            return
        self.registration.observe(source)
        if self._server_observed.get(family(source)) != source:
            self._server_observed[family(source)] = source
            self.progress.server_moved()

    def client_knows(self, sequence: int) -> None:
        """The client returned a ``connectionUpdate``."""
        self._to_client.known(sequence)

    def report(self, result: ConnectionResult, now: float) -> None:
        """The client's ``connectionResult`` came."""
        self.now = now
        self.progress.result(result)

    def timer(self, now: float) -> None:
        """A time that was asked for has come."""
        self.now = now
        if self._to_client.due is not None and self._to_client.due <= now:
            self.progress.repeat_due()
        if now >= self._created + INTRODUCTION_LIFE:
            self.progress.expired()

    # The hands of the machine.

    def request(self) -> None:
        """Send ``connectionRequested`` to the server."""
        self._owner.statistics.introductions += 1
        observed = tuple(self.client_observed.values())
        indication = ConnectionRequested(
            self.connection_id, self._request, observed, self.token, 0.0
        )
        self.registration.channel.send(indication.encode(self._owner.transaction_id()))
        self._request = b""

    def note_acknowledged(self) -> None:
        """Count that the server has begun to punch."""
        self._owner.statistics.acknowledged += 1

    def tell_client(self) -> None:
        """Send the client a new ``connectionUpdate``: the server is seen elsewhere."""
        if self._to_client.change(self.now):
            self._send_client(self._ways)

    def tell_server(self) -> None:
        """Send the server a new ``connectionUpdate``: the client is seen elsewhere."""
        if self._to_server.change(self.now):
            update = ConnectionUpdate(
                self.connection_id, self._to_server.sequence, tuple(self.client_observed.values())
            )
            self._owner.statistics.updates += 1
            self.registration.channel.send(update.encode(self._owner.transaction_id()))

    def repeat(self) -> None:
        """Send again what is due and was not returned: over UDP only."""
        self._send_client([way for way in self._ways if not way.reliable])

    def stop_telling(self) -> None:
        """Send no more updates."""
        self._to_client.due = None

    def note_result(self, result: ConnectionResult) -> None:
        """Count and log the client's report."""
        path, outcome = self._owner.statistics.report(result)
        self.log.info(
            "{client} to {server}: {outcome}, path {path}, {ms} ms (report {after} ms after asking)",
            client=self.client,
            server=self.registration.server,
            outcome=outcome,
            path=path,
            ms=round(result.duration * 1000),
            after=round((self.now - self._created) * 1000),
        )

    def note_unreported(self) -> None:
        """Count that the client never reported."""
        self._owner.statistics.unreported += 1

    def forget(self) -> None:
        """Leave the table."""
        self._owner.remove(self)

    def _send_client(self, ways: list[Way]) -> None:
        update = ConnectionUpdate(
            self.connection_id, self._to_client.sequence, tuple(self._server_observed.values())
        ).encode(self._owner.transaction_id())
        for way in ways:
            if not way.reliable:
                if self._credit[way.source] < len(update):
                    continue
                self._credit[way.source] -= len(update)
            self._owner.statistics.updates += 1
            way.send(update)
        self._to_client.sent()
        if self._to_client.due is not None:
            self._owner.wake(self, self._to_client.due)
