"""Where UDT is measured: loopback, through a router that masquerades, over a slow and lossy link.

All but loopback are network namespaces, which need root.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs import Broken
from tests.lab.commands import LabError, unavailable
from tests.lab.links import DelayedLink, connect
from tests.lab.namespaces import Namespace, new_prefix

__all__ = ["LOOPBACK", "Place", "lossy", "masqueraded"]

_Command = Callable[[Sequence[str]], list[str]]

_INSIDE, _ROUTER_INSIDE = "10.9.0.2", "10.9.0.1"
_OUTSIDE, _ROUTER_OUTSIDE = "198.51.100.2", "198.51.100.1"
_NFT = """
table ip nat {
    chain outgoing {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan" masquerade
    }
}
"""
_BURST_SECONDS = 0.002
_MIN_BURST = 6000


@dataclass(frozen=True, slots=True)
class Place:
    """Two machines, or what stands for them.

    :ivar host: the address at which the receiving side listens.
    :ivar near: gives the command line that runs a command on the sending side.
    :ivar far: the same for the receiving side.
    """

    host: str
    near: _Command
    far: _Command


LOOPBACK = Place("127.0.0.1", list, list)
"""Both on this machine."""


class _Machines:
    """The namespaces of one place; removed at the end."""

    def __init__(self) -> None:
        self._prefix = new_prefix()
        self._made: list[Namespace] = []

    def make(self, role: str) -> Namespace:
        """Make one."""
        namespace = Namespace(f"{self._prefix}-{role}")
        self._made.append(namespace)
        return namespace

    def close(self) -> None:
        """Remove all, and every process in them."""
        for namespace in self._made:
            namespace.delete()


@contextlib.contextmanager
def _machines() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """Make a sender, a router and a receiver without links."""
    reason = unavailable()
    if reason is not None:
        raise Broken(reason)
    machines = _Machines()
    try:
        yield machines.make("near"), machines.make("router"), machines.make("far")
    except LabError as error:
        raise Broken(str(error)) from error
    finally:
        machines.close()


def _address(near: Namespace, router: Namespace, far: Namespace) -> Place:
    near.ip(f"addr add {_INSIDE}/24 dev eth0", f"route add default via {_ROUTER_INSIDE}")
    router.ip(f"addr add {_ROUTER_INSIDE}/24 dev lan", f"addr add {_ROUTER_OUTSIDE}/24 dev wan")
    router.sysctl({"net.ipv4.ip_forward": 1})
    far.ip(f"addr add {_OUTSIDE}/24 dev eth0", f"route add default via {_ROUTER_OUTSIDE}")
    return Place(_OUTSIDE, near.command, far.command)


def _veth(left: Namespace, left_device: str, right: Namespace, right_device: str) -> None:
    """Join two namespaces by a pair that carries bundles of packets as one, as loopback does."""
    left.ip(
        f"link add {left_device} type veth peer name {right_device} netns {right.name}",
        f"link set {left_device} up",
    )
    right.ip(f"link set {right_device} up")


@contextlib.contextmanager
def masqueraded(*, wire_like: bool = False) -> Iterator[Place]:
    """Put the sender behind a router that masquerades by nftables.

    :param wire_like: let the kernel cut bundles into packets where the sender's leave, as for a
        network card without UDP segmentation, and let nobody put packets together again.
    """
    with _machines() as (near, router, far):
        _veth(near, "eth0", router, "lan")
        _veth(router, "wan", far, "eth0")
        place = _address(near, router, far)
        router.nft(_NFT)
        if wire_like:
            devices = [(near, "eth0"), (router, "lan"), (router, "wan"), (far, "eth0")]
            for namespace, device in devices:
                namespace.run(["ethtool", "-K", device, "gro", "off"])
            for namespace, device in ((near, "eth0"), (far, "eth0")):
                namespace.run(["ethtool", "-K", device, "tx-udp-segmentation", "off"])
        yield place


@contextlib.contextmanager
def lossy(*, rate: float, round_trip: float, loss: float, queue: float = 1.0) -> Iterator[Place]:
    """Put a slow line between the two: packets keep their size on all of it.

    :param rate: Mbit/s of IP packets, from the sender to the receiver.
    :param round_trip: seconds, on the idle line.
    :param loss: probability of each packet, in each direction.
    :param queue: bandwidth-delay products before the line.
    """
    with _machines() as (near, router, far), tempfile.TemporaryDirectory() as directory:
        connect(near, "eth0", router, "lan")
        link = DelayedLink(
            *(router, "wan", far, "eth0"),
            delay=round_trip / 2,
            loss=loss,
            log=Path(directory) / "link.log",
        )
        try:
            place = _address(near, router, far)
            bytes_a_second = rate * 1e6 / 8
            burst = max(_MIN_BURST, round(bytes_a_second * _BURST_SECONDS))
            limit = round(queue * bytes_a_second * round_trip)
            router.run(
                f"tc qdisc replace dev wan root tbf rate {rate}mbit burst {burst} limit {limit}".split()
            )
            yield place
        finally:
            link.close()
