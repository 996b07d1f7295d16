"""A router in memory that maps ports by PCP, NAT-PMP and UPnP, written from the RFCs and not with our codecs."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wavesync.interfaces import Address
from wavesync.portmap.asking import Asker
from wavesync.portmap.fetching import Page
from wavesync.portmap.gateways import Gateway
from wavesync.portmap.natpmp_method import NATPMP
from wavesync.portmap.pcp_method import PCP
from wavesync.portmap.sockets import Datagrams, Received
from wavesync.portmap.upnp_method import OpenSearch, UPnP
from wavesync.portmap.words import Method, PortMapError, Reason

GATEWAY = Gateway("eth0", "192.168.1.1", "192.168.1.5", "192.168.1.0/24")
GATEWAY6 = Gateway("eth0", "fe80::1", "2600::5", "2600::/64")
EXTERNAL = "44.2.0.2"

_IGD = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
_WAN = "urn:schemas-upnp-org:service:WANIPConnection:1"
_DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>{_IGD}</deviceType><deviceList>
<device><serviceList><service><serviceType>{_WAN}</serviceType><controlURL>/ctl</controlURL></service>
</serviceList></device></deviceList></device></root>"""


class _Link:
    """A socket of the host."""

    def __init__(self, take: Callable[[bytes, Address | None], None]) -> None:
        self.closed = False
        self._take = take

    def send(self, data: bytes, destination: Address | None = None) -> None:
        if not self.closed:
            self._take(data, destination)

    def close(self) -> None:
        self.closed = True


