"""The sockets a mediator listens on: UDP and TCP at the same port, each family by itself."""

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from wavesync.interfaces import Address
from wavesync.mediator.settings import MediatorSettings
from wavesync.signalling.listening import (
    BACKLOG,
    bind_stream,
    bound,
    open_all,
    parse_listen,
    prepare,
)
from wavesync.stun.alternate import AddressPair

__all__ = ["Listening", "PairListening", "open_listening", "open_pairs"]

_RECEIVE_BUFFER = 1 << 20


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

    :raises SettingsError: one cannot be bound; the sentence says which and why.
    """
    return open_all(listen, _bind)


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
                udp = _bind_udp(each, at)
                on_failure.callback(udp.close)
                at = udp.getsockname()[1]
                sockets[each, at] = udp
            pair = AddressPair(primary, (host, at))
            sockets[host, primary[1]] = udp = _bind_udp(host, primary[1])
            on_failure.callback(udp.close)
            on_failure.pop_all()
            return PairListening(pair, sockets)

    return bound(bind, port, text)


def _bind(host: str, port: int) -> Listening:
    with ExitStack() as on_failure:
        tcp = bind_stream(host, port)
        on_failure.callback(tcp.close)
        udp = _bind_udp(host, tcp.getsockname()[1])
        on_failure.callback(udp.close)
        tcp.listen(BACKLOG)
        on_failure.pop_all()
        return Listening((host, tcp.getsockname()[1]), udp, tcp)


def _bind_udp(host: str, port: int) -> socket.socket:
    with ExitStack() as on_failure:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        on_failure.callback(udp.close)
        prepare(udp)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        udp.bind((host, port))
        on_failure.pop_all()
        return udp
