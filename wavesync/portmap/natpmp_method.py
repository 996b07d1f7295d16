"""NAT-PMP with one router."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wavesync.portmap import natpmp
from wavesync.portmap.asking import Asker
from wavesync.portmap.epoch import Epoch
from wavesync.portmap.words import (
    LIFETIME,
    LONGEST,
    SHORTEST,
    Lease,
    PortMapError,
    Reason,
    Wanted,
    check_external,
)

__all__ = ["NATPMP"]


class NATPMP:
    """Maps ports by NAT-PMP.

    :param asker: asks the router.
    :param clock: gives the time.
    """

    name = "NAT-PMP"

    def __init__(self, asker: Asker, clock: IReactorTime) -> None:
        self._asker = asker
        self._clock = clock
        self._epoch = Epoch()

    def discover(self) -> Deferred[None]:
        """Ask for the external address."""

        async def discover() -> None:
            self._epoch.forget()
            try:
                await self._external()
            except PortMapError as error:
                if error.reason != Reason.NO_ADDRESS:
                    raise

        return Deferred.fromCoroutine(discover())

    def map(self, wanted: Wanted, external: int) -> Deferred[Lease]:
        """Ask for a mapping, and where it is."""

        async def ask() -> Lease:
            host, _ = await self._external()
            mapped = await self._map(wanted, external, LIFETIME)
            if not mapped.external or not mapped.lifetime:
                raise PortMapError(Reason.MALFORMED, "it maps to nothing")
            lifetime = min(max(float(mapped.lifetime), SHORTEST), LONGEST)
            return Lease(wanted, (check_external(host), mapped.external), lifetime)

        return Deferred.fromCoroutine(ask())

    def holds(self, leases: tuple[Lease, ...]) -> Deferred[bool]:
        """Look at the router's clock and its external address: it cannot be asked for a mapping."""

        async def look() -> bool:
            host, consistent = await self._external()
            return consistent and all(lease.external[0] == host for lease in leases)

        return Deferred.fromCoroutine(look())

    def unmap(self, lease: Lease) -> Deferred[None]:
        """End it."""

        async def end() -> None:
            await self._map(lease.wanted, 0, 0)

        return Deferred.fromCoroutine(end())

    def close(self) -> None:
        """Ask nothing more."""
        self._asker.close()

    async def _external(self) -> tuple[str, bool]:
        """Ask for the address; tell whether the router has kept its state, too."""

        def read(data: bytes) -> natpmp.ExternalAddress | None:
            answer = natpmp.decode(data)
            if isinstance(answer, natpmp.Refused) and answer.opcode == 0:
                raise _refusal(answer)
            return answer if isinstance(answer, natpmp.ExternalAddress) else None

        answer = await self._asker.ask(natpmp.encode_external(), read)
        consistent = self._epoch.consistent(answer.epoch, self._clock.seconds())
        return check_external(answer.host), consistent

    async def _map(self, wanted: Wanted, external: int, lifetime: int) -> natpmp.Mapped:
        request = natpmp.encode_map(wanted.transport, wanted.port, external, lifetime)

        def read(data: bytes) -> natpmp.Mapped | None:
            answer = natpmp.decode(data)
            if isinstance(answer, natpmp.Refused) and answer.opcode == request[1]:
                raise _refusal(answer)
            if not isinstance(answer, natpmp.Mapped):
                return None
            same = (answer.transport, answer.internal) == (wanted.transport, wanted.port)
            return answer if same else None

        return await self._asker.ask(request, read)


def _refusal(answer: natpmp.Refused) -> PortMapError:
    reason = Reason.NO_ADDRESS if answer.code == 3 else Reason.REFUSED
    return PortMapError(reason, answer.sentence)
