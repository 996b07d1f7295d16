"""Asks coturn, an independent RFC 5780 implementation, how a site's NAT behaves.

coturn's server with two addresses runs on the mediator's host, its ``turnutils_natdiscovery`` on a
host of the site.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from tests.lab.hosts import Host
from tests.lab.kinds import Filtering, Kind, Mapping
from tests.lab.processes import Process
from tests.lab.topology import Lab

__all__ = [
    "DISCOVERY_TIMEOUT",
    "STUN_PORT",
    "Behaviour",
    "Discovery",
    "HairpinDiscovery",
    "differences",
    "parse",
    "start_stun_server",
]

#: Seconds for both discoveries; filtering takes two receive timeouts of 3 s each.
DISCOVERY_TIMEOUT = 30.0

#: Where the STUN server listens; the next port is its alternative one.
STUN_PORT = 3478

_VERDICT = re.compile(r"^NAT with (.+) (Mapping|Filtering)!$", re.MULTILINE)
_TURNED = re.compile(r"^Received a request", re.MULTILINE)
_REFLEXIVE = re.compile(r"UDP reflexive addr: ([\d.]+):(\d+)$", re.MULTILINE)
_LOCAL = re.compile(r"Local addr: : ([\d.]+):(\d+)$", re.MULTILINE)

_INDEPENDENT = "Endpoint Independent"
_ADDRESS = "Address Dependent"
_ADDRESS_AND_PORT = "Address and Port Dependent"

_MAPPING_VERDICTS = {
    Mapping.NONE: _INDEPENDENT,
    Mapping.INDEPENDENT: _INDEPENDENT,
    Mapping.PRESERVING: _INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT: _ADDRESS,
    Mapping.RANDOM: _ADDRESS_AND_PORT,
    Mapping.SEQUENTIAL: _ADDRESS_AND_PORT,
}
_FILTERING_VERDICTS = {
    Filtering.OPEN: _INDEPENDENT,
    Filtering.INDEPENDENT: _INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT: _ADDRESS,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: _ADDRESS_AND_PORT,
}
#: A sequential mapping may skip this far: other flows of the site count as well.
_LARGEST_STEP = 10


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    What was seen of a NAT.

    :ivar mapping: the verdict on its mapping, None when there was no answer.
    :ivar filtering: the verdict on its filtering, None when there was no answer.
    :ivar local: the address and port that sent the mapping requests, None without an answer.
    :ivar reflexive: the addresses and ports that the requests to different remotes came from.
    """

    mapping: str | None
    filtering: str | None
    local: tuple[str, int] | None
    reflexive: tuple[tuple[str, int], ...]


def start_stun_server(lab: Lab) -> Process:
    """Start coturn's STUN server on both addresses of the mediator's host."""
    files = lab.mediator.directory("turnserver")
    listeners = [word for address in lab.mediator.addresses for word in ("-L", address)]
    server = lab.mediator.start(
        [
            "turnserver",
            *("-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "-m", "1"),
            *("--log-file", "stdout", "--simple-log"),
            *("--pidfile", str(files / "pid"), "--userdb", str(files / "db")),
            *listeners,
        ]
    )
    for port in (STUN_PORT, STUN_PORT + 1):
        server.wait_for_port(port, udp=True)
    return server


class Discovery:
    """A running discovery of mapping and filtering from one host."""

    def __init__(self, host: Host, server: str, port: int = STUN_PORT) -> None:
        """
        Start it.

        :param host: where it asks from.
        :param server: the STUN server's first address.
        :param port: its first port.
        """
        self._mapping, self._filtering = (
            host.start(
                ["turnutils_natdiscovery", option, "-L", host.address, "-p", str(port), server],
                name=f"natdiscovery{option}",
            )
            for option in ("-m", "-f")
        )

    def result(self, timeout: float = DISCOVERY_TIMEOUT) -> Behaviour:
        """
        Wait for its end.

        :param timeout: seconds for each half.
        :raises LabError: when it took longer.
        """
        for half in (self._mapping, self._filtering):
            half.wait(timeout)
        return parse(self._mapping.output(), self._filtering.output())


class HairpinDiscovery:
    """A running discovery of whether the router turns packets to its outside address around."""

    def __init__(self, host: Host, server: str, port: int = STUN_PORT) -> None:
        """
        Start it.

        :param host: where it asks from.
        :param server: the STUN server's first address.
        :param port: its first port.
        """
        command = ["turnutils_natdiscovery", "-H", "-L", host.address, "-p", str(port), server]
        self._process = host.start(command, name="natdiscovery-H")

    def result(self, timeout: float = DISCOVERY_TIMEOUT) -> bool | None:
        """
        Wait for its end.

        :param timeout: seconds.
        :return: the verdict; None when the server was not heard.
        :raises LabError: when it took longer.
        """
        self._process.wait(timeout)
        output = self._process.output()
        return bool(_TURNED.search(output)) if _REFLEXIVE.search(output) else None


def parse(mapping: str, filtering: str) -> Behaviour:
    """
    Read what ``turnutils_natdiscovery`` printed.

    :param mapping: its output with ``-m``.
    :param filtering: its output with ``-f``.
    """
    local = _LOCAL.search(mapping)
    return Behaviour(
        mapping=_verdict(mapping, "Mapping"),
        filtering=_verdict(filtering, "Filtering"),
        local=(local[1], int(local[2])) if local else None,
        reflexive=tuple((address, int(port)) for address, port in _REFLEXIVE.findall(mapping)),
    )


def _verdict(output: str, subject: str) -> str | None:
    verdicts = [verdict for verdict, about in _VERDICT.findall(output) if about == subject]
    return verdicts[0] if len(verdicts) == 1 else None


def differences(seen: Behaviour, claimed: Kind, wan: str, inside: str) -> list[str]:
    """
    Compare what was seen with what a kind claims.

    :param seen: what the discovery saw from a host of the site.
    :param claimed: the kind that the site is said to be.
    :param wan: the public address of the site's router.
    :param inside: the host's own address.
    :return: a line for each claim that does not hold.
    """
    found = []

    def expect(what: str, expected: object, actual: object) -> None:
        if expected != actual:
            found.append(f"{what}: {claimed.name} claims {expected}, seen {actual}")

    if not claimed.udp:
        expect("answers by UDP", (), seen.reflexive)
        return found
    expect("mapping", _MAPPING_VERDICTS[claimed.outermost.mapping], seen.mapping)
    expect("filtering", _FILTERING_VERDICTS[claimed.outermost.filtering], seen.filtering)
    outside = wan if claimed.translates else inside
    expect("public addresses", {outside}, {address for address, _ in seen.reflexive})
    ports = [port for _, port in seen.reflexive]
    kept = seen.local is not None and set(ports) == {seen.local[1]}
    keeps = claimed.mapping in (Mapping.NONE, Mapping.PRESERVING)
    expect("port kept", keeps, kept)
    steps = [later - earlier for earlier, later in pairwise(ports)]
    sequential = bool(steps) and all(0 < step <= _LARGEST_STEP for step in steps)
    expect("ports one after another", claimed.mapping is Mapping.SEQUENTIAL, sequential)
    return found
