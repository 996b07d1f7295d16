"""What a host can tell of itself: its addresses, its local networks, whether multicast passes."""

import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable

import ifaddr
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from wavesync.doctor.findings import Interface

__all__ = ["MAX_INTERFACES", "look_at_interfaces"]

MAX_INTERFACES = 16
"""Interfaces that are looked at."""

_VIRTUAL = ("docker", "br-", "veth", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "podman")
_GROUP = "239.255.33.99"
_LOOKS = (0.05, 0.15, 0.4)


async def look_at_interfaces(
    clock: IReactorTime,
    adapters: Callable[[], Iterable[ifaddr.Adapter]] = ifaddr.get_adapters,
) -> tuple[Interface, ...]:
    """Find the interfaces, and send a multicast datagram to ourselves on each that has IPv4.

    It has a TTL of 0 and does not leave the host: what is found out is whether the host itself, mostly
    a firewall on it, keeps multicast from its programs.
    """
    found: list[tuple[str, tuple[str, ...], _Multicast | None]] = []
    for adapter in adapters():
        networks = tuple(_networks(adapter))
        if not networks or adapter.nice_name.startswith(_VIRTUAL):
            continue
        own = next((each.partition("/")[0] for each in networks if ":" not in each), "")
        found.append((adapter.nice_name, networks, _Multicast(own) if own else None))
        if len(found) == MAX_INTERFACES:
            break
    try:
        for pause in _LOOKS:
            if not any(each is not None and each.looked() is False for _, _, each in found):
                break
            await deferLater(clock, pause)
        return tuple(
            Interface(
                name=name, networks=networks, multicast=None if each is None else each.looked()
            )
            for name, networks, each in found
        )
    finally:
        for _, _, each in found:
            if each is not None:
                each.close()


def _networks(adapter: ifaddr.Adapter) -> Iterable[str]:
    for ip in adapter.ips:
        text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        address = ipaddress.ip_address(text)
        if not (address.is_loopback or address.is_link_local):
            yield f"{address}/{ip.network_prefix}"


class _Multicast:
    """One datagram to ourselves."""

    def __init__(self, own: str) -> None:
        self._sockets: list[socket.socket] = []
        self._word = secrets.token_bytes(16)
        self._heard: bool | None = False
        self._begin(own)

    def looked(self) -> bool | None:
        """Whether it has come; None where it could not be sent."""
        if self._heard is False and self._sockets:
            try:
                while not self._heard:
                    self._heard = self._sockets[0].recv(64) == self._word
            except OSError:
                pass
        return self._heard

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _begin(self, own: str) -> None:
        interface = socket.inet_aton(own)
        try:
            for _ in range(2):
                self._sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            taking, sending = self._sockets
            taking.setblocking(False)
            taking.bind(("", 0))
            membership = socket.inet_aton(_GROUP) + interface
            taking.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sending.sendto(self._word, (_GROUP, taking.getsockname()[1]))
        except OSError:
            self._heard = None
