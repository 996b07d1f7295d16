"""Tests for :mod:`wavesync.identity.kept`."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wavesync.identity.kept import read_kept, write_kept


class KeptTests(SynchronousTestCase):
    """What was found out is kept, and nobody is troubled where it cannot be."""

    def test_kept(self) -> None:
        """What was written is read again, by its owner only."""
        path = Path(self.mktemp()) / "kept.json"
        write_kept(path, {"a": 1})
        self.assertEqual(read_kept(path, dict[str, int], 100), {"a": 1})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        write_kept(path, {})
        self.assertEqual(read_kept(path, dict[str, int], 100), {})

    def test_nothing(self) -> None:
        """No file, one of another kind, a folder, no place to write."""
        path = Path(self.mktemp())
        self.assertIsNone(read_kept(path, dict[str, int], 100))
        for spoilt in (b"", b"{", b'{"a": "b"}', b"\xff\xff"):
            path.write_bytes(spoilt)
            self.assertIsNone(read_kept(path, dict[str, int], 100))
        self.assertIsNone(read_kept(Path.cwd(), dict[str, int], 100))
        write_kept(Path("/proc/nowhere/kept.json"), {})

    def test_limit(self) -> None:
        """A file that is a byte too long is not read."""
        path = Path(self.mktemp())
        path.write_bytes(b'{"a": 1}')
        self.assertEqual(read_kept(path, dict[str, int], 8), {"a": 1})
        self.assertIsNone(read_kept(path, dict[str, int], 7))
