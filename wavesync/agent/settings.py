"""The agent's settings; ``etc/agent.toml`` shows them all."""

import os
import re
from ipaddress import ip_address
from pathlib import Path

from wavesync.errors import SettingsError
from wavesync.interfaces import Address
from wavesync.metrics.settings import AGENT_PORT, MetricsSettings
from wavesync.settings import Section
from wavesync.signalling.numbers import MAX_ADDRESSES
from wavesync.signalling.relay_urls import Relay, parse_relays
from wavesync.signalling.urls import parse_mediators
from wavesync.tunnel.proxies import ProxySettings
from wavesync.udt.carrier import MODES

__all__ = ["AUTO", "NONE", "AgentSettings", "parse_address"]

AUTO = "auto"
"""Park at the relays that credentials and mediators name."""

NONE = "none"
"""Park at no relay."""

_SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MAX_PUBLIC = MAX_ADDRESSES // 2


class Metrics(MetricsSettings, frozen=True):
    """Where counts are shown; see ``etc/agent.toml``."""

    listen: str = f"127.0.0.1:{AGENT_PORT}"


class AgentSettings(Section, frozen=True):
    """All settings of ``wavesync-agent``; see ``etc/agent.toml``."""

    credentials: str = ""
    crl: str = ""
    state: str = ""
    mediators: tuple[str, ...] = ()
    relays: str | tuple[str, ...] = AUTO
    services: dict[str, str] = {}
    tcp_port: int = 0
    udp_port: int = 0
    udp: str = MODES[0]
    public_addresses: tuple[str, ...] = ()
    port_mapping: bool = True
    lan: bool = True
    lan_interfaces: tuple[str, ...] = ()
    doctor: bool = True
    max_sessions: int = 2048
    allow_loopback: bool = False
    proxy: ProxySettings = ProxySettings()
    metrics: Metrics = Metrics()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, endpoint in self.services.items():
            if not _SERVICE_NAME.fullmatch(name):
                raise ValueError(
                    f"services: {name!r} is no name: use a-z, 0-9, dot, dash, underscore"
                )
            if not endpoint:
                raise ValueError(f'services: {name} needs an endpoint such as "tcp:127.0.0.1:80"')
        for name in ("tcp_port", "udp_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ValueError(f"{name} must be 0 to 65535")
        if self.udp not in MODES:
            raise ValueError(f'udp must be "auto", "gso" or "plain", not {self.udp!r}')
        if self.max_sessions < 1:
            raise ValueError("max_sessions must be 1 or more")
        if len(self.public_addresses) > _MAX_PUBLIC:
            raise ValueError(f"public_addresses may name at most {_MAX_PUBLIC}")
        try:
            for address in self.public_addresses:
                parse_address(address)
            if self.mediators:
                parse_mediators(self.mediators)
            self.chosen_relays  # noqa: B018 - reading it checks it
        except SettingsError as error:
            raise ValueError(str(error)) from None

    @property
    def credentials_path(self) -> Path:
        """Where the credentials are; ``$NAME`` in it stands for an environment variable."""
        if self.credentials:
            return _path(self.credentials)
        home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return Path(home).expanduser() / "wavesync" / "server.pem"

    @property
    def chosen_relays(self) -> tuple[Relay, ...] | None:
        """The relays to park at, and no others; ``None`` where credentials and mediators name them.

        :raises SettingsError: the setting makes no sense.
        """
        if isinstance(self.relays, str):
            if self.relays not in (AUTO, NONE):
                raise SettingsError(f'relays must be "{AUTO}", "{NONE}" or a list of URLs')
            return None if self.relays == AUTO else ()
        if not self.relays:
            raise SettingsError(f'relays names none: write "{AUTO}" or "{NONE}"')
        return parse_relays(self.relays)

    @property
    def crl_path(self) -> Path | None:
        """Where people hand in new revocation lists, if a place is named."""
        return _path(self.crl) if self.crl else None

    @property
    def state_directory(self) -> Path:
        """Where the newest revocation list, and what was learned of NATs, are kept: as named, as
        systemd says, or beside the credentials."""
        if self.state:
            return _path(self.state)
        given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(given) if given else self.credentials_path.parent


def _path(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def parse_address(text: str) -> Address:
    """Read ``192.0.2.1:80`` or ``[2001:db8::1]:80``.

    :raises SettingsError: it is neither.
    """
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip = ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not 1 <= number <= 65535:
        raise SettingsError(f"{text!r} is no address: write IP:PORT, IPv6 in brackets")
    return str(ip), number
