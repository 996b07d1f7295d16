"""Puts what an agent does about each client into words, and into the ring of flights."""

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from wavesync.doctor.flights import Flights
from wavesync.identity.verify import Peer
from wavesync.interfaces import Address
from wavesync.session.relayed import RelayedAddress
from wavesync.session.server import ServerSession
from wavesync.signalling.listening import address_text

__all__ = ["Recorder", "unrecorded"]

_SHOWN = 6
"""Addresses that are told of each list."""


class Recorder:
    """Notes what happens, by connection id; a :class:`wavesync.session.watcher.Watcher` as well.

    :param flights: the ring.
    """

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        self._running: dict[ServerSession, str] = {}

    def introduced(self, connection: str, peer: Peer, mediator: object) -> None:
        """A mediator has introduced a client, whose proof is good."""
        self._flights.note(
            connection,
            "introduced",
            f"by the mediator {mediator}",
            client=peer.text,
            owner=peer.fingerprint.hex(),
            verified=True,
        )

    def note(self, connection: str, what: str, why: str = "") -> None:
        """Something happened to a connect that is known already."""
        self._flights.note(connection, what, why)

    def punching(self, connection: str, addresses: Sequence[Address]) -> None:
        """Punching begins, or goes on towards further addresses."""
        self._flights.note(connection, "punching", f"towards {_texts(addresses)}")

    def relayed(self, connection: str, client: str, system: str, address: RelayedAddress) -> None:
        """A relay brings a client; who it is has yet to be shown."""
        source = address_text((address.host, address.port))
        self._flights.note(
            connection,
            "relayed",
            f"by the relay {address.relay}, which sees the client at {source}",
            client=f"{client}@{system}",
            owner=f"by {address.relay}",
        )

    def dialling(self, connection: str, peer: Peer, mediator: object, remote: Address) -> None:
        """A mediator passes on that a client, whose proof is good, dials over TCP; it is dialled, too."""
        self._flights.note(
            connection,
            "dialling",
            f"over TCP towards {address_text(remote)}, as the mediator {mediator} passes on",
            client=peer.text,
            owner=peer.fingerprint.hex(),
            verified=True,
        )

    def heard(self, connection: str, protocol: object) -> None:
        """The client was heard over a path; who it is has yet to be shown."""
        transport = getattr(protocol, "transport", None)
        peer = transport.getPeer() if transport is not None else None
        place = address_text((getattr(peer, "host", "?"), getattr(peer, "port", 0)))
        self._flights.note(connection, "heard", f"from {place}")

    # What sessions tell.

    def asked(self, session: ServerSession, service: str, connection: str) -> None:
        """A client asks for a service (Watcher)."""
        peer = session.peer
        if not connection or peer is None:
            return
        self._running[session] = connection
        there = session.path_peer()
        place = address_text((getattr(there, "host", ""), getattr(there, "port", 0)))

        def note(what: str, why: str = "", when: float | None = None) -> None:
            self._flights.note(
                connection,
                what,
                why,
                client=peer.text,
                owner=peer.fingerprint.hex(),
                verified=True,
                when=when,
            )

        note("path", f"{session.path_kind or 'a path'} from {place}", session.arrived_at)
        note("authenticated", peer.text, session.authenticated_at)
        note("asked", f"for {service}" if service else "to hold the path open")

    def opened(self, session: ServerSession) -> None:
        """The service is there (Watcher)."""
        self._of(session, "opened")

    def refused(self, session: ServerSession, sentence: str) -> None:
        """It is not (Watcher)."""
        self._of(session, "refused", sentence)

    def answered(self, session: ServerSession) -> None:
        """The service has said its first word (Watcher)."""
        self._of(session, "first byte")

    def ended(self, session: ServerSession, why: str) -> None:
        """It is over (Watcher)."""
        if session in self._running:
            received, sent = session.moved
            self._of(
                session, "ended", f"{why or 'in order'}; {received} bytes in, {sent} bytes out"
            )
            del self._running[session]

    def _of(self, session: ServerSession, what: str, why: str = "") -> None:
        self._flights.note(self._running.get(session, ""), what, why)


def unrecorded(clock: IReactorTime) -> Recorder:
    """Make a recorder that nobody reads."""
    return Recorder(Flights(clock, wall_clock=clock.seconds))


def _texts(addresses: Sequence[Address]) -> str:
    told = [address_text(each) for each in addresses[:_SHOWN]]
    more = len(addresses) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")
