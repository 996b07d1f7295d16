"""Who is registered: the mediator's one piece of shared state, behind an interface."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from zope.interface import Interface, implementer

from wavesync.identity.ids import Target
from wavesync.interfaces import Address
from wavesync.mediator.leg_time import LegTime
from wavesync.signalling.relay_urls import Relay

__all__ = [
    "MAX_REGISTRATIONS",
    "MAX_REGISTRATIONS_PER_SYSTEM",
    "IRegistry",
    "MemoryRegistry",
    "Registration",
    "RegistryFull",
    "ServerChannel",
    "family",
    "new_registration_id",
    "parked_at",
]

MAX_REGISTRATIONS = 20_000
"""Servers registered at one time unless the settings say otherwise."""

MAX_REGISTRATIONS_PER_SYSTEM = 1_000
"""Servers of one system registered at one time unless the settings say otherwise."""


_KNOWN_PARKED = 256


def family(address: Address) -> int:
    """Return 4 or 6."""
    return 6 if ":" in address[0] else 4


class RegistryFull(Exception):
    """There is no room for another server, at all or of its system."""


class ServerChannel(Protocol):
    """The way to a registered server: its leg."""

    @property
    def source(self) -> Address:
        """The far end of the leg as it is seen here."""

    @property
    def tunnelled(self) -> bool:
        """Whether that is the far end of an HTTP connection, and not the server's own address."""

    def send(self, data: bytes) -> None:
        """Send a message; nothing happens when the leg is closed."""

    def supersede(self) -> None:
        """A newer registration took over: say so and close."""

    def expel(self) -> None:
        """The server's certificate was revoked: say so and close."""


class Registration:
    """One registered server.

    :ivar id: 64 bits, never 0.
    :ivar server: its whole name.
    :ivar key: 32 bytes, the key of its UDP messages.
    :ivar channel: its leg.
    :ivar leg_time: how long it takes to tell it something.
    :ivar serial: serial number of its certificate.
    :ivar system_key: the system's public key, 32 raw bytes.
    :ivar signed_addresses: its last ``bind``, whole; empty before the first.
    :ivar parked: whether those name relays.
    :ivar sequence: the sequence number of that.
    :ivar warm_sequence: the sequence number of its last ``bind`` over UDP.
    """

    __slots__ = (
        "_observed_4",
        "_observed_6",
        "channel",
        "id",
        "key",
        "leg_time",
        "parked",
        "sequence",
        "serial",
        "server",
        "signed_addresses",
        "system_key",
        "warm_sequence",
    )

    def __init__(
        self,
        id: int,
        server: Target,
        key: bytes,
        channel: ServerChannel,
        *,
        serial: int = 0,
        system_key: bytes = b"",
    ) -> None:
        self.id = id
        self.server = server
        self.key = key
        self.channel = channel
        self.serial = serial
        self.system_key = system_key
        self.leg_time = LegTime()
        self.signed_addresses = b""
        self.parked: frozenset[Relay] = parked_at(())
        self.sequence = 0
        self.warm_sequence = 0
        self._observed_4: Address | None = None
        self._observed_6: Address | None = None

    @property
    def observed(self) -> tuple[Address, ...]:
        """Its UDP port as last seen, one address a family."""
        return tuple(seen for seen in (self._observed_4, self._observed_6) if seen is not None)

    def observe(self, address: Address) -> None:
        """Note where its UDP port is seen."""
        if family(address) == 4:
            self._observed_4 = address
        else:
            self._observed_6 = address


class IRegistry(Interface):
    """Keeps registrations; at most one for a server."""

    def add(registration: Registration) -> Registration | None:
        """Register a server, in place of an older registration of the same server.

        :returns: the older one, which is registered no more.
        :raises RegistryFull: there is no room.
        """

    def has_room(server: Target) -> bool:
        """Tell whether :meth:`add` has room for *server*."""

    def holds(server: Target) -> bool:
        """Tell whether *server* is registered."""

    def remove(registration: Registration) -> bool:
        """Unregister; tells whether it was still registered (a newer one stays)."""

    def by_id(id: int) -> Registration | None:
        """Return the registration with that id."""

    def choose(target: Target) -> Registration | None:
        """Return the server asked for; for a whole system the one chosen least recently."""

    def of_system(system: str) -> Sequence[Registration]:
        """Return all registered servers of a system."""

    def __len__() -> int:
        """Count the registered servers."""


@implementer(IRegistry)
class MemoryRegistry:
    """Registrations in this process' memory.

    :param limit: servers in all.
    :param limit_per_system: servers of one system.
    """

    def __init__(
        self,
        limit: int = MAX_REGISTRATIONS,
        limit_per_system: int = MAX_REGISTRATIONS_PER_SYSTEM,
    ) -> None:
        self._limit = limit
        self._limit_per_system = limit_per_system
        self._by_id: dict[int, Registration] = {}
        # The order within a system is that of choosing: the first was chosen least recently.
        self._systems: dict[str, dict[str, Registration]] = {}

    def __len__(self) -> int:
        """Count the registered servers."""
        return len(self._by_id)

    @property
    def systems(self) -> int:
        """How many systems have a server registered."""
        return len(self._systems)

    def has_room(self, server: Target) -> bool:
        """Tell whether :meth:`add` has room for *server*."""
        servers = self._systems.get(server.system, {})
        if server.server in servers:
            return True
        return len(self._by_id) < self._limit and len(servers) < self._limit_per_system

    def holds(self, server: Target) -> bool:
        """Tell whether *server* is registered."""
        return server.server in self._systems.get(server.system, {})

    def add(self, registration: Registration) -> Registration | None:
        """Register a server, in place of an older registration of the same server.

        :returns: the older one, which is registered no more.
        :raises RegistryFull: there is no room.
        """
        system, server = registration.server.system, registration.server.server
        if server is None:
            raise ValueError("a registration names a server")
        if not self.has_room(registration.server):
            raise RegistryFull
        servers = self._systems.setdefault(system, {})
        older = servers.get(server)
        if older is not None:
            del self._by_id[older.id]
        servers[server] = registration
        self._by_id[registration.id] = registration
        return older

    def remove(self, registration: Registration) -> bool:
        """Unregister; tells whether it was still registered (a newer one stays)."""
        if self._by_id.get(registration.id) is not registration:
            return False
        del self._by_id[registration.id]
        system, server = registration.server.system, registration.server.server
        assert server is not None
        del self._systems[system][server]
        if not self._systems[system]:
            del self._systems[system]
        return True

    def by_id(self, id: int) -> Registration | None:
        """Return the registration with that id."""
        return self._by_id.get(id)

    def choose(self, target: Target) -> Registration | None:
        """Return the server asked for; for a whole system the one chosen least recently."""
        servers = self._systems.get(target.system)
        if servers is None:
            return None
        server = target.server if target.server is not None else next(iter(servers))
        registration = servers.pop(server, None)
        if registration is not None:
            servers[server] = registration
        return registration

    def of_system(self, system: str) -> Sequence[Registration]:
        """Return all registered servers of a system."""
        return tuple(self._systems.get(system, {}).values())


@lru_cache(maxsize=_KNOWN_PARKED)
def parked_at(relays: tuple[Relay, ...]) -> frozenset[Relay]:
    """The same set for all servers that are parked at the same relays."""
    return frozenset(relays)


def new_registration_id(random: Callable[[int], bytes], registry: IRegistry) -> int:
    """Draw an id that is not 0 and not taken."""
    while True:
        id = int.from_bytes(random(8), "big")
        if id and registry.by_id(id) is None:
            return id
