"""A router: a namespace with the interfaces ``wan`` and ``lan``, and the rules of its kind."""

from __future__ import annotations

from pathlib import Path

from tests.lab.commands import LabError
from tests.lab.kinds import Kind
from tests.lab.links import DelayedLink, connect
from tests.lab.namespaces import Namespace
from tests.lab.rules import FORGET, MUTE_TOO_BIG, ruleset

__all__ = ["STANDARD_MTU", "Router"]

STANDARD_MTU = 1500

_DOWN = """
table inet down {
    chain prerouting { type filter hook prerouting priority raw; policy drop; }
}
"""


class Router:
    """
    A router.

    :ivar namespace: where it lives.
    :ivar kind: what it does to packets.
    :ivar wan: its outside IPv4 address, once connected.
    :ivar link: its link upstream, when that has delay or loss.
    """

    def __init__(
        self, namespace: Namespace, kind: Kind, *, mapping_timeout: int, hairpin: bool
    ) -> None:
        """
        Set it up, with nothing connected.

        :param namespace: a fresh one.
        :param kind: what it shall be.
        :param mapping_timeout: seconds that an unused mapping lives.
        :param hairpin: whether its hosts reach each other at its outside address.
        """
        self.namespace = namespace
        self.kind = kind
        self.wan = ""
        self.link: DelayedLink | None = None
        self._gateway = ""
        self._timeout = mapping_timeout
        self._hairpin = hairpin
        namespace.ip("link add lan type bridge", "link set lan up")
        if Path("/proc/sys/net/bridge").exists():
            # Rules are for what is routed: else a host's packet to itself would be bridged, not turned.
            namespace.sysctl({"net.bridge.bridge-nf-call-iptables": 0})
        namespace.sysctl(
            {
                "net.ipv4.ip_forward": 1,
                "net.ipv4.conf.all.send_redirects": 0,
                "net.netfilter.nf_conntrack_udp_timeout": mapping_timeout,
                "net.netfilter.nf_conntrack_udp_timeout_stream": mapping_timeout,
            }
        )

    def connect(
        self,
        upstream: Namespace,
        device: str,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        jitter: float = 0.0,
        mtu: int = STANDARD_MTU,
        log: Path,
    ) -> None:
        """
        Link ``wan`` to what is upstream.

        :param upstream: the core's namespace, or that of an ISP's router.
        :param device: name of the interface there.
        :param delay: one way, in seconds.
        :param loss: probability of losing a packet, in each direction.
        :param jitter: up to this much more delay, random for each packet, in seconds.
        :param mtu: octets of the largest packet that the link carries.
        :param log: file for the output of the program that delays.
        """
        if delay or loss or jitter:
            self.link = DelayedLink(
                *(self.namespace, "wan", upstream, device),
                delay=delay,
                loss=loss,
                jitter=jitter,
                log=log,
            )
        else:
            connect(self.namespace, "wan", upstream, device)
        if mtu != STANDARD_MTU:
            self.namespace.ip(f"link set wan mtu {mtu}")
            upstream.ip(f"link set {device} mtu {mtu}")

    def number(self, address: str, gateway: str) -> None:
        """
        Take an outside address, instead of the one before, and start with fresh rules.

        :param address: an IPv4 address in the same /16 as the gateway.
        :param gateway: what is upstream.
        """
        if self.wan:
            self.namespace.ip(f"addr del {self.wan}/16 dev wan")
        self.wan, self._gateway = address, gateway
        self.namespace.ip(f"addr add {address}/16 dev wan", f"route add default via {gateway}")
        self.reboot()

    def renumber(self, address: str) -> None:
        """
        Have another outside address from now on; every mapping is gone.

        :raises LabError: when its hosts would have to be renumbered, too.
        """
        if not self.kind.translates:
            raise LabError(f"a site of kind {self.kind.name} cannot be renumbered")
        self.number(address, self._gateway)

    def reboot(self) -> None:
        """Forget every mapping, connection and port; nothing passes meanwhile."""
        # A packet between new rules and forgotten flows would bring its old mapping along.
        self.namespace.nft(
            FORGET
            + ruleset(self.kind, self.wan, mapping_timeout=self._timeout, hairpin=self._hairpin)
            + _DOWN
        )
        self.namespace.run(["conntrack", "-F"])
        self.namespace.nft("delete table inet down")

    def mute_too_big(self) -> None:
        """Tell no sender that its packets are too big, as bad firewalls do."""
        self.namespace.nft(MUTE_TOO_BIG)

    def close(self) -> None:
        """End its link upstream."""
        if self.link is not None:
            self.link.close()
