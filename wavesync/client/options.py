"""What a client may choose: its credentials, and the kinds of path to take."""

from collections.abc import Iterable

from wavesync.errors import SettingsError
from wavesync.identity.credentials import Credentials
from wavesync.identity.verify import Role

__all__ = ["PATHS", "check_client", "check_paths"]

PATHS = ("lan", "tcp", "udp", "relay")
"""The kinds of path this version can take."""


def check_client(credentials: Credentials) -> Credentials:
    """Return *credentials* if they are a client's.

    :raises SettingsError: they are a server's.
    """
    if credentials.role is not Role.CLIENT:
        raise SettingsError(
            "these are a server's credentials; connecting needs a client's"
            " (wavesync system add-client NAME)"
        )
    return credentials


def check_paths(kinds: Iterable[str]) -> frozenset[str]:
    """Return these kinds of path as a set.

    :raises SettingsError: one is not of :data:`PATHS`, or there is none.
    """
    wanted = frozenset(kinds)
    unknown = sorted(wanted - set(PATHS))
    if unknown:
        raise SettingsError(f"no such path: {', '.join(unknown)}; there are {', '.join(PATHS)}")
    if not wanted:
        raise SettingsError(f"no path is named; there are {', '.join(PATHS)}")
    return wanted
