"""The mediator's smaller parts: nonces, replays, the registry, settings."""

import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.mediator.driver import MemoryChannel
from wavesync.errors import SettingsError
from wavesync.identity.ids import Target
from wavesync.identity.nonces import NONCE_LIFE, NONCE_SIZE, Nonces
from wavesync.identity.replays import REPLAY_LIFE, Replays
from wavesync.interfaces import Address
from wavesync.mediator.registry import IRegistry, MemoryRegistry, Registration, RegistryFull
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.settings import load_settings, parse_settings
from wavesync.signalling.listening import parse_listen

NOW = 1_795_000_000.0


class Channel(MemoryChannel):
    """A leg that nobody supersedes here."""

    source: Address = ("192.0.2.1", 4000)
    tunnelled = False

    def supersede(self) -> None:
        """Note it."""
        self.closed = True

    def expel(self) -> None:
        """Note it."""
        self.closed = True


def registration(number: int, server: int, system: str = "a") -> Registration:
    """Return a registration with that id."""
    return Registration(number, Target(system * 32, f"{server:032x}"), bytes(32), Channel())


class NonceTests(SynchronousTestCase):
    """Nonces tell their own age and holder."""

    def setUp(self) -> None:
        """One process' nonces."""
        self.nonces = Nonces(lambda size: b"k" * size)
        self.nonce = self.nonces.make("listen", "192.0.2.1", NOW)

    def test_good(self) -> None:
        """A nonce is good for its holder and purpose, until it is too old."""
        self.assertEqual(len(self.nonce), NONCE_SIZE)
        for age, good in ((0, True), (NONCE_LIFE, True), (NONCE_LIFE + 0.01, False)):
            found = self.nonces.good(self.nonce, "listen", "192.0.2.1", NOW + age)
            self.assertEqual(found, good, age)

    def test_not_good(self) -> None:
        """For another purpose, holder, process, or with any bit changed it is worth nothing."""
        self.assertFalse(self.nonces.good(self.nonce, "connect", "192.0.2.1", NOW))
        self.assertFalse(self.nonces.good(self.nonce, "listen", "192.0.2.2", NOW))
        other = Nonces(lambda size: b"o" * size)
        self.assertFalse(other.good(self.nonce, "listen", "192.0.2.1", NOW))
        for at in range(NONCE_SIZE):
            changed = bytearray(self.nonce)
            changed[at] ^= 1
            self.assertFalse(self.nonces.good(bytes(changed), "listen", "192.0.2.1", NOW), at)
        for size in (0, NONCE_SIZE - 1, NONCE_SIZE + 1):
            self.assertFalse(
                self.nonces.good(self.nonce.ljust(size)[:size], "listen", "192.0.2.1", NOW)
            )


class ReplaysTests(SynchronousTestCase):
    """Proofs are remembered as long as they could be fresh, and no more than there is room."""

    def test_limit(self) -> None:
        """At the limit there is no room; what is old makes some."""
        replays: Replays[str] = Replays(2)
        replays.add(b"1", "a", "first", NOW)
        self.assertFalse(replays.full(NOW))
        replays.add(b"2", "a", "second", NOW + 1)
        self.assertTrue(replays.full(NOW + 1))
        replays.add(b"3", "a", "third", NOW + 1)
        self.assertIsNone(replays.find(b"3"))
        self.assertFalse(replays.full(NOW + REPLAY_LIFE))
        self.assertIsNone(replays.find(b"1"))
        found = replays.find(b"2")
        assert found is not None
        self.assertEqual((found.host, found.outcome), ("a", "second"))


