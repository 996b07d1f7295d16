"""What a server tells of its network in ``bind``: a few bytes, signed, for whoever cannot reach it.

Version 1 is ten bytes; later versions append, and readers take what they know (docs/mediator).
"""

from dataclasses import dataclass, fields
from struct import Struct

from wavesync.stun.behaviour_words import Dependence

__all__ = ["MAX_SUMMARY", "ROUTERS", "NetworkSummary"]

MAX_SUMMARY = 64
"""Bytes of the longest summary that is read."""

ROUTERS = ("", "none", "PCP", "NAT-PMP", "UPnP")
"""What a router in front of the server speaks to map ports: not known, nothing, or one of these."""

_FORM = Struct("!BBBHBHH")
_VERSION = 1
_LONGEST = 0xFFFF
_DEPENDENCES = (
    None,
    Dependence.ENDPOINT_INDEPENDENT,
    Dependence.ADDRESS_DEPENDENT,
    Dependence.ADDRESS_AND_PORT_DEPENDENT,
)
_FLAGS = ("translated", "udp", "ipv6", "proxy", "lan", "hairpinning", "forwarded")


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One server's network; None and "" are "not known".

    :ivar mapping: of UDP, in the words of RFC 4787.
    :ivar filtering: of UDP.
    :ivar lifetime: whole seconds for which an unused mapping lives at least; 0 where it is not known.
    :ivar router: what the router speaks, one of :data:`ROUTERS`.
    :ivar translated: whether the server's packets get another address on their way.
    :ivar udp: whether UDP comes back.
    :ivar ipv6: whether the host has IPv6 addresses that others could reach.
    :ivar proxy: whether mediators are reached through an HTTP proxy only.
    :ivar lan: whether the server answers to searches on its local networks.
    :ivar hairpinning: whether hosts behind its router reach each other at its outside.
    :ivar forwarded: whether a router has ports lead to the server.
    """

    mapping: Dependence | None = None
    filtering: Dependence | None = None
    lifetime: int = 0
    router: str = ""
    translated: bool | None = None
    udp: bool | None = None
    ipv6: bool | None = None
    proxy: bool | None = None
    lan: bool | None = None
    hairpinning: bool | None = None
    forwarded: bool | None = None

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self != NetworkSummary()

    def words(self) -> dict[str, object]:
        """What is known, for reports."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.value if isinstance(value, Dependence) else value
            for name, value in values.items()
            if value not in (None, "", 0) or value is False
        }

    def encode(self) -> bytes:
        """Return the value of the attribute.

        :raises ValueError: the router speaks what there is no number for.
        """
        known = value = 0
        for bit, name in enumerate(_FLAGS):
            flag = getattr(self, name)
            known |= (flag is not None) << bit
            value |= bool(flag) << bit
        return _FORM.pack(
            _VERSION,
            _DEPENDENCES.index(self.mapping),
            _DEPENDENCES.index(self.filtering),
            min(max(self.lifetime, 0), _LONGEST),
            ROUTERS.index(self.router),
            known,
            value,
        )

    @classmethod
    def decode(cls, data: bytes | None) -> "NetworkSummary | None":
        """Read the value of the attribute.

        :returns: what can be understood; None where nothing can: a summary helps people, and nothing
            else depends on it.
        """
        if data is None or not _FORM.size <= len(data) <= MAX_SUMMARY or data[0] < _VERSION:
            return None
        _, mapping, filtering, lifetime, router, known, value = _FORM.unpack_from(data)
        flags = {
            name: bool(value >> bit & 1) if known >> bit & 1 else None
            for bit, name in enumerate(_FLAGS)
        }
        return cls(
            _DEPENDENCES[mapping] if mapping < len(_DEPENDENCES) else None,
            _DEPENDENCES[filtering] if filtering < len(_DEPENDENCES) else None,
            lifetime,
            ROUTERS[router] if router < len(ROUTERS) else "",
            **flags,
        )
