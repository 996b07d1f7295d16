"""Redis as the store that several relays share: a hash for each server, a key for each relay.

::

    wavesync:1:relay:URL               life                       for ALIVE seconds
    wavesync:1:server:SERVER.SYSTEM    hash of URL -> life        for KEPT seconds

Nothing is stored for connections.  Needs ``txredisapi`` and one Redis server, no cluster: the script that looks for
a server reads keys that a cluster may have elsewhere.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from txredisapi import RedisProtocol

from wavesync.relay.presence_store import ALIVE, KEPT, MAX_FOUND, StoreError
from wavesync.relay.redis_url import RedisURL

__all__ = ["RELAY_KEY", "SERVER_KEY", "RedisStore", "open_store"]

RELAY_KEY = "wavesync:1:relay:"
"""In front of the URL of a relay."""

SERVER_KEY = "wavesync:1:server:"
"""In front of the name of a server."""

_BEAT = """
local before = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return before
"""
_END = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
_HERE = """
for _, key in ipairs(KEYS) do
    redis.call('HSET', key, ARGV[1], ARGV[2])
    redis.call('PEXPIRE', key, ARGV[3])
end
return 1
"""
_GONE = """
for _, key in ipairs(KEYS) do
    if redis.call('HGET', key, ARGV[1]) == ARGV[2] then redis.call('HDEL', key, ARGV[1]) end
end
return 1
"""
_FIND = """
local all, found = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
    if redis.call('GET', ARGV[1] .. all[i]) ~= all[i + 1] then
        redis.call('HDEL', KEYS[1], all[i])
    elseif all[i] ~= ARGV[2] and #found < tonumber(ARGV[3]) then
        found[#found + 1] = all[i]
    end
end
return found
"""


class RedisStore(RedisProtocol):  # type: ignore[misc]
    """A connection to Redis (:class:`~wavesync.relay.presence_store.SharedStore`).

    The parent's reconnecting is not used: it gives up for good when Redis refuses a password or a
    database, which it also does while it reads its file after a start.
    """

    def __init__(self) -> None:
        super().__init__(convertNumbers=False)
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, why: Failure) -> None:
        """The connection is gone."""
        super().connectionLost(why)
        self.lost.callback(None)

    async def introduce(self, url: RedisURL) -> None:
        """Say the password, and which database is used.

        :raises StoreError: Redis does not agree.
        """
        if url.password:
            await self._told(self.auth, url.password, url.user or None)
        if url.database:
            await self._told(self.select, url.database)

    def beat(self, relay: str, life: str) -> Deferred[str | None]:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        return self._told(self.eval, _BEAT, [RELAY_KEY + relay], [life, round(ALIVE * 1000)])

    def end(self, relay: str, life: str) -> Deferred[None]:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        return self._told(self.eval, _END, [RELAY_KEY + relay], [life])

    def here(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        return self._told(self.eval, _HERE, _keys(servers), [relay, life, round(KEPT * 1000)])

    def gone(self, relay: str, life: str, servers: Sequence[str]) -> Deferred[None]:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        return self._told(self.eval, _GONE, _keys(servers), [relay, life])

    def find(self, server: str, but: str) -> Deferred[list[str]]:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        return self._told(self.eval, _FIND, _keys([server]), [RELAY_KEY, but, MAX_FOUND])

    def close(self) -> None:
        """See :class:`~wavesync.relay.presence_store.SharedStore`."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _told(self, command: Any, *arguments: Any) -> Deferred[Any]:
        """Call one of the parent's methods."""
        return maybeDeferred(command, *arguments).addErrback(_failed)


def _keys(servers: Sequence[str]) -> list[str]:
    return [SERVER_KEY + server for server in servers]


def _failed(failure: Failure) -> Failure:
    """Whatever the reason is."""
    if failure.check(CancelledError):
        return failure
    raise StoreError(failure.getErrorMessage() or "it failed")


async def open_store(endpoint: IStreamClientEndpoint, url: RedisURL) -> RedisStore:
    """Connect.

    :param endpoint: leads to the server.
    :raises StoreError: there is no connection, or Redis does not let us in.
    """
    factory = Factory.forProtocol(RedisStore)
    factory.noisy = False
    store = await endpoint.connect(factory).addErrback(_failed)
    assert isinstance(store, RedisStore)
    try:
        await store.introduce(url)
    except BaseException:
        store.close()
        raise
    return store