class RegistryTests(SynchronousTestCase):
    """Who is registered."""

    def setUp(self) -> None:
        """A small registry."""
        self.registry = MemoryRegistry(3, 2)

    def test_interface(self) -> None:
        """It is a registry."""
        verifyObject(IRegistry, self.registry)

    def test_limits(self) -> None:
        """At either limit a server fits, one more does not; a known one always does."""
        self.registry.add(registration(1, 1))
        self.registry.add(registration(2, 2))
        self.assertFalse(self.registry.has_room(registration(3, 3).server))
        self.assertRaises(RegistryFull, self.registry.add, registration(3, 3))
        self.registry.add(registration(4, 1, "b"))
        self.assertRaises(RegistryFull, self.registry.add, registration(5, 2, "b"))
        self.assertRaises(RegistryFull, self.registry.add, registration(6, 1, "c"))
        older = self.registry.add(registration(7, 1))
        assert older is not None
        self.assertEqual((older.id, len(self.registry)), (1, 3))

    def test_remove(self) -> None:
        """What is removed is gone; an older registration cannot remove a newer one."""
        old, new = registration(1, 1), registration(2, 1)
        self.registry.add(old)
        self.registry.add(new)
        self.assertFalse(self.registry.remove(old))
        self.assertIs(self.registry.by_id(2), new)
        self.assertIsNone(self.registry.by_id(1))
        self.assertTrue(self.registry.remove(new))
        self.assertFalse(self.registry.remove(new))
        self.assertEqual((len(self.registry), self.registry.systems), (0, 0))
        self.assertIsNone(self.registry.choose(new.server))

    def test_turns(self) -> None:
        """A system's servers are chosen in turn; one asked for by name has had its turn."""
        one, two = registration(1, 1), registration(2, 2)
        self.registry.add(one)
        self.registry.add(two)
        whole = Target("a" * 32)
        self.assertEqual([self.registry.choose(whole) for _ in range(3)], [one, two, one])
        self.assertIs(self.registry.choose(two.server), two)
        self.assertIs(self.registry.choose(whole), one)

    def test_needs_a_server(self) -> None:
        """A whole system cannot be registered."""
        whole = Registration(1, Target("a" * 32), bytes(32), Channel())
        self.assertRaises(ValueError, self.registry.add, whole)


class SettingsTests(SynchronousTestCase):
    """The mediator's settings, and the file that shows them."""

    def _refusal(self, text: str) -> str:
        error = self.assertRaises(
            SettingsError, parse_settings, text, MediatorSettings, name="m.toml"
        )
        return str(error)

    def test_sample(self) -> None:
        """``etc/mediator.toml`` holds every setting, with its default."""
        path = Path(__file__).parents[2] / "etc" / "mediator.toml"
        self.assertEqual(load_settings(path, MediatorSettings), MediatorSettings())
        table = tomllib.loads(path.read_text())
        self.assertEqual(
            set(table) | {"proxied", "http_proxied"}, set(MediatorSettings.__struct_fields__)
        )
        self.assertEqual(set(table["limits"]), set(Limits.__struct_fields__))

    def test_wrong(self) -> None:
        """Each mistake is told in one sentence with the key."""
        for text, expected in (
            ('name = ""', "name must be 1 to 255 bytes"),
            ('name = "a b"', "name must be 1 to 255 bytes"),
            ("listen = []", "listen must name an address"),
            ('[[proxied]]\nlisten = "3346"', "'3346' is no address to listen on"),
            ('[[proxied]]\nlisten = "*:1"\ntrusted = []', "trusted must name an address"),
            ('listen = ["3345"]', "'3345' is no address to listen on"),
            ("keep_alive = 0.5", "keep_alive must be 1 to 600 seconds"),
            ('systems = "some"', 'systems must be "any" or a list'),
            ('systems = ["x"]', "'x' is not an id"),
            ("[limits]\nlegs = 0", "setting 'limits': legs must be more than 0"),
            ("[limits]\nleg = 1", "there is no setting 'limits.leg'"),
        ):
            self.assertIn(expected, self._refusal(text))
            self.assertTrue(self._refusal(text).startswith("m.toml: "))

    def test_longest_name(self) -> None:
        """The longest name is taken, one byte more is not."""
        self.assertEqual(MediatorSettings(name="x" * 255).name, "x" * 255)
        self.assertRaises(ValueError, MediatorSettings, name="x" * 256)

    def test_systems(self) -> None:
        """Ids of systems may be written as UUIDs."""
        self.assertIsNone(MediatorSettings().allowed_systems)
        dashed = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
        settings = MediatorSettings(systems=(dashed, "b" * 32))
        self.assertEqual(settings.allowed_systems, {"a" * 32, "b" * 32})

    def test_listen(self) -> None:
        """Addresses to listen on: IPv4, IPv6 in brackets, all."""
        self.assertEqual(parse_listen("192.0.2.1:3345"), ("192.0.2.1", 3345))
        self.assertEqual(parse_listen("[::1]:0"), ("::1", 0))
        self.assertEqual(parse_listen("*:65535"), ("*", 65535))
        for wrong in ("", ":1", "::1:1", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "*:x", "*:-1"):
            self.assertRaises(SettingsError, parse_listen, wrong)
