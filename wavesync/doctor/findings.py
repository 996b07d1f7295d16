"""What is known of the network of one end, as the other end and people are told it.

Every field may be unknown: an examination has its time, and an older peer tells less.  ``None`` and
empty are "not known", unless a field says otherwise.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from wavesync.stun.behaviour_words import Dependence, Lifetime

__all__ = [
    "EXAMINED",
    "MAX_ENTRIES",
    "MAX_FINDINGS",
    "MAX_TEXT",
    "SUMMARY",
    "VERSION",
    "Dependence",
    "Family",
    "Findings",
    "FindingsError",
    "Interface",
    "Lifetime",
    "Place",
    "ProxyFound",
    "RouterFound",
    "Trial",
    "decode_findings",
    "encode_findings",
]

VERSION = 1
"""Of this structure.  Fields may be added to a version; what is not known is left out by readers."""

MAX_FINDINGS = 1 << 17
"""Bytes of JSON that are read from a peer."""

MAX_ENTRIES = 64
"""Entries of any list or table in it."""

MAX_TEXT = 512
"""Characters of any text in it."""

EXAMINED: Final = "examined"
"""The end itself has looked, just now."""

SUMMARY: Final = "summary"
"""It comes from the short summary in what the server has signed for its mediators."""

Source: TypeAlias = Literal["examined", "summary"]


class FindingsError(Exception):
    """What a peer sent are no findings."""


class Trial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether something was reached in one way.

    :ivar works: whether it was.
    :ivar ms: milliseconds of the round trip; over TCP the connection is counted in.
    :ivar why: why not, the end of a sentence.
    """

    works: bool
    ms: float | None = None
    why: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A mediator or a relay, and the ways to it.

    :ivar name: as its URL has it: ``HOST:PORT``, or a relay's URL.
    :ivar host: its host.
    :ivar udp: over UDP, over IPv4 or IPv6, whichever was answered first.
    :ivar tcp: over TCP, as a stream.
    :ivar http: through HTTP, by one of the tunnels.
    :ivar clock_error: seconds that this host's clock is ahead of the place's; what a mediator tells of
        its clock is not signed.
    """

    name: str
    host: str
    udp: Trial | None = None
    tcp: Trial | None = None
    http: Trial | None = None
    clock_error: float | None = None

    @property
    def works(self) -> bool | None:
        """Whether it is reached in any way; None where nobody tried."""
        tried = [each.works for each in (self.udp, self.tcp, self.http) if each is not None]
        return any(tried) if tried else None


class Family(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of IPv4, or of IPv6.

    :ivar local: the address that packets leave this host from.
    :ivar mapped: the host at which others see it.
    :ivar translated: whether that is another one.
    :ivar udp: whether UDP comes back.
    :ivar big_udp: whether a datagram of 1200 bytes passes.
    :ivar tcp: whether TCP connections are made.
    :ivar mapping: of UDP, in the words of RFC 4787.
    :ivar tcp_mapping: of TCP, where it was looked at; a router nearly always does the same for both.
    :ivar filtering: of UDP.
    :ivar hairpinning: whether hosts behind the router reach each other at its outside.
    :ivar port_preserved: whether the outside port is the inside one.
    :ivar lifetime: how long an unused UDP mapping lives.
    :ivar unknown: for each field that is not known, a sentence that says why.
    """

    local: str = ""
    mapped: str = ""
    translated: bool | None = None
    udp: bool | None = None
    big_udp: bool | None = None
    tcp: bool | None = None
    mapping: Dependence | None = None
    tcp_mapping: Dependence | None = None
    filtering: Dependence | None = None
    hairpinning: bool | None = None
    port_preserved: bool | None = None
    lifetime: Lifetime | None = None
    unknown: dict[str, str] = {}

    @property
    def reached(self) -> bool:
        """Whether anything was reached over it."""
        return bool(self.udp or self.tcp)