class Router:
    """A router.

    :ivar speaks: of ``PCP``, ``NAT-PMP``, ``UPnP``; what it does not speak it is silent about.
    :ivar refuses: to whatever else; a code of each protocol, 0 for none.
    :ivar external: its address outside.
    :ivar mappings: (protocol number, outside port) to (host, port).
    :ivar taken: outside ports that somebody else has.
    :ivar born: when it was started.
    :ivar permanent: it knows no leases (UPnP).
    :ivar requests: what it was asked, in short.
    :ivar spoil: changes each answer on its way.
    :ivar mute: what it answers over UDP gets lost.
    """

    def __init__(
        self, clock: Clock, *speaks: str, own: str = GATEWAY.own, external: str = EXTERNAL
    ) -> None:
        self.clock = clock
        self.speaks = set(speaks)
        self.refuses = 0
        self.external = external
        self.mappings: dict[tuple[int, int], tuple[str, int]] = {}
        self.taken: set[int] = set()
        self.born = clock.seconds() - 1000.0
        self.permanent = False
        self.lifetime = 7200
        self.requests: list[str] = []
        self.links: list[_Link] = []
        self.web_port = 5000
        self.spoil: Callable[[bytes], bytes] = bytes
        self.refused_link = False
        self.mute = False
        self.own = own

    def reboot(self) -> None:
        """Forget everything."""
        self.born = self.clock.seconds()
        self.mappings.clear()

    def methods(self, gateway: Gateway = GATEWAY) -> list[Method]:
        """The ways to speak with it: all three, the best first."""
        return [self.pcp(), self.natpmp(), self.upnp(gateway)]

    def pcp(self, own: str | None = None) -> PCP:
        """Our PCP towards it."""
        return PCP(self._asker(), self.clock, own or self.own, lambda size: b"n" * size)

    def natpmp(self) -> NATPMP:
        """Our NAT-PMP towards it."""
        return NATPMP(self._asker(), self.clock)

    def upnp(self, gateway: Gateway = GATEWAY, open_search: OpenSearch | None = None) -> UPnP:
        """Our UPnP towards it."""
        search = open_search or self.open_search
        return UPnP(self.clock, gateway, search, self.fetch, lambda: 0.5)

    def _asker(self) -> Asker:
        return Asker(self.clock, self.open_link, "the router")

    @property
    def open(self) -> int:
        """Sockets that the host has open."""
        return sum(not link.closed for link in self.links)

    def epoch(self) -> int:
        """Seconds since its start."""
        return int(self.clock.seconds() - self.born)

    def open_link(self, received: Received, refused: Callable[[], None]) -> Datagrams:
        """Give the host a socket to port 5351."""

        def take(data: bytes, destination: Address | None) -> None:
            if self.refused_link:
                refused()
                return
            answer = self._answer(data)
            if answer is not None and not link.closed and not self.mute:
                received(self.spoil(answer), (GATEWAY.router, 5351))

        link = _Link(take)
        self.links.append(link)
        return link

    def _answer(self, data: bytes) -> bytes | None:
        if data[0] == 0 and "NAT-PMP" in self.speaks:
            return self._natpmp(data)
        if data[0] == 2 and "PCP" in self.speaks:
            return self._pcp(data)
        return None

    def _natpmp(self, data: bytes) -> bytes:
        opcode = data[1]
        head = struct.pack("!BBHI", 0, 128 + opcode, self.refuses, self.epoch())
        if opcode == 0:
            self.requests.append("natpmp address")
            return head + socket.inet_aton(self.external)
        _, _, _, internal, suggested, lifetime = struct.unpack("!BBHHHI", data)
        self.requests.append(f"natpmp map {lifetime}")
        if self.refuses:
            return head + data[4:8] + bytes(4)
        external = self._map({1: 17, 2: 6}[opcode], internal, suggested, lifetime)
        return head + struct.pack("!HHI", internal, external, lifetime and self.lifetime)

    def _pcp(self, data: bytes) -> bytes:
        opcode, lifetime = data[1], struct.unpack_from("!I", data, 4)[0]
        head = struct.pack(
            "!BBBBII12x", 2, 0x80 | opcode, 0, self.refuses, self.lifetime, self.epoch()
        )
        if opcode == 0:
            self.requests.append("pcp announce")
            return head
        self.requests.append(f"pcp map {lifetime}")
        nonce, protocol = data[24:36], data[36]
        internal, suggested = struct.unpack_from("!HH", data, 40)
        external = self._map(protocol, internal, suggested, lifetime) if not self.refuses else 0
        if ":" in self.external:
            packed = socket.inet_pton(socket.AF_INET6, self.external)
        else:
            packed = bytes(10) + b"\xff\xff" + socket.inet_aton(self.external)
        return head + nonce + data[36:40] + struct.pack("!HH", internal, external) + packed

    def _map(self, protocol: int, internal: int, suggested: int, lifetime: int) -> int:
        ours = [
            key
            for key, value in self.mappings.items()
            if key[0] == protocol and value == (self.own, internal)
        ]
        if not lifetime:
            for key in ours:
                del self.mappings[key]
            return 0
        if ours:
            return ours[0][1]
        external = suggested if suggested not in self.taken else suggested + 1
        self.mappings[protocol, external] = (self.own, internal)
        return external

    def open_search(self, received: Received) -> Datagrams:
        """Give the host a socket for searches."""

        def take(data: bytes, destination: Address | None) -> None:
            self.requests.append(f"search {destination}")
            target = re.search(rb"\r\nST: (.*)\r\n", data)
            if "UPnP" in self.speaks and target is not None and target[1].decode() == _IGD:
                answer = (
                    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n"
                    f"ST: {_IGD}\r\nUSN: uuid:1::{_IGD}\r\nEXT:\r\nSERVER: a/1 UPnP/1.1 b/2\r\n"
                    f"LOCATION: http://{GATEWAY.router}:{self.web_port}/desc.xml\r\n\r\n"
                )
                received(self.spoil(answer.encode()), (GATEWAY.router, 1900))

        link = _Link(take)
        self.links.append(link)
        return link

    def fetch(
        self, url: str, headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> Deferred[Page]:
        """Answer an HTTP request."""
        if "UPnP" not in self.speaks or f":{self.web_port}/" not in url:
            return fail(PortMapError(Reason.NO_ANSWER, "its web server cannot be reached"))
        if body is None:
            return succeed(Page(200, self.spoil(_DESCRIPTION.encode())))
        name = headers["SOAPAction"].strip('"').partition("#")[2]
        text = body.decode()
        fields = dict(re.findall(r"<(New\w+)>([^<]*)</", text))
        self.requests.append(f"upnp {name}")
        code, out = self._act(name, fields)
        inner = "".join(f"<{key}>{value}</{key}>" for key, value in out.items())
        inner = f'<u:{name}Response xmlns:u="{_WAN}">{inner}</u:{name}Response>'
        if code:
            inner = (
                "<s:Fault><detail><UPnPError xmlns='urn:schemas-upnp-org:control-1-0'>"
                f"<errorCode>{code}</errorCode></UPnPError></detail></s:Fault>"
            )
        envelope = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
            f"<s:Body>{inner}</s:Body></s:Envelope>"
        )
        return succeed(Page(500 if code else 200, self.spoil(envelope.encode())))

    def _act(self, name: str, fields: dict[str, str]) -> tuple[int, dict[str, str]]:
        if name == "GetExternalIPAddress":
            return 0, {"NewExternalIPAddress": self.external}
        port = int(fields["NewExternalPort"])
        key = {"TCP": 6, "UDP": 17}[fields["NewProtocol"]], port
        if name == "AddPortMapping":
            if self.refuses:
                return self.refuses, {}
            if port in self.taken:
                return 718, {}
            if self.permanent and fields["NewLeaseDuration"] != "0":
                return 725, {}
            self.mappings[key] = fields["NewInternalClient"], int(fields["NewInternalPort"])
            return 0, {}
        if key not in self.mappings:
            return 714, {}
        if name == "DeletePortMapping":
            del self.mappings[key]
            return 0, {}
        host, internal = self.mappings[key]
        return 0, {
            "NewInternalPort": str(internal),
            "NewInternalClient": host,
            "NewEnabled": "1",
            "NewPortMappingDescription": "",
            "NewLeaseDuration": "3600",
        }
