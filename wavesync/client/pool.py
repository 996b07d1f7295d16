"""Connectors that endpoints share: whoever names the same credentials uses the same holes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorCore

from wavesync.client.connector import Connector
from wavesync.client.opening import open_connector
from wavesync.client.options import PATHS
from wavesync.identity.credentials import Credentials
from wavesync.identity.revocations import Revocations, list_path
from wavesync.interfaces import IReactor
from wavesync.signalling.destinations import open_destinations

__all__ = ["ConnectorOptions", "Connectors"]


@dataclass(frozen=True)
class ConnectorOptions:
    """What a connector is made of.

    :ivar credentials: the client's credentials file.
    :ivar mediators: URLs instead of those that the credentials name.
    :ivar paths: the kinds of path to take.
    :ivar allow_loopback: use loopback addresses too (everything on one host).
    """

    credentials: Path
    mediators: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset(PATHS)
    allow_loopback: bool = False


class Connectors:
    """Gives one connector for each reactor and options, made when it is first asked for.

    They are closed with their reactor, or earlier by :meth:`close`.

    :param wall_clock: seconds since the epoch.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._open: dict[tuple[IReactor, ConnectorOptions], tuple[Connector, Any]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def get(self, reactor: IReactor, options: ConnectorOptions) -> Connector:
        """Return the connector for these options.

        :raises SettingsError: the credentials cannot be used, or an option makes no sense.
        :raises NotAllowed: the credentials have expired or do not fit together.
        """
        key = reactor, options
        if key not in self._open:
            credentials = Credentials.load(options.credentials, now=self._wall_clock())
            connector = open_connector(
                reactor,
                credentials,
                mediators=options.mediators,
                paths=options.paths,
                allow_loopback=options.allow_loopback,
                wall_clock=self._wall_clock,
                revocations=Revocations(
                    credentials.system_key_bytes,
                    state=list_path(options.credentials.parent, credentials.system),
                ),
                destinations=open_destinations(reactor, directory=options.credentials.parent),
            )
            core = IReactorCore(reactor)
            trigger = core.addSystemEventTrigger("before", "shutdown", partial(self._shut, key))
            self._open[key] = connector, trigger
        return self._open[key][0]

    def close(self) -> Deferred[Any]:
        """Close all; fires when nothing of them is left.  Later ones are made anew."""
        ends = []
        for key, (_, trigger) in list(self._open.items()):
            IReactorCore(key[0]).removeSystemEventTrigger(trigger)
            ends.append(self._shut(key))
        return DeferredList(ends)

    def _shut(self, key: tuple[IReactor, ConnectorOptions]) -> Deferred[None]:
        connector, _ = self._open.pop(key)
        return connector.close()
