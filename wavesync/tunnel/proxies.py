"""Which HTTP proxy leads to a URL: by settings, or as the environment says.

A password is never part of a setting, an argument, a representation or a sentence: it comes from a
file, or from the environment.
"""

import base64
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wavesync.errors import SettingsError
from wavesync.identity.files import open_at_once
from wavesync.settings import Section
from wavesync.tunnel.urls import TunnelURL

__all__ = [
    "DEFAULT_PROXY_PORT",
    "MAX_PASSWORD",
    "NONE",
    "PASSWORD_VARIABLE",
    "Proxies",
    "Proxy",
    "ProxySettings",
    "bypassed",
    "choose",
    "parse_proxy",
]

DEFAULT_PROXY_PORT = 3128
"""A proxy's port where its URL names none: Squid's."""

MAX_PASSWORD = 256
"""Characters of the longest password, and of the longest name of a user."""

PASSWORD_VARIABLE = "WAVESYNC_PROXY_PASSWORD"
"""The environment variable that holds the password where the proxy's URL comes from settings."""

NONE = "none"
"""In settings: no proxy, whatever the environment says."""

_MAX_FILE = 4096
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_USED = ("http", "https")
_VARIABLES = {"tcp": "https_proxy", "http": "http_proxy", "https": "https_proxy"}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One HTTP proxy.

    :ivar host: a name or a numeric address, without brackets.
    :ivar port: TCP port, 1 to 65535.
    :ivar username: empty where it asks for none.
    :ivar password: goes with it; not part of the representation.
    :ivar tls: whether the proxy itself is spoken to over TLS.
    """

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    @property
    def authority(self) -> str:
        """Host and port, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that a request to it needs (RFC 7617); they are secret."""
        if not self.username:
            return ()
        pair = f"{self.username}:{self.password}".encode()
        return (("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"),)

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


class ProxySettings(Section, frozen=True):
    """The table ``[proxy]`` of settings; see ``etc/agent.toml``."""

    url: str = ""
    username: str = ""
    password_file: str = ""
    no_proxy: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        try:
            if self.url not in ("", NONE):
                parse_proxy(self.url, "the setting url")
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if (self.username or self.password_file) and self.url in ("", NONE):
            raise ValueError("username and password_file go with a url")
        if self.password_file and not self.username and "@" not in self.url:
            raise ValueError("password_file goes with a username")
        if ":" in self.username or not _fit(self.username):
            raise ValueError("username is no name of a user: it may hold no colon")


class Proxies:
    """Tells which proxy leads where, for as long as a process lives.

    :param settings: what the user has set.
    :param environ: the environment's variables.
    :raises SettingsError: the proxy that is named cannot be used, or its password not be read.
    """

    def __init__(
        self, settings: ProxySettings | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        settings = settings if settings is not None else ProxySettings()
        self._set = _from_settings(settings, environ)
        self._none = settings.url == NONE
        self._no_proxy = settings.no_proxy
        self._environ = _found(environ) if self._set is None and not self._none else {}
        if self._environ:
            named = _variable(environ, "no_proxy")
            self._no_proxy = (*self._no_proxy, *named.replace(",", " ").split())

    def __call__(self, url: TunnelURL) -> Proxy | None:
        """Give the proxy to a URL; None to go there directly only."""
        if self._none:
            return None
        proxy = self._set
        if proxy is None:
            proxy = self._environ.get(_VARIABLES[url.scheme]) or self._environ.get("all_proxy")
            if proxy is not None and _is_this_host(url.host):
                return None
        if proxy is None or bypassed(url.host, url.port, self._no_proxy):
            return None
        return proxy


def choose(
    url: TunnelURL,
    settings: ProxySettings | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Proxy | None:
    """Give the proxy to one URL; None to go there directly only.

    Settings come first.  Without, the environment's ``http_proxy`` counts for ``http``, ``https_proxy``
    for ``https`` and for plain TCP, ``all_proxy`` where those are not set, and ``no_proxy`` for hosts that
    are excepted, each in small letters or in capitals.  This very host is always excepted from what the
    environment says.  ``HTTP_PROXY`` in capitals does not count in a CGI program, where whoever sends a
    request can set it.

    :raises SettingsError: the proxy that is named cannot be used, or its password not be read.
    """
    return Proxies(settings, environ)(url)


def bypassed(host: str, port: int, excepted: Iterable[str]) -> bool:
    """Tell whether a host is excepted from the use of a proxy.

    :param excepted: each ``*``, a name, which stands for all names below it as well, with a dot in front
        or without; an address, a network such as ``10.0.0.0/8``; any with ``:PORT`` behind it.
    """
    name = host.lower().rstrip(".")
    return any(_excepts(each.strip().lower(), name, port) for each in excepted)


def _excepts(entry: str, name: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(name)
    if "/" in entry and address is not None:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            return False
    if entry.startswith("["):
        entry, _, wanted = entry[1:].partition("]")
        wanted = wanted.removeprefix(":")
    elif entry.count(":") == 1:
        entry, _, wanted = entry.partition(":")
    else:
        wanted = ""
    if wanted and wanted != str(port):
        return False
    if address is not None:
        return _address(entry) == address
    entry = entry.removeprefix("*").strip(".")
    return bool(entry) and (name == entry or name.endswith(f".{entry}"))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_this_host(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _from_settings(settings: ProxySettings, environ: Mapping[str, str]) -> Proxy | None:
    if settings.url in ("", NONE):
        return None
    proxy = parse_proxy(settings.url, "the setting url")
    if settings.username and proxy.username:
        raise SettingsError("the proxy's user is named twice: in url and as username")
    username = settings.username or proxy.username
    if settings.password_file:
        password = _read_password(Path(os.path.expandvars(settings.password_file)).expanduser())
    else:
        password = environ.get(PASSWORD_VARIABLE, "") if username else ""
    if not _fit(password):
        raise SettingsError(f"the environment's {PASSWORD_VARIABLE} holds no password")
    return Proxy(proxy.host, proxy.port, username, password, proxy.tls)


def _found(environ: Mapping[str, str]) -> dict[str, Proxy]:
    """The proxies that the environment names, by variable."""
    found = {}
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        text = _variable(environ, name)
        scheme = text.partition("://")[0].lower() if "://" in text else "http"
        # Others, mostly SOCKS, are meant for programs that know them.
        if text and scheme in _USED:
            found[name] = parse_proxy(text, f"the environment's {name}", secret=True)
    return found


def _variable(environ: Mapping[str, str], name: str) -> str:
    if name == "http_proxy" and "REQUEST_METHOD" in environ and name not in environ:
        return ""
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def parse_proxy(text: str, where: str, *, secret: bool = False) -> Proxy:
    """Read a proxy's URL.

    :param where: what to call its place; the URL itself, which may hold a password, is never shown.
    :param secret: it may hold one.
    :raises SettingsError: it cannot be used.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip()
    if scheme.lower() not in _USED:
        raise SettingsError(f"{where} is no HTTP proxy: write http://HOST:PORT")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
        named, secrets = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        raise SettingsError(f"{where} is no proxy: write http://HOST:PORT") from None
    if isinstance(_address(host), IPv6Address):
        good = "%" not in host
    else:
        good = bool(_HOST.fullmatch(host))
    extra = parts.path not in ("", "/") or parts.query or parts.fragment
    if not good or extra or port == 0 or not _fit(named) or not _fit(secrets) or ":" in named:
        raise SettingsError(f"{where} is no proxy: write http://HOST:PORT")
    if parts.password is not None and not secret:
        raise SettingsError(
            f"{where} holds a password, which others can read there: put it in a file and name that"
            f" as the password's file, or in the environment's {PASSWORD_VARIABLE}"
        )
    return Proxy(host, port or DEFAULT_PROXY_PORT, named, secrets, scheme.lower() == "https")


def _fit(text: str) -> bool:
    return len(text) <= MAX_PASSWORD and (not text or text.isprintable())


def _read_password(path: Path) -> str:
    """Read the first line of a file that nobody else can read."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            data = file.read(_MAX_FILE) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise SettingsError(
            f"the proxy's password cannot be read from {path}: {error.strerror}"
        ) from None
    if status.st_mode & 0o077:
        raise SettingsError(
            f"{path} could be read or changed by others than its owner"
            f" (mode {stat.S_IMODE(status.st_mode):04o}): run chmod 600 {path}"
        )
    lines = data.decode("utf-8", "replace").splitlines()
    if not lines or not lines[0] or not _fit(lines[0]):
        raise SettingsError(f"{path} holds no password in its first line")
    return lines[0]
