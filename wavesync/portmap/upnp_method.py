"""UPnP-IGD with the routers on one network: version 1 and 2, WANIPConnection and WANPPPConnection."""

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wavesync.interfaces import Address
from wavesync.portmap import soap, ssdp
from wavesync.portmap.description import Service, mapping_services
from wavesync.portmap.fetching import Fetch
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.sockets import Datagrams, Received
from wavesync.portmap.words import (
    LIFETIME,
    LONGEST,
    SHORTEST,
    Lease,
    PortMapError,
    Reason,
    Wanted,
    check_external,
    is_public,
)

__all__ = ["MAX_DEVICES", "MAX_TRIES", "OpenSearch", "UPnP"]

MAX_DEVICES = 4
"""Routers that answer a search and are looked at."""

MAX_TRIES = 4
"""Outside ports that are tried for one of ours, where others have them."""

SEARCH_AGAIN, SEARCH_TIME = 0.4, 1.6
"""Seconds until the search is repeated once, and until it is over."""

_FIRST_PORT, _LAST_PORT = 20000, 60000
_NAME = "wavesync"

OpenSearch: TypeAlias = Callable[[Received], Datagrams]
"""Opens a socket to search with."""


class UPnP:
    """Maps ports by UPnP-IGD.

    :param clock: gives timers.
    :param gateway: the network, and the router if it is known.
    :param open_search: opens a socket to search with.
    :param fetch: does HTTP requests.
    :param random: gives a fraction from 0 to 1.
    """

    name = "UPnP"

    def __init__(
        self,
        clock: IReactorTime,
        gateway: Gateway,
        open_search: OpenSearch,
        fetch: Fetch,
        random: Callable[[], float],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._open_search = open_search
        self._fetch = fetch
        self._random = random
        self._close = close
        self._service: Service | None = None
        self._permanent = False
        self._search: _Search | None = None

    def discover(self) -> Deferred[None]:
        """Search, and find the service that maps ports."""

        async def discover() -> None:
            error = PortMapError(Reason.NO_ANSWER, "no UPnP router answers")
            found = await self._searched()
            for host, url in found.items():
                try:
                    page = await self._fetch(url)
                    if page.status != 200:
                        raise PortMapError(
                            Reason.REFUSED, f"its web server answers with status {page.status}"
                        )
                    self._service = await self._working(mapping_services(page.body, url, host))
                except PortMapError as problem:
                    error = problem
                else:
                    return
            raise error

        return Deferred.fromCoroutine(discover())

    def map(self, wanted: Wanted, external: int) -> Deferred[Lease]:
        """Have the mapping added and look at what was added."""

        async def ask() -> Lease:
            host = await self._external()
            port = external
            for _ in range(MAX_TRIES):
                if await self._belongs(wanted, port) is not False:
                    try:
                        lifetime = await self._add(wanted, port)
                        break
                    except soap.ActionFailed as error:
                        if error.code != soap.CONFLICT:
                            raise
                port = _FIRST_PORT + int(self._random() * (_LAST_PORT - _FIRST_PORT))
            else:
                raise PortMapError(Reason.REFUSED, "all ports that were tried are taken")
            if not await self._belongs(wanted, port):
                raise PortMapError(Reason.MALFORMED, "it does not have the mapping that it added")
            return Lease(wanted, (host, port), min(max(lifetime, SHORTEST), LONGEST))

        return Deferred.fromCoroutine(ask())

    def holds(self, leases: tuple[Lease, ...]) -> Deferred[bool]:
        """Look at the mappings, and at the external address.

        A router that has started anew may have its web server elsewhere: it is searched then.
        """

        async def look() -> bool:
            try:
                return await self._all_there(leases)
            except PortMapError as error:
                if error.reason != Reason.NO_ANSWER:
                    raise
            await self.discover()
            return await self._all_there(leases)

        return Deferred.fromCoroutine(look())

    def unmap(self, lease: Lease) -> Deferred[None]:
        """Have it deleted, unless it is somebody else's by now."""

        async def end() -> None:
            if await self._belongs(lease.wanted, lease.external[1]):
                await self._act("DeletePortMapping", self._entry(lease.wanted, lease.external[1]))

        return Deferred.fromCoroutine(end())

    def close(self) -> None:
        """Ask nothing more."""
        if self._search is not None:
            self._search.end()
        self._close()

    async def _all_there(self, leases: tuple[Lease, ...]) -> bool:
        host = await self._external()
        for lease in leases:
            if lease.external[0] != host:
                return False
            if not await self._belongs(lease.wanted, lease.external[1]):
                return False
        return True

    async def _searched(self) -> dict[str, str]:
        """Search: the addresses of routers, with where they describe themselves; ours first."""
        self._search = _Search(self._clock, self._gateway)
        self._search.begin(self._open_search)
        found = await self._search.done
        self._search = None
        return dict(sorted(found.items(), key=lambda each: each[0] != self._gateway.router))

    async def _working(self, services: list[Service]) -> Service:
        """Choose the service that has an external address, a public one if there is any."""
        error: PortMapError | None = None
        second: Service | None = None
        for service in services:
            try:
                if is_public(await self._external(service)):
                    return service
                second = second or service
            except PortMapError as problem:
                error = problem
        if second is not None:
            return second
        assert error is not None, "there is one service or more"
        raise error

    async def _external(self, service: Service | None = None) -> str:
        found = await self._act("GetExternalIPAddress", {}, service)
        # Some routers without one say nothing.
        return check_external(found.get("NewExternalIPAddress") or "0.0.0.0")

    async def _add(self, wanted: Wanted, port: int) -> float:
        """Add a mapping; tells for how many seconds."""
        arguments = {
            **self._entry(wanted, port),
            "NewInternalPort": str(wanted.port),
            "NewInternalClient": self._gateway.own,
            "NewEnabled": "1",
            "NewPortMappingDescription": _NAME,
            "NewLeaseDuration": "0" if self._permanent else str(LIFETIME),
        }
        try:
            await self._act("AddPortMapping", arguments)
        except soap.ActionFailed as error:
            if error.code != soap.ONLY_PERMANENT or self._permanent:
                raise
            self._permanent = True
            await self._act("AddPortMapping", {**arguments, "NewLeaseDuration": "0"})
        return float(LIFETIME)

    async def _belongs(self, wanted: Wanted, port: int) -> bool | None:
        """Tell whether an outside port leads to a port of ours.

        :returns: ``False`` when it leads elsewhere, ``None`` when it leads nowhere.
        """
        try:
            found = await self._act("GetSpecificPortMappingEntry", self._entry(wanted, port))
        except soap.ActionFailed as error:
            # For an entry that is not there, routers have many codes.
            return False if error.code == soap.NOT_AUTHORIZED else None
        there = found.get("NewInternalClient"), found.get("NewInternalPort")
        return there == (self._gateway.own, str(wanted.port)) and found.get("NewEnabled") != "0"

    @staticmethod
    def _entry(wanted: Wanted, port: int) -> dict[str, str]:
        return {
            "NewRemoteHost": "",
            "NewExternalPort": str(port),
            "NewProtocol": wanted.transport.upper(),
        }

    async def _act(
        self, name: str, arguments: dict[str, str], service: Service | None = None
    ) -> dict[str, str]:
        service = service or self._service
        if service is None:
            raise PortMapError(Reason.NO_ANSWER, "no UPnP router was found")
        headers, body = soap.action(service.kind, name, arguments)
        page = await self._fetch(service.control, headers, body)
        return soap.answer(name, page.status, page.body)


class _Search:
    """One search."""

    def __init__(self, clock: IReactorTime, gateway: Gateway) -> None:
        self.done: Deferred[dict[str, str]] = Deferred(lambda _: self._shut())
        self._clock = clock
        self._gateway = gateway
        self._found: dict[str, str] = {}
        self._socket: Datagrams | None = None
        self._timers: list[IDelayedCall] = []

    def begin(self, open_search: OpenSearch) -> None:
        self._socket = open_search(self._received)
        self._timers = [
            self._clock.callLater(SEARCH_AGAIN, self._ask),
            self._clock.callLater(SEARCH_TIME, self.end),
        ]
        self._ask()

    def end(self) -> None:
        """It is over."""
        if self._socket is not None:
            self._shut()
            self.done.callback(self._found)

    def _shut(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
        for timer in self._timers:
            if timer.active():
                timer.cancel()

    def _ask(self) -> None:
        destinations = [ssdp.GROUP]
        if self._gateway.router:
            # Not every network carries packets to groups.
            destinations.append((self._gateway.router, ssdp.GROUP[1]))
        for target in ssdp.TARGETS:
            for destination in destinations:
                if self._socket is not None:
                    self._socket.send(ssdp.search(target, destination), destination)

    def _received(self, data: bytes, source: Address) -> None:
        host = source[0]
        if self._socket is None or len(self._found) >= MAX_DEVICES or host in self._found:
            return
        if not self._gateway.neighbour(host):
            return
        try:
            self._found[host] = ssdp.location(data, host)
        except PortMapError:
            return
        if host == self._gateway.router:
            self.end()  # the very router that packets take: no other one would help
