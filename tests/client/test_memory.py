"""Tests for :mod:`wavesync.client.memory`."""

from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from wavesync.client.memory import (
    MAX_REMEMBERED,
    REMEMBER_FOR,
    Memory,
    Remembered,
    memory_path,
)

SYSTEM = "5" * 32
SERVER = f"{'a' * 32}.{SYSTEM}"
RELAYS = ("http://relay.example:3356",)


class MemoryTests(SynchronousTestCase):
    """A repeated connect begins with what worked, also in another process, and on that network only."""

    def setUp(self) -> None:
        self.now = 1e9
        self.network = "home"
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = memory_path(directory, SYSTEM)

    def memory(self, path: Path | None = None) -> Memory:
        """A process's memory."""
        return Memory(path, wall_clock=lambda: self.now, network=lambda: self.network)

    def test_recalled(self) -> None:
        """What was noted for a system is found by the server's own name, too."""
        memory = self.memory(self.path)
        known = Remembered(server=SERVER, relays=RELAYS, direct="udp", took=0.2)
        memory.note(SYSTEM, known)
        for each in (memory, self.memory(self.path)):
            for name in (SYSTEM, SERVER):
                found = each.recall(name)
                assert found is not None
                self.assertEqual(msgspec.structs.replace(found, at=0.0), known)
        found = memory.recall(SYSTEM)
        assert found is not None
        self.assertEqual(str(found.target), SERVER)
        self.assertEqual([str(relay) for relay in found.relay_list], list(RELAYS))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_other_network(self) -> None:
        """On another network nothing is known."""
        memory = self.memory()
        memory.note(SERVER, Remembered(server=SERVER))
        self.network = "office"
        self.assertIsNone(memory.recall(SERVER))
        self.network = "home"
        self.assertIsNotNone(memory.recall(SERVER))

    def test_too_old(self) -> None:
        """After a month, or with a clock that was set back, nothing counts."""
        memory = self.memory()
        memory.note(SERVER, Remembered(server=SERVER))
        self.now += REMEMBER_FOR - 1
        self.assertIsNotNone(memory.recall(SERVER))
        self.now += 1
        self.assertIsNone(memory.recall(SERVER))
        self.now = 1e9 - 10
        self.assertIsNone(memory.recall(SERVER))

    def test_two_processes(self) -> None:
        """What one process has noted is not lost when another one notes something."""
        other = f"{'b' * 32}.{SYSTEM}"
        one, two = self.memory(self.path), self.memory(self.path)
        one.note(SERVER, Remembered(server=SERVER))
        two.note(other, Remembered(server=other))
        third = self.memory(self.path)
        self.assertIsNotNone(third.recall(SERVER))
        self.assertIsNotNone(third.recall(other))

    def test_written_only_when_needed(self) -> None:
        """A client that connects all the time does not write all the time."""
        memory = self.memory(self.path)
        memory.note(SERVER, Remembered(server=SERVER, direct="udp", took=0.2))
        self.path.unlink()
        self.now += 60
        memory.note(SERVER, Remembered(server=SERVER, direct="udp", took=0.25))
        self.assertFalse(self.path.exists())
        for known in (
            Remembered(server=SERVER, direct="", took=0.25),
            Remembered(server=SERVER, direct="", took=2.5),
            Remembered(server=SERVER, direct="", took=0.2),
        ):
            memory.note(SERVER, known)
            self.assertTrue(self.path.exists())
            self.path.unlink()
        self.now += 300
        memory.note(SERVER, Remembered(server=SERVER, direct="", took=0.2))
        self.assertTrue(self.path.exists())

    def test_limit(self) -> None:
        """It keeps the newest, at the limit and one past it."""
        memory = self.memory(self.path)
        for number in range(MAX_REMEMBERED + 1):
            self.now += 1
            if number == MAX_REMEMBERED:
                self.assertEqual(len(memory), MAX_REMEMBERED)
            server = f"{number:032x}.{SYSTEM}"
            memory.note(server, Remembered(server=server))
        self.assertEqual(len(memory), MAX_REMEMBERED)
        self.assertIsNone(memory.recall(f"{0:032x}.{SYSTEM}"))
        self.assertIsNotNone(memory.recall(f"{1:032x}.{SYSTEM}"))
        self.assertEqual(len(self.memory(self.path)), MAX_REMEMBERED)

    def test_damaged(self) -> None:
        """A file that cannot be understood, or is no file, is as good as none."""
        for data in (
            b"",
            b"{",
            b"[]",
            b"\xff" * 10,
            b'{"known": {"\xff": {}}}',
            b"x" * ((1 << 20) + 1),
        ):
            self.path.write_bytes(data)
            memory = self.memory(self.path)
            self.assertIsNone(memory.recall(SERVER))
            memory.note(SERVER, Remembered(server=SERVER))
            self.assertIsNotNone(self.memory(self.path).recall(SERVER))
        nowhere = self.memory(self.path / "below" / "a file")
        nowhere.note(SERVER, Remembered(server=SERVER))
        self.assertIsNotNone(nowhere.recall(SERVER))

    def test_odd_entries(self) -> None:
        """Entries that could not have been written are left out; the others stay."""
        good = {"server": SERVER, "at": self.now}
        entries = {
            f"home {SERVER}": good,
            "home 1": {**good, "server": SYSTEM},
            "home 2": {**good, "server": "x"},
            "home 3": {**good, "relays": ["ftp://x"]},
            "home 4": {**good, "relays": [f"http://r{n}.example" for n in range(5)]},
            "home 5": {**good, "tcp": ["h", 65536]},
            "home 5 lan": {**good, "lan": ["h", -1]},
            "home 5 name": {**good, "lan": ["h" * 129, 1]},
            "home 6": {**good, "direct": "avian"},
            "home 7": {**good, "took": -1},
            "home " + "8" * 200: good,
        }
        self.path.write_bytes(msgspec.json.encode({"known": entries}))
        memory = self.memory(self.path)
        self.assertEqual(len(memory), 1)
        self.assertIsNotNone(memory.recall(SERVER))
