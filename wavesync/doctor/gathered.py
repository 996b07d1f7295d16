"""What an examination has found so far, and what that tells of mediators and relays."""

from collections.abc import Sequence
from ipaddress import ip_address

from wavesync.doctor.datagrams import Answered, Asked
from wavesync.doctor.findings import Interface, Place, ProxyFound, RouterFound, Trial
from wavesync.interfaces import Address
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.urls import Mediator
from wavesync.stun.behaviour_words import Behaviour

__all__ = ["Gathered", "addresses_of", "place_of_mediator", "place_of_relay"]


class Gathered:
    """What has been found so far.

    :ivar hosts: the addresses of each mediator's host.
    :ivar asked: what mediators answered over UDP: over IPv4, and (True) over IPv6.
    :ivar streams: what they answered over TCP, and why nothing.
    :ivar behaviours: what mediators with two addresses have shown, likewise by version.
    :ivar tunnels: what became of tunnels to each mediator.
    :ivar relays: whether each relay is reached directly, and through a proxy.
    :ivar portal: what a captive portal answered; empty without one.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Sequence[str]] = {}
        self.asked = {False: Asked(), True: Asked()}
        self.streams: dict[Address, tuple[Answered, str]] = {}
        self.behaviours: dict[bool, list[Behaviour]] = {False: [], True: []}
        self.tunnels: dict[Mediator, list[Trial]] = {}
        self.relays: dict[Relay, tuple[Trial, Trial | None]] = {}
        self.interfaces: tuple[Interface, ...] = ()
        self.routers: tuple[RouterFound, ...] = ()
        self.proxy: ProxyFound | None = None
        self.portal = ""

    @property
    def far(self) -> bool:
        """Whether something could be between this host and a mediator."""
        return not self.hosts or not all(
            hosts and all(ip_address(each).is_loopback for each in hosts)
            for hosts in self.hosts.values()
        )

    @property
    def reached(self) -> bool:
        """Whether any mediator has answered in any way."""
        answers = [each for asked in self.asked.values() for each in asked.answers.values()]
        answers += [answered for answered, _ in self.streams.values()]
        trials = [each for trials in self.tunnels.values() for each in trials]
        return any(each.ms is not None for each in answers) or any(each.works for each in trials)


def place_of_mediator(mediator: Mediator, gathered: Gathered) -> Place:
    """Tell what is known of a mediator."""
    hosts = gathered.hosts.get(mediator.host, ())
    unknown = "" if hosts else "the name cannot be resolved"
    errors: list[float] = []
    udp, tcp = [], []
    for address in addresses_of(gathered, mediator, mediator.udp_port):
        answered = gathered.asked[":" in address[0]].answers.get(address, Answered())
        udp.append(_trial(answered, "no answer comes"))
        errors += [] if answered.clock_error is None else [answered.clock_error]
    for address in addresses_of(gathered, mediator, mediator.tcp_port):
        answered, why = gathered.streams.get(address, (Answered(), "no answer comes"))
        tcp.append(_trial(answered, why))
        errors += [] if answered.clock_error is None else [answered.clock_error]
    lost = Trial(works=False, why=unknown)
    return Place(
        name=str(mediator),
        host=mediator.host,
        udp=_best(udp, lost) if mediator.udp_port else None,
        tcp=_best(tcp, lost) if mediator.tcp_port else None,
        http=_best(gathered.tunnels.get(mediator, []), Trial(works=False, why="no answer comes"))
        if mediator.tunnels
        else None,
        clock_error=min(errors, key=abs, default=None),
    )


def place_of_relay(relay: Relay, trials: tuple[Trial, Trial | None]) -> Place:
    """Tell what is known of a relay."""
    return Place(name=str(relay), host=relay.host, tcp=trials[0], http=trials[1])


def _trial(answered: Answered, why: str) -> Trial:
    if answered.ms is None:
        return Trial(works=False, why=why)
    return Trial(works=True, ms=answered.ms)


def _best(trials: Sequence[Trial], otherwise: Trial) -> Trial:
    good = sorted((each for each in trials if each.works), key=lambda each: each.ms or 0.0)
    return next(iter((*good, *trials)), otherwise)


def addresses_of(gathered: Gathered, mediator: Mediator, port: int | None) -> list[Address]:
    """Give at most one address a family: more would only take the mediator's patience."""
    if port is None:
        return []
    hosts = gathered.hosts.get(mediator.host, ())
    found = {":" in host: (host, port) for host in reversed(hosts)}
    return [found[six] for six in sorted(found)]
