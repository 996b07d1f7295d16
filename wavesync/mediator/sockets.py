"""The sockets a mediator listens on: UDP and TCP at the same port, each family by itself."""

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from wavesync.errors import SettingsError
from wavesync.interfaces import Address
from wavesync.mediator.settings import parse_listen

__all__ = ["Listening", "open_listening"]

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


def _hosts(host: str) -> list[str]:
    if host != "*":
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
    attempts = _FREE_PORT_ATTEMPTS if port == 0 else 1
    for attempt in range(attempts):
        opened: list[Listening] = []
        try:
            for host in hosts:
                at = opened[0].address[1] if opened else port
                opened.append(_bind(host, at))
        except OSError as error:
            for each in opened:
                each.close()
            if error.errno != errno.EADDRINUSE or attempt + 1 == attempts:
                why = error.strerror or str(error)
                raise SettingsError(f"cannot listen on {text}: {why}") from None
        else:
            return opened
    raise AssertionError("the last attempt returns or raises")


def _bind(host: str, port: int) -> Listening:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as on_failure:
        tcp = socket.socket(family, socket.SOCK_STREAM)
        on_failure.callback(tcp.close)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        on_failure.callback(udp.close)
        for each in (tcp, udp):
            each.setblocking(False)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        tcp.bind((host, port))
        udp.bind((host, tcp.getsockname()[1]))
        tcp.listen(_BACKLOG)
        on_failure.pop_all()
        return Listening((host, tcp.getsockname()[1]), udp, tcp)
