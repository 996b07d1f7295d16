"""Names of services: as people type them, and as addresses of endpoints."""

from dataclasses import dataclass

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from wavesync.errors import SettingsError
from wavesync.session.frames import MAX_SERVICE, is_service_name

__all__ = ["BUILT_IN", "ServiceAddress", "check_service_name"]

BUILT_IN = "."
"""What the names of services begin with that servers have by themselves."""


@implementer(IAddress)
@dataclass(frozen=True)
class ServiceAddress:
    """Where a service is: with a server, wherever that is in the network.

    :ivar server: ``<server>.<system>``, or a mere ``<system>``: any server of it.
    :ivar service: the service's name.
    """

    server: str
    service: str


def check_service_name(name: str) -> str:
    """Return *name* if a service can have it.

    :raises SettingsError: it cannot.
    """
    if name.startswith(BUILT_IN) or not is_service_name(name):
        raise SettingsError(
            f"{name[: 2 * MAX_SERVICE]!r} is no name of a service: it has 1 to {MAX_SERVICE} of"
            " a-z, 0-9, dot, dash and underscore, and begins with a letter or digit"
        )
    return name
