"""The sockets a mediator listens on: UDP and TCP at the same port, each family by itself."""

import errno
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from wavesync.errors import SettingsError
from wavesync.interfaces import Address
from wavesync.mediator.settings import ANY_HOST, MediatorSettings, parse_listen
from wavesync.stun.alternate import AddressPair

__all__ = ["Listening", "PairListening", "open_listening", "open_pairs"]

T = TypeVar("T")

_BACKLOG = 512
_RECEIVE_BUFFER = 1 << 20
_FREE_PORT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Listening:
    """One address, bound for UDP and TCP.

    :ivar address: the host and the real port.
    """

    address: Address
    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        """Close both sockets."""
        self.udp.close()
        self.tcp.close()


@dataclass(frozen=True, slots=True)
class PairListening:
    """What makes a mediator with one address one with two (RFC 5780), bound for UDP.

    :ivar pair: the two addresses, with real ports.
    :ivar udp: the three sockets besides the first address's own.
    """

    pair: AddressPair
    udp: dict[Address, socket.socket]

    def close(self) -> None:
        """Close the three sockets."""
        for each in self.udp.values():
            each.close()


def open_listening(listen: Iterable[str]) -> list[Listening]:
    """Bind every address to listen on; all or none.

    ``*`` means all IPv4 addresses and, where the host has IPv6, all of those.

    :raises SettingsError: one cannot be bound; the sentence says which and why.
    """
    with ExitStack() as on_failure:
        opened: list[Listening] = []
        for text in listen:
            host, port = parse_listen(text)
            for each in _open(_hosts(host), port, text):
                on_failure.callback(each.close)
                opened.append(each)
        on_failure.pop_all()
        return opened


def open_pairs(settings: MediatorSettings, opened: Iterable[Listening]) -> list[PairListening]:
    """Bind what each second address takes; all or none.

    :param opened: what :func:`open_listening` gave for ``settings.listen``.
    :raises SettingsError: one cannot be bound.
    """
    primaries = {each.address[0]: each.address for each in opened}
    with ExitStack() as on_failure:
        pairs: list[PairListening] = []
        for text in settings.alternate:
            listen = settings.paired(text)
            assert listen is not None, "settings are checked"
            pairs.append(_open_pair(primaries[parse_listen(listen)[0]], text))
            on_failure.callback(pairs[-1].close)
        on_failure.pop_all()
        return pairs


def _open_pair(primary: Address, text: str) -> PairListening:
    host, port = parse_listen(text)

    def bind() -> PairListening:
        with ExitStack() as on_failure:
            sockets: dict[Address, socket.socket] = {}
            at = port
            for each in (host, primary[0]):
                bound = _bind_udp(each, at)
                on_failure.callback(bound.close)
                at = bound.getsockname()[1]
                sockets[each, at] = bound
            pair = AddressPair(primary, (host, at))
            sockets[host, primary[1]] = bound = _bind_udp(host, primary[1])
            on_failure.callback(bound.close)
            on_failure.pop_all()
            return PairListening(pair, sockets)

    return _bound(bind, port, text)


def _hosts(host: str) -> list[str]:
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


def _open(hosts: list[str], port: int, text: str) -> list[Listening]:
    """Bind *hosts* at the same port; for port 0, at one that is free for all."""

    def bind() -> list[Listening]:
        with ExitStack() as on_failure:
            opened: list[Listening] = []
            for host in hosts:
                opened.append(_bind(host, opened[0].address[1] if opened else port))
                on_failure.callback(opened[-1].close)
            on_failure.pop_all()
            return opened

    return _bound(bind, port, text)


def _bound(bind: Callable[[], T], port: int, text: str) -> T:
    """Do what *bind* does, which closes all again where it fails; for port 0 try repeatedly."""
    attempts = _FREE_PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        try:
            return bind()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt + 1 == attempts:
                why = error.strerror or str(error)
                raise SettingsError(f"cannot listen on {text}: {why}") from None
    raise AssertionError("the last attempt returns or raises")


def _bind(host: str, port: int) -> Listening:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as on_failure:
        tcp = socket.socket(family, socket.SOCK_STREAM)
        on_failure.callback(tcp.close)
        _prepare(tcp)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((host, port))
        udp = _bind_udp(host, tcp.getsockname()[1])
        on_failure.callback(udp.close)
        tcp.listen(_BACKLOG)
        on_failure.pop_all()
        return Listening((host, tcp.getsockname()[1]), udp, tcp)


def _bind_udp(host: str, port: int) -> socket.socket:
    with ExitStack() as on_failure:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        on_failure.callback(udp.close)
        _prepare(udp)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        udp.bind((host, port))
        on_failure.pop_all()
        return udp


def _prepare(each: socket.socket) -> None:
    each.setblocking(False)
    if each.family == socket.AF_INET6:
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
