"""UDP for both address families on one port number, as agents and clients want it."""

import os
from collections.abc import Mapping

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet

from wavesync.errors import SettingsError
from wavesync.udt.carrier import AUTO, MODES, SocketCarrier

__all__ = ["MODE_VARIABLE", "mode_from", "open_carriers"]

MODE_VARIABLE = "WAVESYNC_UDP"
"""The environment variable that tells a client how to pass datagrams to the system."""


def mode_from(environ: Mapping[str, str] = os.environ) -> str:
    """Give what :data:`MODE_VARIABLE` says; ``auto`` if it says nothing.

    :raises SettingsError: it says something else than one of
        :data:`~wavesync.udt.carrier.MODES`.
    """
    mode = environ.get(MODE_VARIABLE) or AUTO
    if mode not in MODES:
        raise SettingsError(f"{MODE_VARIABLE} must be auto, gso or plain, not {mode!r}")
    return mode


def open_carriers(reactor: IReactorFDSet, port: int = 0, mode: str = AUTO) -> list[SocketCarrier]:
    """Bind UDP for IPv4 and, where the host has it, for IPv6 on the same port number.

    :param port: 0 for any free one.
    :param mode: one of :data:`~wavesync.udt.carrier.MODES`.
    :returns: the IPv4 carrier first; one alone when the other family cannot be had.
    :raises twisted.internet.error.CannotListenError: not even IPv4 can be had.
    """
    first = SocketCarrier(reactor, port, mode=mode)
    try:
        return [first, SocketCarrier(reactor, first.address[1], "::", mode)]
    except (CannotListenError, OSError):
        return [first]
