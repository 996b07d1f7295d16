"""Tests for :mod:`wavesync.identity.ids`."""

import contextlib
import hashlib
import uuid

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import SERVER, SYSTEM, SYSTEM_KEY, SYSTEM_RAW
from wavesync.errors import SettingsError
from wavesync.identity.ids import MAX_TARGET_TEXT, Target, new_id, parse_id, system_id

ids = st.text("0123456789abcdef", min_size=32, max_size=32)


class IdTests(SynchronousTestCase):
    """Ids: who holds one holds the trust anchor."""

    def test_system_id_is_the_keys_hash(self) -> None:
        """The id is SHA-256 of the key's SubjectPublicKeyInfo but for the UUID's six fixed bits."""
        spki = SYSTEM_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        difference = int(SYSTEM, 16) ^ int(hashlib.sha256(spki).hexdigest()[:32], 16)
        self.assertEqual(difference & ~(0xF << 76 | 0x3 << 62), 0)

    def test_system_id_is_a_uuid_8(self) -> None:
        """Any tool that knows UUIDs sees version 8 and the variant of RFC 9562."""
        self.assertEqual(uuid.UUID(SYSTEM).version, 8)
        self.assertEqual(uuid.UUID(SYSTEM).variant, uuid.RFC_4122)

    def test_raw_key_gives_the_same_id(self) -> None:
        """A mediator, which has the raw key only, finds the same id."""
        self.assertEqual(system_id(SYSTEM_RAW), SYSTEM)

    def test_short_key_is_our_mistake(self) -> None:
        """A key that is no key is never given an id."""
        for size in (0, 31, 33):
            self.assertRaises(ValueError, system_id, bytes(size))

    def test_new_ids_differ(self) -> None:
        """Two servers never get the same id."""
        self.assertNotEqual(new_id(), new_id())
        self.assertEqual(uuid.UUID(new_id()).version, 4)

    def test_parse_id_takes_what_people_paste(self) -> None:
        """Dashes of a UUID and capitals are fine."""
        for text in (
            SERVER,
            SERVER.upper(),
            str(uuid.UUID(SERVER)),
            str(uuid.UUID(SERVER)).upper(),
        ):
            self.assertEqual(parse_id(text), SERVER)

    def test_parse_id_refuses_the_rest(self) -> None:
        """A typing error is told, not looked up."""
        for text in ("", SERVER[1:], SERVER + "0", "g" + SERVER[1:], f"{SERVER[:4]}-{SERVER[4:]}"):
            self.assertRaises(SettingsError, parse_id, text)


class TargetTests(SynchronousTestCase):
    """Target texts: what a person types, and what goes into HOST-NAME."""

    @given(system=ids, server=st.none() | ids)
    def test_round_trip(self, system: str, server: str | None) -> None:
        """What is printed can be typed."""
        target = Target(system, server)
        self.assertEqual(Target.parse(str(target)), target)

    def test_dashes_and_spaces(self) -> None:
        """UUIDs copied with dashes and a trailing newline are understood."""
        text = f" {uuid.UUID(SERVER)}.{uuid.UUID(SYSTEM)}\n"
        self.assertEqual(Target.parse(text), Target(SYSTEM, SERVER))

    def test_refusals_name_the_text(self) -> None:
        """The sentence shows what was typed and what is expected."""
        for text in ("", ".", "office", f"{SERVER}.", f".{SYSTEM}", f"{SERVER}.{SERVER}.{SYSTEM}"):
            error = self.assertRaises(SettingsError, Target.parse, text)
            self.assertIn(repr(text), str(error))
            self.assertIn("32 hex digits", str(error))

    def test_length_limit(self) -> None:
        """At the limit a text is looked at; one past it is refused and not repeated in full."""
        padding = " " * (MAX_TARGET_TEXT - len(SYSTEM))
        self.assertEqual(Target.parse(SYSTEM + padding), Target(SYSTEM))
        error = self.assertRaises(SettingsError, Target.parse, SYSTEM + padding + " ")
        self.assertLess(len(str(error)), 300)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever is typed gives a target or the one error."""
        with contextlib.suppress(SettingsError):
            self.assertIsInstance(Target.parse(text), Target)
