"""The presence that a relay's settings ask for."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorTime

from wavesync.errors import SettingsError
from wavesync.relay.presence import IPresence, MemoryPresence
from wavesync.relay.presence_store import SharedStore
from wavesync.relay.redis_url import RedisURL
from wavesync.relay.settings import RelaySettings
from wavesync.relay.shared_presence import SharedPresence

__all__ = ["open_presence"]


def open_presence(
    settings: RelaySettings, reactor: object, random: Callable[[int], bytes]
) -> IPresence:
    """Make it; nothing is connected before it is started.

    :param random: gives that many unpredictable bytes.
    :raises SettingsError: a package is missing, or the password.
    """
    relay = settings.relay
    if not settings.presence or relay is None:
        return MemoryPresence(relay=relay)
    try:
        # Here, since it is optional, and brings the reactor with it.
        from wavesync.relay.redis_store import open_store
    except ImportError:
        raise SettingsError(
            "presence needs the Python package txredisapi: pip install 'wavesync[redis]'"
        ) from None
    url = RedisURL.parse(settings.presence).with_password(settings.presence_password_file)
    endpoint = HostnameEndpoint(reactor, url.host, url.port)

    def connect() -> Deferred[SharedStore]:
        return Deferred.fromCoroutine(open_store(endpoint, url))

    where = f"Redis at {url}"
    return SharedPresence(IReactorTime(reactor), relay, where, connect, random=random)
