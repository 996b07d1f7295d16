"""What every pair of sites must give, before anybody has measured the product.

The table follows what a bare punching script does between the same kinds of NAT, with answers to
whatever source the other side is observed at, and without port prediction:

* filtering that does not look at ports, on either side, is enough: *direct by UDP*;
* two mappings that do not depend on the remote are enough as well;
* by TCP, whose filtering is by address and port wherever there is any, two such mappings are enough
  when both sides dial each other; an open site on either side is enough as well;
* where neither helps (a mapping by remote against filtering by port, or UDP blocked besides), the
  client must be told so within `ERROR_LIMIT` seconds.

On one network they find each other by multicast, whatever its router does, and whatever a mediator.

Where both would do, UDP is faster, but TCP joins after a quarter of a second, and may win on a busy
host.  Routers that refuse what comes too early (``linux-reject``, ``linux-accept``) refuse SYNs with
a RST: both sides then dial again at once, which meets within a few attempts, or within ten where the
way is shorter than about a millisecond.  With the 20 ms of the whole run all such cells were direct in 6 of 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.kinds import KINDS, Filtering, Mapping
from tests.lab.sites import SiteSettings

__all__ = [
    "BY_REMOTE",
    "ERROR_LIMIT",
    "RELAY_LIMIT",
    "SCENES",
    "TIMELY",
    "TRUTH",
    "Scene",
    "expected",
    "heard_late",
    "with_relay",
]

#: Seconds within which a client is told that there is no way.
ERROR_LIMIT = 3.0

#: Round trips between client and server that a connect by a relay may take, where nothing else works.
RELAY_LIMIT = 3.5

#: The kind that takes packets nobody asked for as its own: who sends first decides, and 57 of 60 have to
#: be direct.
TIMELY = "linux-accept"

#: Mappings that give each remote a port of its own.
BY_REMOTE = (Mapping.ADDRESS_DEPENDENT, Mapping.RANDOM, Mapping.SEQUENTIAL)

#: Rows are clients, columns are servers, both in the order of the rows.  ``u``: direct by UDP;
#: ``t``: direct by TCP; ``b``: direct by both, either may win; ``-``: no direct way, an error.
_TABLE = """
none                 b b b b b b b b b b b b t b b
firewall             b b b b b b b b - - - u t b -
full                 b b b b b b b b u u u u t b u
restricted           b b b b b b b b u u u u t b u
port                 b b b b b b b b - - - u t b -
linux                b b b b b b b b - - - u t b -
linux-reject         b b b b b b b b - - - u t b -
linux-accept         b b b b b b b b - - - u t b -
symmetric-address    b - u u - - - - - - - u - - -
symmetric-sequential b - u u - - - - - - - u - - -
symmetric            b - u u - - - - - - - u - - -
symmetric-open       b u u u u u u u u u u u - u u
no-udp               t t t t t t t t - - - - t t -
cgnat                b b b b b b b b - - - u t b -
cgnat-symmetric      b - u u - - - - - - - u - - -
"""

_LETTERS = {
    "u": frozenset({"udp"}),
    "t": frozenset({"tcp"}),
    "b": frozenset({"udp", "tcp"}),
    "-": frozenset({"error"}),
}


def _parse(table: str) -> dict[tuple[str, str], frozenset[str]]:
    rows = [line.split() for line in table.strip().splitlines()]
    names = [row[0] for row in rows]
    return {
        (row[0], server): _LETTERS[letter]
        for row in rows
        for server, letter in zip(names, row[1:], strict=True)
    }


#: By (client's kind, server's kind): the paths that may win, or ``error`` alone.
TRUTH = _parse(_TABLE)


def expected(client: str, server: str) -> frozenset[str]:
    """
    Tell what a connect between two sites of their own may end in.

    :param client: the kind of the client's site.
    :param server: the kind of the server's site.
    :return: ``udp``, ``tcp`` or both, or ``error`` alone.
    """
    return TRUTH[KINDS[client].name, KINDS[server].name]


def heard_late(client: str, server: str) -> bool:
    """
    Tell whether the client hears of the server by UDP only in answer to a packet of its own.

    That is so where it takes no packets but from the very ports that it has sent to, and one side has
    a port of its own for each peer: what the server sends first does not arrive.

    :param client: the kind of the client's site.
    :param server: the kind of the server's site.
    """
    sides = KINDS[client].outermost, KINDS[server].outermost
    strict = sides[0].filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
    return strict and any(side.mapping in BY_REMOTE for side in sides)


def with_relay(
    wanted: frozenset[str], *, late: bool = False
) -> tuple[frozenset[str], frozenset[str]]:
    """
    Tell what becomes of that where both sites reach a relay that the client's credentials name.

    Nobody is told an error any more.  A direct path by UDP or on one network is heard before the relay is verified, and
    waited for; where it is heard late, or by TCP from both ends, which begins late, the relay may come
    first: nobody waits for what has not been heard.

    :param wanted: what a connect ends in without a relay.
    :param late: whether the server is heard late.
    :return: what it may end in, and what a connection that is opened 2 s later may go by.
    """
    relay = frozenset({"relay"})
    if wanted == _LETTERS["-"]:
        return relay, relay
    soon = wanted & {"udp", "lan"}
    return (wanted if soon and not late else wanted | relay), wanted


@dataclass(frozen=True, slots=True)
class Scene:
    """
    Two hosts that are not simply at two IPv4 sites of their own.

    :ivar name: for people.
    :ivar expected: the paths that may win, or ``error`` alone.
    :ivar a: the client's site.
    :ivar b: the server's site; None for a second host at the client's.
    :ivar isp: the ISP's router that both sites are behind, if they are.
    :ivar late: whether the relay may come first because the server is heard late.
    """

    name: str
    expected: frozenset[str]
    a: SiteSettings
    b: SiteSettings | None = None
    isp: SiteSettings | None = None
    late: bool = False


def _ipv6(kind: str, *, ipv4: bool = False) -> SiteSettings:
    return SiteSettings(kind, ipv4=ipv4, ipv6=True)


_LAN = frozenset({"lan"})
_UDP, _BOTH, _NONE = _LETTERS["u"], _LETTERS["b"], _LETTERS["-"]
_PORT = SiteSettings("port")

#: Hosts of one LAN find each other by multicast, hairpin or not, sooner than any mediator could help
#: that is not next door.  Homes behind one ISP's
#: router need its hairpin, and mappings that do not depend on the remote; else only their own
#: addresses would do, which are on different networks.  IPv6 has no mappings, only filters.  A TCP
#: connection from both ends needs the family of the agent's leg, which is IPv6 where there is any.
#: Late is who is introduced over TCP after a while, or whose routers need one side to wait.
SCENES = (
    Scene("one LAN, hairpin", _LAN, SiteSettings("port", hosts=2, hairpin=True)),
    Scene("one LAN, no hairpin", _LAN, SiteSettings("port", hosts=2)),
    Scene("one LAN, symmetric, hairpin", _LAN, SiteSettings("symmetric", hosts=2, hairpin=True)),
    Scene("one LAN, no UDP outside", _LAN, SiteSettings("no-udp", hosts=2)),
    Scene("one CGNAT, hairpin", _BOTH, _PORT, _PORT, SiteSettings("port", hairpin=True)),
    Scene("one CGNAT, no hairpin", _NONE, _PORT, _PORT, SiteSettings("port")),
    Scene(
        "one CGNAT, hairpin, symmetric home of the client",
        _NONE,
        SiteSettings("symmetric"),
        _PORT,
        SiteSettings("port", hairpin=True),
    ),
    Scene(
        "one symmetric CGNAT, hairpin",
        _NONE,
        _PORT,
        _PORT,
        SiteSettings("symmetric", hairpin=True),
    ),
    Scene("IPv6 only, firewalls", _BOTH, _ipv6("firewall"), _ipv6("firewall")),
    Scene("IPv6 only, open server", _BOTH, _ipv6("firewall"), _ipv6("none")),
    Scene(
        "dual stack, symmetric for IPv4",
        _BOTH,
        _ipv6("symmetric", ipv4=True),
        _ipv6("symmetric", ipv4=True),
    ),
    Scene("dual stack, linux", _BOTH, _ipv6("linux", ipv4=True), _ipv6("linux", ipv4=True)),
    Scene(
        "dual-stack client, IPv4 server", _BOTH, _ipv6("linux", ipv4=True), SiteSettings("linux")
    ),
    Scene("IPv4 client, dual-stack server", _UDP, SiteSettings("linux"), _ipv6("linux", ipv4=True)),
    Scene("IPv6-only client, IPv4 server", _NONE, _ipv6("firewall"), SiteSettings("linux")),
    Scene(
        "IPv6-only client, dual-stack server",
        _BOTH,
        _ipv6("firewall"),
        _ipv6("linux", ipv4=True),
    ),
    # The client has its answer long before the server has been told: it has to wait.
    Scene(
        "client near the mediator, linux-accept far away",
        _UDP,
        SiteSettings("linux", delay=0.001),
        SiteSettings("linux-accept", delay=0.2),
        late=True,
    ),
)
