"""Addresses to listen on, as settings have them, and the sockets that are bound to them."""

import errno
import socket
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from wavesync.errors import SettingsError
from wavesync.identity.ids import parse_id
from wavesync.interfaces import Address

__all__ = [
    "ANY",
    "ANY_HOST",
    "BACKLOG",
    "Bound",
    "Listening",
    "address_text",
    "allowed_systems",
    "bind_stream",
    "bound",
    "hosts_of",
    "open_all",
    "open_streams",
    "parse_listen",
    "prepare",
]

ANY = "any"
"""The policy that lets every system use a mediator or a relay."""

ANY_HOST = "*"
"""All addresses of the host."""

BACKLOG = 65_535
"""Connections that the kernel keeps until they are accepted; it makes ``net.core.somaxconn`` of it."""

_FREE_PORT_ATTEMPTS = 20


class Bound(Protocol):
    """What has been bound.

    :ivar address: the host and the real port.
    """

    @property
    def address(self) -> Address:
        """The host and the real port."""

    def close(self) -> None:
        """Give it up."""


T = TypeVar("T")
B = TypeVar("B", bound=Bound)


def parse_listen(text: str) -> tuple[str, int]:
    """Read an address to listen on: ``192.0.2.1:3345``, ``[2001:db8::1]:3345`` or ``*:3345``.

    :returns: the host, ``*`` for all addresses, and the port, 0 for any free one.
    :raises SettingsError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    numeric = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not host or not numeric or int(port) > 65535:
        raise SettingsError(f"{text!r} is no address to listen on: write HOST:PORT or *:PORT")
    return host, int(port)


def address_text(address: Address) -> str:
    """Write an address as :func:`parse_listen` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def allowed_systems(systems: str | Collection[str]) -> frozenset[str] | None:
    """Read the policy of a settings file: :data:`ANY`, or ids of systems.

    :returns: the systems that may use it, ``None`` for any.
    :raises SettingsError: it is neither.
    """
    if isinstance(systems, str):
        if systems != ANY:
            raise SettingsError(f'systems must be "{ANY}" or a list of system ids')
        return None
    return frozenset(parse_id(system) for system in systems)


def hosts_of(host: str) -> list[str]:
    """Give the addresses to bind for *host*: for ``*`` all of IPv4, and of IPv6 where there is one."""
    if host != ANY_HOST:
        return [host]
    return ["0.0.0.0", "::"] if _has_ipv6() else ["0.0.0.0"]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bound(bind: Callable[[], T], port: int, text: str) -> T:
    """Do what *bind* does, which closes all again where it fails; for port 0 try repeatedly.

    :param text: what is bound, for the sentence.
    :raises SettingsError: it cannot be bound; the sentence says which and why.
    """
    attempts = _FREE_PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        try:
            return bind()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt + 1 == attempts:
                why = error.strerror or str(error)
                raise SettingsError(f"cannot listen on {text}: {why}") from None
    raise AssertionError("the last attempt returns or raises")


def open_all(listen: Iterable[str], bind: Callable[[str, int], B]) -> list[B]:
    """Bind every address to listen on; all or none.

    ``*`` means all IPv4 addresses and, where the host has IPv6, all of those, at the same port.

    :param bind: binds a host and a port, raising OSError.
    :raises SettingsError: one cannot be bound; the sentence says which and why.
    """
    with ExitStack() as on_failure:
        opened: list[B] = []
        for text in listen:
            host, port = parse_listen(text)
            each_host = partial(_open_hosts, hosts_of(host), port, bind)
            for each in bound(each_host, port, text):
                on_failure.callback(each.close)
                opened.append(each)
        on_failure.pop_all()
        return opened


def _open_hosts(hosts: list[str], port: int, bind: Callable[[str, int], B]) -> list[B]:
    """Bind *hosts* at the same port; for port 0, at one that is free for all."""
    with ExitStack() as on_failure:
        opened: list[B] = []
        for host in hosts:
            opened.append(bind(host, opened[0].address[1] if opened else port))
            on_failure.callback(opened[-1].close)
        on_failure.pop_all()
        return opened


@dataclass(frozen=True, slots=True)
class Listening:
    """One TCP address.

    :ivar address: the host and the real port.
    :ivar tcp: a socket that listens.
    """

    address: Address
    tcp: socket.socket

    def close(self) -> None:
        """Close it."""
        self.tcp.close()


def open_streams(listen: Iterable[str]) -> list[Listening]:
    """Listen on every address, TCP; all or none.

    :raises SettingsError: one cannot be bound; the sentence says which and why.
    """
    return open_all(listen, _listen)


def _listen(host: str, port: int) -> Listening:
    tcp = bind_stream(host, port)
    try:
        tcp.listen(BACKLOG)
    except OSError:
        tcp.close()
        raise
    return Listening((host, tcp.getsockname()[1]), tcp)


def prepare(each: socket.socket) -> None:
    """Set what all listening sockets have set before they are bound."""
    each.setblocking(False)
    if each.family == socket.AF_INET6:
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def bind_stream(host: str, port: int) -> socket.socket:
    """Bind a TCP socket; it does not listen yet.

    :raises OSError: it cannot be bound.
    """
    with ExitStack() as on_failure:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        tcp = socket.socket(family, socket.SOCK_STREAM)
        on_failure.callback(tcp.close)
        prepare(tcp)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((host, port))
        on_failure.pop_all()
        return tcp
