"""docs/relay.rst says what the code does: numbers and examples."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.signalling.test_relay_wire import CONNECT, CONNECT_TEXT, ID
from wavesync.client.relay_choice import LONGEST_WAIT
from wavesync.relay import redis_store
from wavesync.relay.parked import LEAST_READY, MOST_READY
from wavesync.relay.pool import HERE, HOLD
from wavesync.relay.presence_ledger import BATCH, REFRESH
from wavesync.relay.presence_store import ALIVE, KEPT, MAX_FOUND
from wavesync.relay.settings import Limits, RelaySettings
from wavesync.relay.shared_presence import (
    ANSWER_TIME,
    BEAT,
    LONGEST_PAUSE,
    LOOKUP_TIME,
    MAX_LOOKUPS,
    SHORTEST_PAUSE,
)
from wavesync.relay.upload import MAX_UPLOADS
from wavesync.relay.visitor import MAX_EARLY
from wavesync.signalling.relay_heads import MAX_HEAD
from wavesync.signalling.relay_lines import MAX_LINE, Open
from wavesync.signalling.relay_urls import DEFAULT_RELAY_PORT, MAX_RELAY_URL, MAX_RELAYS
from wavesync.signalling.relay_wire import RequestKind

TEXT = (Path(__file__).parents[2] / "docs" / "relay.rst").read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())


def indented(text: str) -> str:
    """Text as the document shows it."""
    return "".join(f"    {line}\n" for line in text.splitlines() if line)


class DocumentTests(SynchronousTestCase):
    """Somebody who writes a peer from the text gets one that works."""

    def test_examples(self) -> None:
        """The examples are what the code writes."""
        self.assertIn(indented(CONNECT_TEXT), TEXT)
        self.assertIn(indented(CONNECT.covered().decode()), TEXT)
        line = Open(ID, "alice", ("192.0.2.7", 4711)).encode().decode()
        self.assertIn(indented(line), TEXT)

    def test_requests(self) -> None:
        """Methods, paths and purposes."""
        for kind in RequestKind:
            self.assertIn(kind.purpose, TEXT)
            self.assertIn(f"/{kind.path.rpartition('/')[2]} ", TEXT)

    def test_numbers(self) -> None:
        """Numbers in the text are those of the code."""
        settings = RelaySettings()
        for expected in (
            f"A head has {MAX_HEAD} bytes at most",
            f"256 bytes at most.{'' if MAX_LINE == 256 else '?'}",
            f"A URL has {MAX_RELAY_URL} bytes at most",
            f"no TLS, at port {DEFAULT_RELAY_PORT}",
            f"({LEAST_READY:g} to {MOST_READY:g} s;",
            f"{MAX_EARLY >> 10} KiB (and what",
            f"within the last {HERE:g} s",
            f"up to {settings.limits.waiting_time:g} s, first come",
            f"wants {settings.idle} idle connections",
            f"{settings.max_idle} at most",
            "less demand for a minute" if HOLD == 60 else "?",
            f"a byte for {settings.idle_timeout / 60:g} minutes",
            f"pairs have {settings.drain_grace:g} s",
            f"Keep-Alive says ({settings.keep_alive:g})",
        ):
            self.assertIn(expected, WORDS)

    def test_presence(self) -> None:
        """The same for what relays share."""
        here = TEXT.split("\nSeveral relays\n", 1)[1].split("\nWhat a server does\n", 1)[0]
        words = " ".join(here.split())
        for expected in (
            f"up to {'four' if MAX_RELAYS == 4 else '?'} relays",
            f"waits {LONGEST_WAIT * 1000:g} ms at most",
            f" {ALIVE:g} s every {BEAT:g} s; deleted",
            f"{KEPT:g} s when a server comes",
            f"and every {REFRESH:g} s; {BATCH} servers",
            f"after {ALIVE:g} s at most",
            f"names {'eight' if MAX_FOUND == 8 else '?'} relays",
            f"than {LOOKUP_TIME:g} s, by {MAX_LOOKUPS:,} clients",
            f"after {SHORTEST_PAUSE:g} s, 0.2 s ... {LONGEST_PAUSE:g} s",
            f"takes longer than {ANSWER_TIME:g} s",
            f"\n{redis_store.RELAY_KEY}URL ",
            f"\n{redis_store.SERVER_KEY}SERVER.SYSTEM ",
        ):
            self.assertIn(expected, here if expected.startswith("\n") else words)

    def test_limits(self) -> None:
        """The limits in the text are the defaults of the settings."""
        limits = Limits()
        section = TEXT.split("\nLimits\n------", 1)[1]
        for expected in (
            f"connections                         {limits.connections:,} ",
            f"connections from a source           {limits.connections_per_host:,} ",
            f"connections without a request       {limits.heads:,} ",
            f"time for a request, or for a list   {limits.head_time:g} s ",
            f"checked for a source         {limits.check_rate:g}/s, {limits.check_burst:g} ",
            f"proofs remembered (for 65 s)        {limits.replays:,} ",
            f"revocation lists being brought      {MAX_UPLOADS} ",
            f"bytes of all revocation lists       {limits.crl_bytes:,} ",
            f"parked connections of a server      {limits.parked_per_server:,} ",
            f"clients that wait                   {limits.waiting:,} ",
            f"clients that wait for a server      {limits.waiting_per_server:,} ",
            f"clients, joined or waiting          {limits.pairs:,} ",
            f"the same of a system                {limits.pairs_per_system:,} ",
            f"the same of a client                {limits.pairs_per_client:,} ",
            f"the same of a source                {limits.pairs_per_address:,} ",
        ):
            self.assertIn(expected, section)
