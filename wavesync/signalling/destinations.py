"""The ways to mediators and relays, for servers and clients alike."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wavesync.interfaces import IReactor
from wavesync.signalling.network import this_network
from wavesync.tunnel.destinations import Destinations
from wavesync.tunnel.ladder_store import SAVE_AFTER, Ladders, ladders_path
from wavesync.tunnel.place import METHODS
from wavesync.tunnel.proxies import Proxies

__all__ = ["open_destinations"]


def open_destinations(
    reactor: IReactor,
    proxies: Proxies | None = None,
    *,
    directory: Path | None = None,
    wall_clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = os.urandom,
    trust_root: Any = None,
    methods: Sequence[str] = METHODS,
) -> Destinations:
    """Make what leads to mediators and relays by whatever passes.

    :param proxies: tells which HTTP proxy leads where; what the environment says when None.
    :param directory: where to keep what was learned of ways; None to forget it with the process.
    :param wall_clock: seconds since the epoch.
    :param random: gives that many unpredictable bytes.
    :param trust_root: who may have signed certificates of hosts and proxies; whom the system trusts
        when None.
    :param methods: the methods that tunnels may use.
    :raises SettingsError: a proxy that the environment names cannot be used.
    """
    ladders = Ladders(
        None if directory is None else ladders_path(directory),
        clock=reactor.seconds,
        wall_clock=wall_clock,
        network=this_network,
        later=lambda act: reactor.callLater(SAVE_AFTER, act),
    )
    return Destinations(
        reactor,
        Proxies() if proxies is None else proxies,
        ladders,
        random,
        trust_root=trust_root,
        methods=methods,
    )
