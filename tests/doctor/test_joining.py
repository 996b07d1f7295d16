"""Tests for wavesync.doctor.joining and blur: what a person reads, and what others may see."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.report import Timeline
from wavesync.doctor.blur import Blur
from wavesync.doctor.flights import Flight, FlightEvent
from wavesync.doctor.joining import join

NOW = 1_795_000_000.0


class JoinTests(SynchronousTestCase):
    """Both ends' events are in the order in which they happened, whatever the clocks say."""

    def test_order(self) -> None:
        """The server's clock is an hour ahead; its events are still between the client's."""
        clock = Clock()
        timeline = Timeline("srv", clock.seconds)
        clock.advance(0.02)
        entry = timeline.candidate("udp", ("192.0.2.1", 80))
        clock.advance(0.03)
        timeline.close(entry, "failed", "no answer")
        timeline.mark("introduced")
        flight = Flight(
            "c0" * 16,
            NOW + 3600 + 0.03,
            "alice",
            [FlightEvent(5.0, "punching", "towards 192.0.2.9:1"), FlightEvent(0.0, "introduced")],
        )
        rows = join(NOW, timeline.as_dict(), [flight], 3600.0)
        self.assertEqual(
            [(round(row.ms), row.end, row.what) for row in rows],
            [
                (0, "client", "asks for srv"),
                (20, "client", "tries udp 192.0.2.1:80"),
                (30, "server", "introduced"),
                (35, "server", "punching towards 192.0.2.9:1"),
                (50, "client", "introduced"),
                (50, "client", "udp 192.0.2.1:80 failed: no answer"),
            ],
        )


class BlurTests(SynchronousTestCase):
    """Who sees the file learns nothing of addresses, and can still tell them apart."""

    def test_same(self) -> None:
        """One address has one pseudonym, however it is written; ports and words stay."""
        blur = Blur()
        data = {
            "a": "tcp 198.51.100.7:80 and [2001:db8:0:0::1]:81, not 192.168.1.5",
            "b": ["198.51.100.7", ("2001:db8::1", 5), None, 1.5],
            "8.8.8.8:53": "at 12:30:45 in version 1.2.3",
            "c": "::1 127.0.0.1 fe80::1 8.8.8.8.",
        }
        found = blur.data(data)
        text = json.dumps(found)
        for address in ("198.51", "2001:db8", "192.168", "8.8.8.8", "127.0", "fe80", "::1"):
            self.assertNotIn(address, text)
        first = found["b"][0]
        self.assertEqual(found["a"].split()[1], f"{first}:80")
        self.assertIn(f"[{found['b'][1][0]}]:81", found["a"])
        self.assertEqual(found["b"][2:], [None, 1.5])
        self.assertIn("at 12:30:45 in version 1.2.3", text)
        self.assertIn("private-ipv4-", found["a"])
        self.assertIn("public-ipv4-", text)

    def test_prefix(self) -> None:
        """The provider's part of public addresses stays if asked for; private ones go."""
        blur = Blur(keep_prefix=True)
        text = blur.text("8.8.4.4 2606:4700::1 10.1.2.3")
        self.assertIn("8.8.x-1", text)
        self.assertIn("2606:4700::x-2", text)
        self.assertNotIn("4.4", text)
        self.assertNotIn("10.1", text)

    @given(st.ip_addresses(), st.ip_addresses())
    def test_any(self, one: object, other: object) -> None:
        """No address survives, and two do not become one."""
        blur = Blur()
        text = blur.text(f"from {one} to [{other}]:80 and {one}.")
        if one != other:
            self.assertNotEqual(blur.text(str(one)), blur.text(str(other)))
        for address in (str(one), str(other)):
            if len(address) > 3:
                self.assertNotIn(address, text)
