"""Behaviour discovery (RFC 5780) between wavesync and coturn, both ways, at every kind of site.

``python -m tests.lab.behaviour`` does it for all kinds that one router makes, and ends with status 1
where a verdict is not what the kind claims.  Kinds as arguments: only these.  With ``--lifetime`` our
client also looks for the lifetime of mappings, which are then made to last so many seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from tests.lab import discovery
from tests.lab.commands import unavailable
from tests.lab.discovery import STUN_PORT, Discovery, HairpinDiscovery, start_stun_server
from tests.lab.hosts import Host
from tests.lab.kinds import KINDS, Filtering, Kind, Mapping, kind_named
from tests.lab.processes import Process
from tests.lab.sites import SiteSettings
from tests.lab.topology import Lab
from wavesync.stun.behaviour_words import Dependence

__all__ = [
    "MEDIATOR_PORT",
    "Asked",
    "OurDiscovery",
    "claims",
    "discover_both_ways",
    "start_pair_mediator",
]

#: Where the mediator listens; the next port is its alternative one.
MEDIATOR_PORT = 3345

#: Seconds for our discovery without lifetimes: silence takes 5.5.
_TIMEOUT = 30.0

_ASK = """
import json, sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from wavesync.stun.discover import discover_behaviour

async def ask(reactor, host, port, lifetime):
    found = await discover_behaviour(reactor, (host, int(port)), lifetime=float(lifetime))
    name = lambda value: None if value is None else value.value
    print(json.dumps({
        "mapping": name(found.mapping),
        "filtering": name(found.filtering),
        "translated": found.translated,
        "hairpinning": found.hairpinning,
        "mapped": found.mapped,
        "lifetime": found.lifetime,
        "unknown": found.unknown,
    }))