class ProxyFound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The HTTP proxy that settings or the environment name.

    :ivar url: without user and password; empty where it is not told.
    :ivar reached: whether it can be.
    :ivar wants_password: whether it asks for one that it was not told, or does not accept it.
    :ivar why: what it answers, where it does not do what it is asked.
    """

    url: str
    reached: bool | None = None
    wants_password: bool | None = None
    why: str = ""


class RouterFound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A router that may map ports.

    :ivar router: its inside address; empty where it had to be searched.
    :ivar speaks: ``PCP``, ``NAT-PMP``, ``UPnP``: what it answers to.
    :ivar external: the address that it says it has outside.
    :ivar maps: whether it has mapped a port.
    :ivar another_nat: whether there is one more router with a translation behind it.
    :ivar why: why it has not, the end of a sentence that names the router.
    """

    router: str
    speaks: tuple[str, ...] = ()
    external: str = ""
    maps: bool | None = None
    another_nat: bool | None = None
    why: str = ""


class Interface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One interface to a local network.

    :ivar name: as the system calls it.
    :ivar networks: ``192.168.1.5/24``: this host's addresses there, with the length of the prefix.
    :ivar multicast: whether multicast comes back from it.
    """

    name: str
    networks: tuple[str, ...] = ()
    multicast: bool | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one end's network.

    :ivar version: :data:`VERSION`.
    :ivar source: ``examined`` or ``summary``.
    :ivar at: when, seconds since the epoch; 0 where nobody knows.
    :ivar took: seconds of the examination.
    :ivar network: a name of the network that two hosts behind one router have in common, and others
        most probably do not (:func:`wavesync.signalling.network.network_name`).
    :ivar ipv4: of IPv4; None where there is none, or nothing is known of it.
    :ivar ipv6: of IPv6.
    :ivar interfaces: local networks.
    :ivar discovery: whether this end is to be found on its local networks by multicast.
    :ivar routers: those that may map ports.
    :ivar forwarded: where routers, or the administrator, have ports lead to this end's agent:
        ``tcp 203.0.113.7:7001``.
    :ivar port: the agent's TCP port.
    :ivar proxy: the one that is to be used.
    :ivar portal: what a captive portal answered where nobody can; empty where none did.
    :ivar mediators: the mediators that credentials name.
    :ivar relays: the relays that this end knows.
    """

    version: int = VERSION
    source: Source = EXAMINED
    at: float = 0.0
    took: float = 0.0
    network: str = ""
    ipv4: Family | None = None
    ipv6: Family | None = None
    interfaces: tuple[Interface, ...] = ()
    discovery: bool | None = None
    routers: tuple[RouterFound, ...] = ()
    forwarded: tuple[str, ...] = ()
    port: int | None = None
    proxy: ProxyFound | None = None
    portal: str = ""
    mediators: tuple[Place, ...] = ()
    relays: tuple[Place, ...] = ()

    @property
    def clock_error(self) -> float | None:
        """Seconds that this host's clock is ahead, as most mediators say; None where none does."""
        told = sorted(each.clock_error for each in self.mediators if each.clock_error is not None)
        return told[len(told) // 2] if told else None


def encode_findings(findings: Findings) -> bytes:
    """Give findings as one line of JSON, without its end."""
    return msgspec.json.encode(findings)


def decode_findings(data: bytes) -> Findings:
    """Read what a peer has sent.

    :raises FindingsError: it is too long, or no findings of a version that is known.
    """
    if len(data) > MAX_FINDINGS:
        raise FindingsError("it is too long")
    try:
        plain = msgspec.json.decode(data)
        _check(plain, 0)
        findings = msgspec.convert(plain, Findings)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FindingsError(str(error)) from None
    if findings.version != VERSION:
        raise FindingsError(f"version {findings.version} is not known")
    return findings


def _check(value: object, depth: int) -> None:
    """Refuse what is larger than findings are."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not all(each.isprintable() for each in value):
            raise FindingsError("a text is too long, or no text")
    elif isinstance(value, list | dict):
        if len(value) > MAX_ENTRIES or depth > 6:
            raise FindingsError("it has too many entries")
        for each in value.values() if isinstance(value, dict) else value:
            _check(each, depth + 1)
