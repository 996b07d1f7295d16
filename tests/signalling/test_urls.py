"""Tests for :mod:`wavesync.signalling.urls`."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wavesync.errors import SettingsError
from wavesync.signalling.urls import Mediator, parse_mediators


class ParseMediatorsTests(SynchronousTestCase):
    """People write mediators as they write hosts and URLs elsewhere."""

    def test_bare_host(self) -> None:
        """A bare name means every way at the default ports."""
        self.assertEqual(
            parse_mediators(["mediator.example"]),
            (Mediator("mediator.example", 3345, 3345, 3355),),
        )

    def test_bare_host_with_port(self) -> None:
        """A port after a bare name is that of STUN, over UDP and TCP."""
        self.assertEqual(parse_mediators(["192.0.2.1:99"]), (Mediator("192.0.2.1", 99, 99),))

    def test_ipv6(self) -> None:
        """IPv6 addresses are taken bare, in brackets, and in URLs."""
        self.assertEqual(
            parse_mediators(["2001:db8::1"]), (Mediator("2001:db8::1", 3345, 3345, 3355),)
        )
        self.assertEqual(parse_mediators(["[2001:db8::1]:7"]), (Mediator("2001:db8::1", 7, 7),))
        self.assertEqual(
            parse_mediators(["tcp://[2001:db8::1]"]), (Mediator("2001:db8::1", None, 3345),)
        )

    def test_ways_of_one_host_are_gathered(self) -> None:
        """Two URLs of one host are one mediator; other hosts stay apart, in order."""
        self.assertEqual(
            parse_mediators(["udp://a:1", "b", "tcp://a:2"]),
            (Mediator("a", 1, 2), Mediator("b", 3345, 3345, 3355)),
        )

    def test_tunnels(self) -> None:
        """``http`` and ``https`` name tunnels, at the ports that such URLs have anywhere."""
        (mediator,) = parse_mediators(["http://m.example", "https://m.example:8443/"])
        self.assertEqual(mediator, Mediator("m.example", None, None, 80, 8443))
        self.assertEqual(
            [str(url) for url in mediator.tunnels],
            ["http://m.example:80", "https://m.example:8443"],
        )
        self.assertEqual(mediator.raw, ())
        self.assertTrue(mediator.streams)
        self.assertEqual(str(mediator), "m.example:80")

    def test_udp_only(self) -> None:
        """A mediator that is named for UDP alone takes no byte stream."""
        (mediator,) = parse_mediators(["udp://m.example"])
        self.assertFalse(mediator.streams)
        self.assertEqual(str(mediator), "m.example:3345")

    def test_audience_is_the_host(self) -> None:
        """A proof names the host that was configured, in lower case."""
        self.assertEqual(parse_mediators(["Mediator.Example"])[0].audience, "mediator.example")

    def test_text(self) -> None:
        """A mediator shows as host and port, IPv6 in brackets."""
        self.assertEqual(str(Mediator("2001:db8::1", None, 5)), "[2001:db8::1]:5")
        self.assertEqual(str(Mediator("a", 4, None)), "a:4")

    def test_refused_with_a_sentence(self) -> None:
        """What cannot be used is named in the error."""
        for bad in (
            "ftp://a",
            "http://a/x",
            "https://a#x",
            "tcp://",
            "tcp://a:b",
            "tcp://a:0",
            "tcp://a:65536",
            "tcp://u@a",
            "tcp://a/x",
            "tcp://a?x",
            "",
        ):
            error = self.assertRaises(SettingsError, parse_mediators, [bad])
            self.assertIn(repr(bad), str(error))

    def test_none(self) -> None:
        """No mediator at all is an error that says what to do."""
        self.assertIn("--mediator", str(self.assertRaises(SettingsError, parse_mediators, [])))

    @given(st.text(max_size=60))
    def test_total(self, text: str) -> None:
        """Any text is a mediator or a sentence."""
        with contextlib.suppress(SettingsError):
            parse_mediators([text])