react(lambda reactor, *words: Deferred.fromCoroutine(ask(reactor, *words)), sys.argv[1:])
"""

_MAPPING = {
    Mapping.NONE: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.PRESERVING: Dependence.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Mapping.RANDOM: Dependence.ADDRESS_AND_PORT_DEPENDENT,
    Mapping.SEQUENTIAL: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}
_FILTERING = {
    Filtering.OPEN: Dependence.ENDPOINT_INDEPENDENT,
    Filtering.INDEPENDENT: Dependence.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT: Dependence.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT: Dependence.ADDRESS_AND_PORT_DEPENDENT,
}


def start_pair_mediator(lab: Lab) -> Process:
    """Start a mediator with two addresses."""
    first, second = lab.mediator.addresses[:2]
    settings = lab.mediator.directory("pair") / "mediator.toml"
    settings.write_text(
        f'listen = ["{first}:{MEDIATOR_PORT}"]\nalternate = ["{second}:{MEDIATOR_PORT + 1}"]\n'
    )
    command = ["-m", "twisted", "--log-format", "text", "wavesync-mediator", "--config"]
    mediator = lab.mediator.start([sys.executable, *command, str(settings)], name="mediator")
    mediator.wait_for_line("is ready on")
    return mediator


class OurDiscovery:
    """wavesync's client, running on a host."""

    def __init__(self, host: Host, server: str, port: int, *, lifetime: float = 0.0) -> None:
        """
        Start it.

        :param host: where it asks from.
        :param server: the STUN server's first address.
        :param port: its first port.
        :param lifetime: the longest lifetime of a mapping to look for, in seconds.
        """
        command = [sys.executable, "-c", _ASK, server, str(port), str(lifetime)]
        self._timeout = _TIMEOUT + 20 * lifetime
        self._process = host.start(command, name="discover")

    def result(self) -> dict[str, Any]:
        """
        Wait for its end.

        :raises LabError: when it took too long.
        """
        self._process.wait(self._timeout)
        lines = self._process.output().splitlines() or ["{}"]
        try:
            found: dict[str, Any] = json.loads(lines[-1])
        except ValueError:
            return {"output": lines}
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What was found out at one site.

    :ivar ours: by our client from coturn's server; then by our client from our mediator.
    :ivar theirs: by coturn's client from our mediator.
    :ivar turned: whether coturn's client saw its packets turned around.
    :ivar wan: the router's public address.
    :ivar inside: the host's own.
    """

    ours: tuple[dict[str, Any], dict[str, Any]]
    theirs: discovery.Behaviour
    turned: bool | None
    wan: str
    inside: str

    def differences(self, kind: Kind, *, hairpin: bool = False) -> list[str]:
        """
        A line for each verdict that is not what *kind* claims.

        :param hairpin: whether the router is said to turn packets around.
        """
        # coturn's client takes the last OTHER-ADDRESS it was told for its third request.  From the second
        # address that is the first one with the other port (RFC 5780 section 7.4; coturn's own server
        # names itself there), so that it asks both addresses alternately and sees three mappings.
        if kind.mapping is Mapping.ADDRESS_DEPENDENT:
            kind_as_seen = replace(kind, mapping=Mapping.RANDOM)
        else:
            kind_as_seen = kind
        found = discovery.differences(self.theirs, kind_as_seen, self.wan, self.inside)
        lines = [f"coturn's client, our mediator: {line}" for line in found]
        # Where nothing is translated, its own address answers it; without UDP nothing does.
        turned = (hairpin or not kind.translates) if kind.udp else None
        if self.turned != turned:
            lines.append(f"coturn's client: hairpinning: {turned} claimed, seen {self.turned}")
        for server, ours in zip(("coturn's server", "our mediator"), self.ours, strict=True):
            for name, value in claims(kind, hairpin=hairpin).items():
                seen = ours.get(name)
                if seen != value:
                    lines.append(f"our client, {server}: {name}: {value} claimed, seen {seen}")
            hosts = {host for host, _ in ours.get("mapped", ())}
            outside = {self.wan if kind.translates else self.inside} if kind.udp else set()
            if hosts != outside:
                lines.append(f"our client, {server}: addresses: {outside} claimed, seen {hosts}")
        return lines


def claims(kind: Kind, *, hairpin: bool = False) -> dict[str, Any]:
    """Say what our client must find at a site whose router turns packets around, or does not."""
    if not kind.udp:
        return dict.fromkeys(("mapping", "filtering", "translated", "hairpinning"))
    return {
        "mapping": _MAPPING[kind.mapping].value,
        "filtering": _FILTERING[kind.filtering].value,
        "translated": kind.translates,
        "hairpinning": hairpin if kind.translates else None,
    }


def discover_both_ways(sites: Sequence[SiteSettings], *, lifetime: float = 0.0) -> list[Asked]:
    """
    Discover all sites at once, because each waits seconds for answers that do not come.

    :param lifetime: the longest lifetime of a mapping to look for, in seconds.
    """
    pairs = zip_longest(sites[::2], sites[1::2], fillvalue=SiteSettings("none"))
    with contextlib.ExitStack() as stack:
        labs = [stack.enter_context(Lab(*pair)) for pair in pairs]
        for lab in labs:
            start_stun_server(lab)
            start_pair_mediator(lab)
        # A last site without a partner got one that is not looked at.
        built = [site for lab in labs for site in lab.sites][: len(sites)]
        server = labs[0].mediator.address
        running = [
            (
                OurDiscovery(site.host, server, STUN_PORT),
                OurDiscovery(site.host, server, MEDIATOR_PORT, lifetime=lifetime),
                Discovery(site.host, server, MEDIATOR_PORT),
                HairpinDiscovery(site.host, server, MEDIATOR_PORT),
            )
            for site in built
        ]
        return [
            Asked(
                (first.result(), second.result()),
                theirs.result(),
                turned.result(),
                site.wan,
                site.host.address,
            )
            for site, (first, second, theirs, turned) in zip(built, running, strict=True)
        ]


def main(argv: list[str]) -> int:
    """
    Run the command line.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.lab.behaviour", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--lifetime", type=int, default=0, metavar="SECONDS")
    options = parser.parse_args(argv)
    reason = unavailable()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    names = options.kinds or [kind.name for kind in KINDS.values() if kind.behind is None]
    kinds = [kind_named(name) for name in names]
    timeout = options.lifetime or 120
    sites = [SiteSettings(kind, mapping_timeout=timeout) for kind in kinds]
    wrong = 0
    found = discover_both_ways(sites, lifetime=3.0 * options.lifetime)
    for kind, asked in zip(kinds, found, strict=True):
        lines = asked.differences(kind)
        wrong += bool(lines)
        print(f"{kind.name}: {'; '.join(lines) or 'as claimed, by all three'}")
        if options.lifetime:
            print(f"    lifetime {asked.ours[1].get('lifetime')}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
