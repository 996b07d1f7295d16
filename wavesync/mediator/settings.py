"""The mediator's settings; ``etc/mediator.toml`` shows them all."""

import os
from pathlib import Path

from wavesync.errors import SettingsError
from wavesync.identity.lists import MAX_LISTS_SIZE
from wavesync.identity.replays import MAX_REPLAYS
from wavesync.mediator.admission import (
    STREAM_PROOF_BURST,
    STREAM_PROOF_RATE,
    UNPROVEN_BURST,
    UNPROVEN_RATE,
    UNPROVEN_TOTAL_BURST,
    UNPROVEN_TOTAL_RATE,
)
from wavesync.mediator.introductions import (
    MAX_INTRODUCTIONS,
    MAX_INTRODUCTIONS_PER_HOST,
    MAX_INTRODUCTIONS_PER_SYSTEM,
)
from wavesync.mediator.registry import MAX_REGISTRATIONS, MAX_REGISTRATIONS_PER_SYSTEM
from wavesync.metrics.settings import MEDIATOR_PORT, MetricsSettings
from wavesync.settings import Section
from wavesync.signalling.listening import ANY, ANY_HOST, allowed_systems, parse_listen
from wavesync.signalling.numbers import DEFAULT_KEEP_ALIVE, DEFAULT_PORT, MAX_AUDIENCE_SIZE
from wavesync.signalling.proxied import Proxied
from wavesync.signalling.relay_urls import Relay, parse_relays
from wavesync.signalling.urls import DEFAULT_HTTP_PORT
from wavesync.tunnel.limits import TunnelLimits

__all__ = ["AUTO", "Limits", "MediatorSettings", "Proxied"]

AUTO = "auto"
"""HTTP beside every address in ``listen`` that has the mediator's default port."""


class Limits(Section, frozen=True):
    """How much of everything; see ``etc/mediator.toml``."""

    registrations: int = MAX_REGISTRATIONS
    registrations_per_system: int = MAX_REGISTRATIONS_PER_SYSTEM
    introductions: int = MAX_INTRODUCTIONS
    introductions_per_host: int = MAX_INTRODUCTIONS_PER_HOST
    introductions_per_system: int = MAX_INTRODUCTIONS_PER_SYSTEM
    replays: int = MAX_REPLAYS
    crl_bytes: int = MAX_LISTS_SIZE
    legs: int = 25_000
    legs_per_host: int = 500
    source_rate: float = 50.0
    source_burst: float = 200.0
    unproven_rate: float = UNPROVEN_RATE
    unproven_burst: float = UNPROVEN_BURST
    unproven_total_rate: float = UNPROVEN_TOTAL_RATE
    unproven_total_burst: float = UNPROVEN_TOTAL_BURST
    stream_proof_rate: float = STREAM_PROOF_RATE
    stream_proof_burst: float = STREAM_PROOF_BURST
    client_rate: float = 2.0
    client_burst: float = 30.0
    target_rate: float = 20.0
    target_burst: float = 100.0

    def __post_init__(self) -> None:
        """Refuse what would switch the mediator off."""
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")


class Metrics(MetricsSettings, frozen=True):
    """Where counts are shown; see ``etc/mediator.toml``."""

    listen: str = f"127.0.0.1:{MEDIATOR_PORT}"


class MediatorSettings(Section, frozen=True):
    """All settings of ``wavesync-mediator``; see ``etc/mediator.toml``."""

    name: str = "localhost"
    listen: tuple[str, ...] = (f"*:{DEFAULT_PORT}",)
    alternate: tuple[str, ...] = ()
    http_listen: str | tuple[str, ...] = AUTO
    https_listen: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    http_proxied: tuple[Proxied, ...] = ()
    systems: str | tuple[str, ...] = ANY
    relays: tuple[str, ...] = ()
    proxied: tuple[Proxied, ...] = ()
    state: str = ""
    keep_alive: float = DEFAULT_KEEP_ALIVE
    metrics: Metrics = Metrics()
    limits: Limits = Limits()
    tunnels: TunnelLimits = TunnelLimits()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0 < len(self.name.encode("utf-8")) <= MAX_AUDIENCE_SIZE or " " in self.name:
            raise ValueError(
                f"name must be 1 to {MAX_AUDIENCE_SIZE} bytes without spaces:"
                " the host name in the mediator URLs of credentials"
            )
        if not self.listen:
            raise ValueError("listen must name an address")
        if self.https_listen and not (self.certificate and self.key):
            raise ValueError("https_listen needs certificate and key: files in PEM form")
        if not 1.0 <= self.keep_alive <= 600.0:
            raise ValueError("keep_alive must be 1 to 600 seconds")
        try:
            for listen in (*self.listen, *self.http_addresses, *self.https_listen):
                parse_listen(listen)
            self._check_alternates()
            parse_relays(self.relays)
            allowed_systems(self.systems)
        except SettingsError as error:
            raise ValueError(str(error)) from None

    def _check_alternates(self) -> None:
        """Each second address must belong to a first one, and differ from it as RFC 5780 asks."""
        firsts: list[str] = []
        for text in self.alternate:
            host, port = parse_listen(text)
            first = self.paired(text)
            if host == ANY_HOST or first is None:
                raise ValueError(
                    f"alternate {text!r} needs an address of its family in listen,"
                    " written out: not *"
                )
            if first in firsts:
                raise ValueError("alternate can name one address of each family")
            firsts.append(first)
            if any(host == parse_listen(listen)[0] for listen in self.listen):
                raise ValueError(f"alternate {text!r} must be another address than those in listen")
            first_port = parse_listen(first)[1]
            if port == first_port and port:
                raise ValueError(f"alternate {text!r} must have another port than {first!r}")

    def paired(self, alternate: str) -> str | None:
        """The entry of ``listen`` that *alternate* is the second address to.

        :returns: the first one of its family that names an address; ``None`` where there is none.
        """
        family = ":" in parse_listen(alternate)[0]
        for listen in self.listen:
            host = parse_listen(listen)[0]
            if host != ANY_HOST and (":" in host) is family:
                return listen
        return None

    @property
    def http_addresses(self) -> tuple[str, ...]:
        """Where to listen for tunnels over HTTP without TLS.

        :raises SettingsError: the setting makes no sense.
        """
        if not isinstance(self.http_listen, str):
            return self.http_listen
        if self.http_listen != AUTO:
            raise SettingsError(f'http_listen must be "{AUTO}" or a list of addresses')
        parsed = [(text, parse_listen(text)[1]) for text in self.listen]
        return tuple(
            f"{text.rpartition(':')[0]}:{DEFAULT_HTTP_PORT}"
            for text, port in parsed
            if port == DEFAULT_PORT
        )

    @property
    def state_directory(self) -> Path | None:
        """Where revocation lists are kept: as named, or as systemd says; ``None`` to keep none."""
        given = self.state or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(os.path.expandvars(given)).expanduser() if given else None

    @property
    def relay_list(self) -> tuple[Relay, ...]:
        """The relays that servers and clients are told of."""
        return parse_relays(self.relays)

    @property
    def allowed_systems(self) -> frozenset[str] | None:
        """The systems that may use the mediator, ``None`` for any."""
        return allowed_systems(self.systems)
