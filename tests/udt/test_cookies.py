"""Tests for L{wavesync.udt.cookies}."""

from twisted.trial.unittest import SynchronousTestCase

from wavesync.udt.cookies import KEY_SIZE, SLOT, CookieJar

SOURCE = ("192.0.2.1", 4000)


class CookieTests(SynchronousTestCase):
    """Cookies show that a client is where it says."""

    def setUp(self) -> None:
        """Make a jar."""
        self.jar = CookieJar(bytes(KEY_SIZE))

    def test_right(self) -> None:
        """A cookie is right for whom it was baked."""
        self.assertTrue(self.jar.check(self.jar.bake(SOURCE, 5.0), SOURCE, 5.0))

    def test_age(self) -> None:
        """A cookie lives for at least one slot and at most two."""
        cookie = self.jar.bake(SOURCE, 0.0)
        self.assertTrue(self.jar.check(cookie, SOURCE, 2 * SLOT - 0.001))
        self.assertFalse(self.jar.check(cookie, SOURCE, 2 * SLOT))
        late = self.jar.bake(SOURCE, SLOT - 0.001)
        self.assertTrue(self.jar.check(late, SOURCE, 2 * SLOT - 0.001))

    def test_future(self) -> None:
        """A cookie of a time to come is wrong."""
        self.assertFalse(self.jar.check(self.jar.bake(SOURCE, SLOT), SOURCE, SLOT - 0.001))

    def test_other_source(self) -> None:
        """Another host or port needs another cookie."""
        cookie = self.jar.bake(SOURCE, 0.0)
        self.assertFalse(self.jar.check(cookie, ("192.0.2.1", 4001), 0.0))
        self.assertFalse(self.jar.check(cookie, ("192.0.2.2", 4000), 0.0))

    def test_other_key(self) -> None:
        """Nobody without the key can bake one."""
        other = CookieJar(b"\1" * KEY_SIZE)
        self.assertFalse(self.jar.check(other.bake(SOURCE, 0.0), SOURCE, 0.0))

    def test_zero(self) -> None:
        """0 means "no cookie" and is never right."""
        for now in range(0, 3000, 30):
            self.assertNotEqual(self.jar.bake(SOURCE, now), 0)
            self.assertFalse(self.jar.check(0, SOURCE, now))

    def test_key_size(self) -> None:
        """A short key is a mistake of ours."""
        self.assertRaises(ValueError, CookieJar, b"short")
