"""Tests for :mod:`wavesync.signalling.relay_urls`."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.signalling.relay_urls import MAX_RELAYS, Relay, host_name, parse_relay, parse_relays


class ParseRelayTests(SynchronousTestCase):
    """People write relays as they write URLs elsewhere."""

    def test_forms(self) -> None:
        """A bare host is plain at 3356; URLs have the ports that URLs have."""
        for text, relay in (
            ("relay.example", Relay("relay.example", 3356, False)),
            (" relay.example:99 ", Relay("relay.example", 99, False)),
            ("http://relay.example", Relay("relay.example", 80, False)),
            ("http://relay.example:3356/", Relay("relay.example", 3356, False)),
            ("https://Relay.Example", Relay("relay.example", 443, True)),
            ("https://192.0.2.1:8443", Relay("192.0.2.1", 8443, True)),
            ("2001:db8::1", Relay("2001:db8::1", 3356, False)),
            ("[2001:DB8:0::1]:7", Relay("2001:db8::1", 7, False)),
            ("https://[2001:db8::1]", Relay("2001:db8::1", 443, True)),
        ):
            self.assertEqual(parse_relay(text), relay)

    def test_text(self) -> None:
        """A relay shows as a URL that is read as the same relay."""
        self.assertEqual(str(Relay("2001:db8::1", 5, True)), "https://[2001:db8::1]:5")
        self.assertEqual(str(Relay("a", 80, False)), "http://a:80")
        self.assertEqual(Relay("2001:db8::1", 5, True).audience, "2001:db8::1")

    def test_refused_with_a_sentence(self) -> None:
        """What cannot be used is named in the error."""
        for bad in (
            "ftp://a",
            "http://",
            "http://a:b",
            "http://a:0",
            "a:65536",
            "http://u@a",
            "http://a/x",
            "http://a?x",
            "http://a#x",
            "http://a b",
            "http://b\xfccher.example",
            "http://fe80::1%eth0",
            "-a",
            "",
        ):
            error = self.assertRaises(SettingsError, parse_relay, bad)
            self.assertIn(repr(bad), str(error))

    def test_long(self) -> None:
        """A URL of 128 bytes is the longest."""
        self.assertEqual(parse_relay("http://" + "a" * 118 + ":80").host, "a" * 118)
        self.assertRaises(SettingsError, parse_relay, "http://" + "a" * 119 + ":80")
        # With the port written out it would be too long for others to read.
        self.assertRaises(SettingsError, parse_relay, "http://" + "a" * 119)

    @given(
        st.text(max_size=150) | st.from_regex(r"https?://[a-z0-9.:\[\]/-]{0,60}", fullmatch=True)
    )
    def test_total(self, text: str) -> None:
        """Any text is a relay, which can be written and read again, or a sentence."""
        with contextlib.suppress(SettingsError):
            relay = parse_relay(text)
            self.assertEqual(parse_relay(str(relay)), relay)

    def test_list(self) -> None:
        """Four relays are the most; the same one twice is one."""
        self.assertEqual(parse_relays([]), ())
        self.assertEqual(parse_relays(["a", "http://a:3356"]), (Relay("a", 3356, False),))
        names = [f"relay{number}" for number in range(MAX_RELAYS)]
        self.assertEqual([relay.host for relay in parse_relays(names)], names)
        error = self.assertRaises(SettingsError, parse_relays, [*names, "one-more"])
        self.assertIn("4 are the most", str(error))

    def test_host_name(self) -> None:
        """Only what is safe in a header and a certificate is a host's name."""
        self.assertEqual(host_name("A.Example"), "a.example")
        for bad in ("", "a b", "a\r\n", "a\n", "1:2", '"', "a..b"):
            self.assertIsNone(host_name(bad), bad)
