"""The options that name an HTTP proxy."""

import argparse
import os
from collections.abc import Mapping

from wavesync.errors import SettingsError
from wavesync.tunnel.proxies import (
    NONE,
    PASSWORD_VARIABLE,
    Proxies,
    ProxySettings,
    parse_proxy,
)

__all__ = ["add_proxy", "chosen_proxies"]


def add_proxy(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--proxy",
        metavar="URL",
        default="",
        help="the HTTP proxy of this network, http://[USER@]HOST:PORT, where the environment's"
        f' HTTPS_PROXY and HTTP_PROXY do not name it already; "{NONE}" for none, whatever they say',
    )
    parser.add_argument(
        "--proxy-password-file",
        metavar="FILE",
        default="",
        help="the first line of this file is the password that goes with USER; without it the"
        f" environment's {PASSWORD_VARIABLE} is",
    )


def chosen_proxies(
    arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> Proxies:
    """Tell which proxy leads where, as the options of :func:`add_proxy` and the environment say.

    :raises SettingsError: the proxy that is named cannot be used, or its password not be read.
    """
    url, password_file = arguments.proxy, arguments.proxy_password_file
    if url not in ("", NONE):
        parse_proxy(url, "--proxy")
    if password_file and "@" not in url:
        raise SettingsError("--proxy-password-file goes with a user: --proxy http://USER@HOST:PORT")
    return Proxies(ProxySettings(url=url, password_file=password_file), environ)
