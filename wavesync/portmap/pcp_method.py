"""PCP with one router."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from wavesync.portmap import pcp
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

__all__ = ["PCP"]

_REASONS = {7: Reason.NO_ADDRESS, 12: Reason.ANOTHER_NAT}


class PCP:
    """Maps ports, or opens pinholes, by PCP.

    :param asker: asks the router.
    :param clock: gives the time.
    :param own: this host's address towards it.
    :param random: gives so many random bytes.
    """

    name = "PCP"

    def __init__(
        self, asker: Asker, clock: IReactorTime, own: str, random: Callable[[int], bytes]
    ) -> None:
        self._asker = asker
        self._clock = clock
        self._own = own
        # One number for all: only who knows it can end these mappings (section 11.2).
        self._nonce = random(pcp.NONCE_SIZE)
        self._epoch = Epoch()

    def discover(self) -> Deferred[None]:
        """Ask whether it is there."""

        async def discover() -> None:
            self._epoch.forget()
            await self._announced()

        return Deferred.fromCoroutine(discover())

    def map(self, wanted: Wanted, external: int) -> Deferred[Lease]:
        """Ask for a mapping; a pinhole has to be for the very address and port."""

        async def ask() -> Lease:
            mapped = await self._map(wanted, external, LIFETIME)
            host = check_external(mapped.host)
            pinhole = ":" in self._own
            if (
                not mapped.external
                or not mapped.lifetime
                or pinhole != (":" in host)
                or (pinhole and (host, mapped.external) != (self._own, wanted.port))
            ):
                raise PortMapError(Reason.MALFORMED, "it maps to nothing, or to somebody else")
            lifetime = min(max(float(mapped.lifetime), SHORTEST), LONGEST)
            return Lease(wanted, (host, mapped.external), lifetime)

        return Deferred.fromCoroutine(ask())

    def holds(self, leases: tuple[Lease, ...]) -> Deferred[bool]:
        """Look at the router's clock: a renewal would tell more, and cost the router more."""
        return Deferred.fromCoroutine(self._announced())

    def unmap(self, lease: Lease) -> Deferred[None]:
        """End it."""

        async def end() -> None:
            await self._map(lease.wanted, 0, 0)

        return Deferred.fromCoroutine(end())

    def close(self) -> None:
        """Ask nothing more."""
        self._asker.close()

    async def _announced(self) -> bool:
        """Ask for the router's time; tell whether it has kept its state."""

        def read(data: bytes) -> pcp.Announced | None:
            answer = pcp.decode(data)
            if isinstance(answer, pcp.Refused) and not answer.opcode:
                raise _refusal(answer)
            return answer if isinstance(answer, pcp.Announced) else None

        answer = await self._asker.ask(pcp.encode_announce(self._own), read)
        return self._epoch.consistent(answer.epoch, self._clock.seconds())

    async def _map(self, wanted: Wanted, external: int, lifetime: int) -> pcp.Mapped:
        request = pcp.encode_map(
            self._own, self._nonce, wanted.transport, wanted.port, external, lifetime
        )

        def read(data: bytes) -> pcp.Mapped | None:
            answer = pcp.decode(data)
            if isinstance(answer, pcp.Refused) and answer.nonce == self._nonce:
                raise _refusal(answer)
            if not isinstance(answer, pcp.Mapped) or answer.nonce != self._nonce:
                return None
            same = (answer.transport, answer.internal) == (wanted.transport, wanted.port)
            return answer if same else None

        return await self._asker.ask(request, read)


def _refusal(answer: pcp.Refused) -> PortMapError:
    return PortMapError(_REASONS.get(answer.code, Reason.REFUSED), answer.sentence)
