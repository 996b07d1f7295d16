"""The relay's settings; ``etc/relay.toml`` shows them all."""

from wavesync.errors import SettingsError
from wavesync.identity.lists import MAX_LISTS_SIZE
from wavesync.identity.replays import MAX_REPLAYS
from wavesync.metrics.settings import RELAY_PORT, MetricsSettings
from wavesync.relay.redis_url import RedisURL
from wavesync.settings import Section
from wavesync.signalling.listening import ANY, allowed_systems, parse_listen
from wavesync.signalling.numbers import DEFAULT_KEEP_ALIVE
from wavesync.signalling.proxied import Proxied
from wavesync.signalling.relay_lines import MAX_SAID
from wavesync.signalling.relay_urls import DEFAULT_RELAY_PORT, Relay, host_name, parse_relay
from wavesync.tunnel.limits import TunnelLimits, check_limits
from wavesync.tunnel.poll_limits import PollLimits

__all__ = ["Limits", "Proxied", "RelaySettings", "Tunnels"]

_UNLIMITED = ("system_bytes", "client_bytes", "address_bytes")


class Limits(Section, frozen=True):
    """How much of everything; see ``etc/relay.toml``."""

    connections: int = 25_000
    connections_per_host: int = 2_000
    heads: int = 2_000
    head_time: float = 10.0
    parked_per_server: int = 128
    waiting: int = 2_000
    waiting_per_server: int = 200
    waiting_time: float = 5.0
    pairs: int = 10_000
    pairs_per_system: int = 2_000
    pairs_per_client: int = 500
    pairs_per_address: int = 1_000
    system_bytes: float = 0.0
    client_bytes: float = 0.0
    address_bytes: float = 0.0
    check_rate: float = 20.0
    check_burst: float = 200.0
    replays: int = MAX_REPLAYS
    crl_bytes: int = MAX_LISTS_SIZE

    def __post_init__(self) -> None:
        """Refuse what would switch the relay off."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in _UNLIMITED:
                if not value >= 0:
                    raise ValueError(f"{name} must be 0 (no limit) or more")
            elif not value > 0:
                raise ValueError(f"{name} must be more than 0")


class Metrics(MetricsSettings, frozen=True):
    """Where counts are shown; see ``etc/relay.toml``."""

    listen: str = f"127.0.0.1:{RELAY_PORT}"


class Tunnels(Section, frozen=True):
    """How much of everything for tunnels over HTTP; see ``etc/relay.toml``."""

    tunnels: int = 4_000
    tunnels_per_host: int = 500
    half_made: int = 1_000
    hello_time: float = 10.0
    idle_time: float = 300.0
    poll_waiting: int = PollLimits().waiting
    poll_bytes: int = PollLimits().held
    poll_rate: float = PollLimits().rate

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_limits(self)
        _ = self.limits

    @property
    def limits(self) -> TunnelLimits:
        """The same as the server of tunnels has them; the relay counts connections itself."""
        return TunnelLimits(**{name: getattr(self, name) for name in self.__struct_fields__})


class RelaySettings(Section, frozen=True):
    """All settings of ``wavesync-relay``; see ``etc/relay.toml``."""

    name: str = "localhost"
    url: str = ""
    presence: str = ""
    presence_password_file: str = ""
    listen: tuple[str, ...] = (f"*:{DEFAULT_RELAY_PORT}",)
    tls_listen: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    proxied: tuple[Proxied, ...] = ()
    systems: str | tuple[str, ...] = ANY
    idle: int = 7
    max_idle: int = 64
    keep_alive: float = DEFAULT_KEEP_ALIVE
    idle_timeout: float = 480.0
    drain_grace: float = 30.0
    splice: str = "auto"
    metrics: Metrics = Metrics()
    limits: Limits = Limits()
    tunnels: Tunnels = Tunnels()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if host_name(self.name) != self.name:
            raise ValueError(
                "name must be the host name, in small letters, or the numeric address in the"
                " relay's URL"
            )
        if self.presence and not self.url:
            raise ValueError("presence needs url: where other relays are to send clients")
        if not (self.listen or self.tls_listen or self.proxied):
            raise ValueError("listen, tls_listen or proxied must name an address")
        for text in (*self.listen, *self.tls_listen):
            _parsed(text)
        if self.tls_listen and not (self.certificate and self.key):
            raise ValueError("tls_listen needs certificate and key: files in PEM form")
        if not 1 <= self.idle <= self.max_idle <= min(MAX_SAID, self.limits.parked_per_server):
            raise ValueError(
                "idle must be 1 to max_idle, and max_idle no more than parked_per_server"
            )
        if not 1.0 <= self.keep_alive <= 600.0:
            raise ValueError("keep_alive must be 1 to 600 seconds")
        if not self.idle_timeout >= 1.0:
            raise ValueError("idle_timeout must be 1 second or more")
        if not self.drain_grace >= 0.0:
            raise ValueError("drain_grace must be 0 seconds or more")
        if self.splice not in ("auto", "off"):
            raise ValueError('splice must be "auto" or "off"')
        try:
            allowed_systems(self.systems)
            if self.url:
                parse_relay(self.url)
            if self.presence:
                RedisURL.parse(self.presence)
        except SettingsError as error:
            raise ValueError(str(error)) from None

    @property
    def allowed_systems(self) -> frozenset[str] | None:
        """The systems that may use the relay, ``None`` for any."""
        return allowed_systems(self.systems)

    @property
    def relay(self) -> Relay | None:
        """The URL at which others find this relay, where they may be sent here."""
        return parse_relay(self.url) if self.url else None


def _parsed(text: str) -> None:
    try:
        parse_listen(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None
