"""Tests for :mod:`wavesync.client.report`."""

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.report import MAX_CANDIDATES, Timeline, format_address


class TimelineTests(SynchronousTestCase):
    """A person can read why a connect took the path it took."""

    def test_whole_story(self) -> None:
        """Milestones and candidates are told in milliseconds after the beginning."""
        clock = Clock()
        clock.advance(1000)
        timeline = Timeline("abc", clock.seconds)
        clock.advance(0.040)
        timeline.known_as("1" * 32)
        timeline.mark("introduced")
        tcp = timeline.candidate("tcp", ("192.0.2.1", 80))
        udp = timeline.candidate("udp", ("2001:db8::1", 81))
        clock.advance(0.080)
        timeline.mark("authenticated")
        timeline.mark("introduced")
        timeline.close(udp, "won")
        udp.way = "told where there is one"
        timeline.close(tcp, "failed", "refused")
        timeline.close(tcp, "lost")
        timeline.path, timeline.outcome, timeline.server = "udp", "ok", "srv"
        self.assertEqual(
            json.loads(timeline.as_json()),
            {
                "connections": ["1" * 32],
                "target": "abc",
                "server": "srv",
                "path": "udp",
                "reused": False,
                "outcome": "ok",
                "ms": {
                    "introduced": 40.0,
                    "authenticated": 120.0,
                    "accepted": None,
                    "first_byte": None,
                },
                "candidates": [
                    {
                        "kind": "tcp",
                        "address": "192.0.2.1:80",
                        "started": 40.0,
                        "ended": 120.0,
                        "result": "failed",
                        "why": "refused",
                        "way": "",
                    },
                    {
                        "kind": "udp",
                        "address": "[2001:db8::1]:81",
                        "started": 40.0,
                        "ended": 120.0,
                        "result": "won",
                        "why": "",
                        "way": "told where there is one",
                    },
                ],
                "candidates_left_out": 0,
                "network": None,
            },
        )

    def test_bounded(self) -> None:
        """A flood of candidates does not grow the report without end; the rest is counted."""
        timeline = Timeline("abc", Clock().seconds)
        for port in range(MAX_CANDIDATES):
            timeline.candidate("tcp", ("192.0.2.1", port))
        self.assertEqual((len(timeline.candidates), timeline.left_out), (MAX_CANDIDATES, 0))
        timeline.candidate("tcp", ("192.0.2.1", 1))
        self.assertEqual((len(timeline.candidates), timeline.left_out), (MAX_CANDIDATES, 1))

    def test_addresses(self) -> None:
        """IPv6 is told from its port by brackets."""
        self.assertEqual(format_address(("::1", 5)), "[::1]:5")
