"""Sockets on loopback for the tests of :mod:`wavesync.tcp`."""

import os
import socket

from twisted.internet.protocol import Factory, Protocol

from wavesync.interfaces import Address
from wavesync.tcp.sockets import shared_socket

__all__ = ["Talker", "Talkers", "descriptors", "free_port"]


def free_port(host: str = "127.0.0.1") -> Address:
    """Find an address that nobody uses."""
    with shared_socket((host, 0)) as made:
        return (host, made.getsockname()[1])


def descriptors() -> int:
    """Count this process' TCP sockets, by their descriptors."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            is_socket = os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue  # the one that listed the directory
        if is_socket:
            with socket.socket(fileno=os.dup(int(name))) as made:
                protocol = made.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
            count += protocol == socket.IPPROTO_TCP
    return count


def has_ipv6() -> bool:
    """Tell whether loopback has IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Talker(Protocol):
    """Says its name at once, keeps what it hears."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.heard = b""

    def connectionMade(self) -> None:
        """Say it (IProtocol)."""
        assert self.transport is not None
        self.transport.write(self.words)

    def dataReceived(self, data: bytes) -> None:
        """Keep it (IProtocol)."""
        self.heard += data


class Talkers(Factory):
    """Makes talkers.

    :ivar made: all of them.
    """

    noisy = False

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.made: list[Talker] = []

    def buildProtocol(self, addr: object) -> Talker:
        """Make one more."""
        self.made.append(Talker(self.words))
        return self.made[-1]
