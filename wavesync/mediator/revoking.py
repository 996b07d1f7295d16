"""Revocation lists at the mediator: taken from servers, believed for their signature, passed on.

The mediator forgets them when it stops, unless it keeps them (:mod:`wavesync.mediator.keeping`); the
servers bring them again with their next registration.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from twisted.logger import Logger

from wavesync.identity.crl import read_crl
from wavesync.identity.lists import LIST_SHARE, MAX_LISTS_SIZE, Lists, ListsFull
from wavesync.identity.verify import VerificationError
from wavesync.mediator.keeping import KeptLists
from wavesync.mediator.registry import IRegistry, Registration
from wavesync.signalling.errors import SignallingError
from wavesync.signalling.messages import CrlFetch, CrlNews, CrlPiece, CrlPush, CrlPushed, Refusal
from wavesync.signalling.numbers import ErrorCode
from wavesync.signalling.revoking import NEVER, CrlAssembly, piece_of
from wavesync.stun.message import Message

__all__ = ["MAX_ASSEMBLIES", "Revoking"]

MAX_ASSEMBLIES = 64
"""Lists being pushed piece by piece at one time; for one more, the oldest has to begin anew."""


class Revoking:
    """Takes lists from servers, gives them to servers and clients, ends what was revoked.

    :param registry: who is registered.
    :param limit: bytes of all lists.
    :param kept: keeps them across restarts; ``None`` to forget them.
    :param system_of: gives the system that a live introduction is about, by its connection id;
        None when there is none.
    :param random: gives that many unpredictable bytes.
    :ivar lists: the newest of each system.
    """

    log = Logger()

    def __init__(
        self,
        registry: IRegistry,
        system_of: Callable[[str], str | None],
        random: Callable[[int], bytes],
        limit: int = MAX_LISTS_SIZE,
        kept: KeptLists | None = None,
    ) -> None:
        self.lists = Lists(limit, lambda system: bool(registry.of_system(system)), self._dropped)
        self._kept = kept
        self._registry = registry
        self._system_of = system_of
        self._random = random
        self._assemblies: OrderedDict[int, CrlAssembly] = OrderedDict()
        if kept is not None:
            self._load(kept)

    @property
    def broken(self) -> str:
        """Why lists are not kept although they should be; empty when all is well."""
        return "" if self._kept is None else self._kept.broken

    @property
    def assemblies(self) -> int:
        """How many lists are being pushed piece by piece."""
        return len(self._assemblies)

    def push(
        self, message: Message, registration: Registration, afford: Callable[[float], bool]
    ) -> bytes:
        """Return the answer to the next piece of a list from a registered server.

        :param afford: asked before a whole list is read, which is charged as so many proofs are.
        """
        system = registration.server.system
        try:
            whole = self._assemble(CrlPush.decode(message), registration)
            if whole is not None:
                if not afford(1 + len(whole) // LIST_SHARE):
                    return self._refuse(message, Refusal(ErrorCode.QUOTA_REACHED))
                self._take(whole, registration)
        except SignallingError:
            return self._refuse(message, Refusal(ErrorCode.BAD_REQUEST))
        except VerificationError as error:
            self.log.warn(
                "{server} pushes a revocation list that is none: {why}",
                server=registration.server,
                why=str(error),
            )
            return self._refuse(message, Refusal(ErrorCode.FORBIDDEN, str(error.reason)))
        except ListsFull:
            return self._refuse(message, Refusal(ErrorCode.INSUFFICIENT_CAPACITY))
        return CrlPushed(self.lists.number(system)).encode(message.transaction_id)

    def fetch(self, message: Message, system: str | None) -> bytes:
        """Return the answer to a request for a piece of a list.

        :param system: whose, as far as the sender has shown it; None for a client that has not:
            it names an introduction.
        """
        try:
            request = CrlFetch.decode(message)
        except SignallingError:
            return self._refuse(message, Refusal(ErrorCode.BAD_REQUEST))
        if system is None:
            system = self._system_of(request.connection_id)
        der = self.lists.der(system) if system is not None else b""
        known = request.number and system and self.lists.number(system) <= request.number
        if system is None or known or request.offset >= len(der):
            never = system is not None and self._never(system)
            return self._refuse(message, Refusal(ErrorCode.NOT_FOUND, NEVER if never else ""))
        piece = CrlPiece(*piece_of(self.lists.number(system), der, request.offset))
        return piece.encode(message.transaction_id)

    def news(self, system: str, number: int, room: int) -> tuple[int, bytes]:
        """What to tell a client that holds the list with that *number*.

        :param room: bytes that its answer has left for a list.
        :returns: the number of a newer list, 0 if there is none; and that list if it has room.
        """
        newest = self.lists.number(system)
        if newest <= number:
            return 0, b""
        der = self.lists.der(system)
        return newest, der if len(der) <= room else b""

    def reminder(self, registration: Registration) -> bytes:
        """What to tell a server now and then; empty while its system has no list here."""
        number = self.lists.number(registration.server.system)
        return CrlNews(number).encode(self._random(12)) if number else b""

    def registered(self, registration: Registration, number: int) -> None:
        """A server has registered.

        :param number: of the list that it holds; 0 for none.
        """
        system = registration.server.system
        if self._kept is None or self.lists.number(system):
            return
        if number:
            self._kept.there_is_one(system)
        else:
            self._kept.there_is_none(system)

    def forget(self, registration: Registration) -> None:
        """A server is not registered any more: nothing it has begun to push is kept."""
        self._assemblies.pop(registration.id, None)

    def _assemble(self, push: CrlPush, registration: Registration) -> bytes | None:
        """Add a piece; give the whole list with its last one, if it claims to be newer."""
        if push.number <= self.lists.number(registration.server.system):
            self.forget(registration)
            return None
        if push.offset == 0 and len(push.piece) == push.total:
            return push.piece
        assembly = self._assemblies.get(registration.id)
        if assembly is None:
            if len(self._assemblies) >= MAX_ASSEMBLIES:
                self._assemblies.popitem(last=False)
            assembly = self._assemblies[registration.id] = CrlAssembly()
        whole = assembly.add(push)
        if whole is not None:
            self.forget(registration)
        return whole

    def _take(self, der: bytes, registration: Registration) -> None:
        """Believe a list, or not; then end what it revokes and tell the system's other servers.

        :raises VerificationError: it is not a list of the server's system.
        :raises ListsFull: there is no room.
        """
        new = read_crl(der, registration.system_key)
        if new.number <= self.lists.number(new.system):
            return
        try:
            self.lists.add(new)
        finally:
            # Whether there was room or not, there is a list now.
            if self._kept is not None:
                self._kept.there_is_one(new.system)
        if self._kept is not None:
            self._kept.keep(new, registration.system_key)
        self.log.info(
            "revocation list {number} of system {system}: {count} certificates are revoked",
            number=new.number,
            system=new.system,
            count=len(new.revoked),
        )
        for other in self._registry.of_system(new.system):
            # First the news: who is revoked may know why.
            other.channel.send(CrlNews(new.number).encode(self._random(12)))
            if other.serial in new.revoked:
                other.channel.expel()

    def _load(self, kept: KeptLists) -> None:
        for each in kept.load():
            try:
                self.lists.add(each)
            except ListsFull:  # there was more room when it was kept
                kept.drop([each.system])

    def _never(self, system: str) -> bool:
        """Tell whether a system is known to have no list, not merely to have none here."""
        return self._kept is not None and self._kept.never(system)

    def _dropped(self, systems: Iterable[str]) -> None:
        if self._kept is not None:
            self._kept.drop(systems)

    def _refuse(self, message: Message, refusal: Refusal) -> bytes:
        return refusal.encode(message.method, message.transaction_id)
