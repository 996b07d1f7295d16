"""Redis as the store that relays share: a real one."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.relay.redis_server import HOST, RedisServer
from wavesync.relay.presence_store import MAX_FOUND, StoreError
from wavesync.relay.redis_store import RedisStore, open_store
from wavesync.relay.redis_url import RedisURL

reactor: Any = _reactor
ONE, TWO = "http://one.example:80", "http://two.example:80"
SERVER = "a" * 32 + "." + "b" * 32
OTHER = "c" * 32 + "." + "b" * 32

Story = Callable[[], Coroutine[Deferred[Any], Any, None]]


class RedisStoreTests(TestCase):
    """What relays tell each other through it."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing is open."""
        self.stores: list[RedisStore] = []

    def redis(self, *options: str) -> RedisServer:
        """Start a server; it ends with the test."""
        server = RedisServer(Path(self.mktemp()), *options)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def store(self, server: RedisServer, **url: Any) -> RedisStore:
        """Connect to it."""
        where = RedisURL(HOST, server.port, url.pop("database", 0), **url)
        store = await open_store(HostnameEndpoint(reactor, HOST, server.port), where)
        self.stores.append(store)
        return store

    def tell(self, story: Story) -> Deferred[None]:
        """Run a story, and close what it has opened."""

        async def told() -> None:
            try:
                await story()
            finally:
                for store in self.stores:
                    store.close()
                    await store.lost

        return Deferred.fromCoroutine(told())

    def test_shared(self) -> Deferred[None]:
        """What one relay tells is found by others: as long as it lives that life, and no longer."""

        async def story() -> None:
            server = self.redis()
            one, two = await self.store(server), await self.store(server)
            self.assertIsNone(await one.beat(ONE, "first"))
            await one.here(ONE, "first", [SERVER, OTHER])
            self.assertEqual(await two.find(SERVER, TWO), [ONE])
            self.assertEqual(await two.find(SERVER, ONE), [])
            self.assertEqual(await two.find("d" * 65, TWO), [])
            # Another relay has it, too.
            await two.beat(TWO, "theirs")
            await two.here(TWO, "theirs", [SERVER])
            self.assertEqual(set(await one.find(SERVER, "")), {ONE, TWO})
            await two.gone(TWO, "theirs", [SERVER])
            self.assertEqual(await one.find(SERVER, ""), [ONE])
            # A new life: what was told before is not true any more, and cannot be taken back.
            self.assertEqual(await one.beat(ONE, "second"), "first")
            self.assertEqual(await two.find(SERVER, TWO), [])
            await one.here(ONE, "second", [SERVER])
            await one.gone(ONE, "first", [SERVER])
            await one.end(ONE, "first")
            self.assertEqual(await two.find(SERVER, TWO), [ONE])
            await one.end(ONE, "second")
            self.assertEqual(await two.find(SERVER, TWO), [])

        return self.tell(story)

    def test_expires(self) -> Deferred[None]:
        """A relay that died is not named 5 s later, and nothing stays in Redis for ever."""

        async def story() -> None:
            server = self.redis()
            one = await self.store(server)
            await one.beat(ONE, "life")
            await one.here(ONE, "life", [SERVER])
            for key, least, most in (
                (f"wavesync:1:relay:{ONE}", 3000, 5000),
                (f"wavesync:1:server:{SERVER}", 80_000, 90_000),
            ):
                left = int(server.ask("PTTL", key)[1:])
                self.assertTrue(least < left <= most, (key, left))
            server.ask("PEXPIRE", f"wavesync:1:relay:{ONE}", "1")
            await deferLater(reactor, 0.02)
            self.assertEqual(await one.find(SERVER, TWO), [])
            # What is not true has been taken out.
            self.assertEqual(server.ask("EXISTS", f"wavesync:1:server:{SERVER}"), b":0\r\n")

        return self.tell(story)

    def test_many(self) -> Deferred[None]:
        """An answer names eight relays at most, however many there are."""

        async def story() -> None:
            store = await self.store(self.redis())
            for n in range(MAX_FOUND + 1):
                url = f"http://r{n}.example:80"
                await store.beat(url, "life")
                await store.here(url, "life", [SERVER])
                found = await store.find(SERVER, "")
                self.assertEqual(len(found), min(n + 1, MAX_FOUND))

        return self.tell(story)

    def test_forgotten_scripts(self) -> Deferred[None]:
        """A Redis that has forgotten our scripts is told them again."""

        async def story() -> None:
            server = self.redis()
            store = await self.store(server)
            for _ in range(2):
                await store.beat(ONE, "life")
            server.ask("SCRIPT", "FLUSH")
            self.assertEqual(await store.beat(ONE, "life"), "life")

        return self.tell(story)

    def test_password(self) -> Deferred[None]:
        """With the right password, name and database it works; with wrong ones Redis's reason is told."""

        async def story() -> None:
            server = self.redis("--requirepass", "secret", "--databases", "4")
            login = [["AUTH", "secret"]]
            rules = ("on", ">word", "~wavesync:*", "&*", "+@all")
            self.assertEqual(
                server.ask("ACL", "SETUSER", "relay", *rules, before=login), b"+OK\r\n"
            )
            store = await self.store(server, password="secret", database=3)
            await store.beat(ONE, "life")
            key = f"wavesync:1:relay:{ONE}"
            found = server.ask("GET", key, before=[*login, ["SELECT", "3"]])
            self.assertEqual(found, b"$4\r\nlife\r\n")
            self.assertIsNone(
                await (await self.store(server, user="relay", password="word")).beat(ONE, "1")
            )
            for wrong, words in (
                ({"password": "sesame"}, "WRONGPASS"),
                ({"user": "nobody", "password": "word"}, "WRONGPASS"),
                ({"password": "secret", "database": 4}, "DB index is out of range"),
            ):
                with self.assertRaises(StoreError) as caught:
                    await self.store(server, **wrong)
                self.assertIn(words, str(caught.exception))
            unknown = await self.store(server)
            with self.assertRaises(StoreError) as caught:
                await unknown.find(SERVER, ONE)
            self.assertIn("NOAUTH", str(caught.exception))

        return self.tell(story)

    def test_lost(self) -> Deferred[None]:
        """When Redis goes, who waits for an answer is told, and whoever asks later."""

        async def story() -> None:
            server = self.redis()
            store = await self.store(server)
            server.freeze(True)
            waiting = store.find(SERVER, ONE)
            server.stop()
            for asked in (waiting, None):
                with self.assertRaises(StoreError):
                    await (store.find(SERVER, ONE) if asked is None else asked)
            await store.lost
            with self.assertRaises(StoreError):
                await self.store(server)

        return self.tell(story)
