"""Tests for :mod:`wavesync.identity.revocations`: what a process knows, and keeps."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.identity.fixed import NOW, OTHER_KEY, SYSTEM, SYSTEM_KEY, SYSTEM_RAW
from wavesync.errors import SettingsError
from wavesync.identity.crl import MAX_CRL, RevocationList, make_crl
from wavesync.identity.revocations import Revocations, list_path, load_list, save_list
from wavesync.identity.verify import Reason, VerificationError


def crl(number: int, *serials: int) -> RevocationList:
    """A list of the fixed system."""
    return make_crl(SYSTEM_KEY, dict.fromkeys(serials, NOW), number=number, now=NOW)


class RevocationsTests(SynchronousTestCase):
    """The newest list counts, and no older one ever again."""

    def setUp(self) -> None:
        """A directory for files."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.state = list_path(self.directory, SYSTEM)
        self.handed_in = self.directory / "handed-in.pem"

    def make(self, *, state: bool = True, handed_in: bool = False) -> Revocations:
        """A process that begins."""
        return Revocations(
            SYSTEM_RAW,
            state=self.state if state else None,
            handed_in=self.handed_in if handed_in else None,
        )

    def refused(self, reason: Reason, revocations: Revocations, der: bytes) -> None:
        """Check that a list is refused for that reason."""
        with self.assertRaises(VerificationError) as caught:
            revocations.offer(der)
        self.assertEqual(caught.exception.reason, reason)

    def test_nothing_known(self) -> None:
        """Without a list nobody is revoked, and no file appears."""
        revocations = self.make()
        self.assertEqual((revocations.number, revocations.der, len(revocations)), (0, b"", 0))
        self.assertFalse(revocations.revoked(1))
        revocations.look()
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_offer(self) -> None:
        """A newer list is taken, told of once, and counts at once."""
        revocations = self.make(state=False)
        told: list[int] = []
        revocations.changed.append(lambda: told.append(revocations.number))
        self.assertTrue(revocations.offer(crl(2, 7).der))
        self.assertFalse(revocations.offer(crl(2, 7).der))
        self.assertFalse(revocations.offer(crl(2, 8).der))
        self.assertTrue(revocations.offer(crl(3, 8).der))
        self.assertEqual(told, [2, 3])
        self.assertEqual((revocations.revoked(7), revocations.revoked(8)), (False, True))
        self.assertEqual(len(revocations), 1)

    def test_older(self) -> None:
        """An older list is refused."""
        revocations = self.make(state=False)
        revocations.offer(crl(5, 7).der)
        self.refused(Reason.OLDER, revocations, crl(4).der)
        self.assertTrue(revocations.revoked(7))

    def test_older_after_a_restart(self) -> None:
        """The next process refuses it too."""
        self.make().offer(crl(5, 7).der)
        revocations = self.make()
        self.assertEqual(revocations.number, 5)
        self.refused(Reason.OLDER, revocations, crl(4).der)
        self.assertTrue(self.make().revoked(7))

    def test_not_believed(self) -> None:
        """Garbage and other systems' lists change nothing, in memory or on disk."""
        revocations = self.make()
        revocations.offer(crl(1, 7).der)
        before = self.state.read_bytes()
        foreign = make_crl(OTHER_KEY, {}, number=9, now=NOW).der
        self.refused(Reason.BAD_SIGNATURE, revocations, foreign)
        self.refused(Reason.MALFORMED, revocations, b"garbage")
        self.refused(Reason.OVERSIZE, revocations, bytes(MAX_CRL + 1))
        self.assertEqual((revocations.number, self.state.read_bytes()), (1, before))

    def test_handed_in(self) -> None:
        """A file put in place counts at the next look, and is kept after it was taken away."""
        revocations = self.make(handed_in=True)
        save_list(self.handed_in, crl(1, 7))
        self.assertFalse(revocations.revoked(7))
        revocations.look()
        self.assertTrue(revocations.revoked(7))
        self.handed_in.unlink()
        revocations.look()
        self.assertTrue(self.make(handed_in=True).revoked(7))

    def test_handed_in_before(self) -> None:
        """A file that is there at the start counts from the start."""
        save_list(self.handed_in, crl(4, 7))
        self.assertTrue(self.make(handed_in=True).revoked(7))
        self.assertEqual(load_list(self.state, SYSTEM_RAW).number, 4)

    def test_handed_in_older(self) -> None:
        """An older file is not taken, at the start or later."""
        self.make().offer(crl(5, 7).der)
        save_list(self.handed_in, crl(4))
        revocations = self.make(handed_in=True)
        self.assertEqual(revocations.number, 5)
        save_list(self.handed_in, crl(3))
        revocations.look()
        self.assertTrue(revocations.revoked(7))

    def test_handed_in_as_der(self) -> None:
        """DER will do as well as PEM."""
        self.handed_in.write_bytes(crl(4, 7).der)
        self.assertTrue(self.make(handed_in=True).revoked(7))

    def test_damaged_at_the_start(self) -> None:
        """A damaged file is a sentence, never a silent nothing."""
        self.make().offer(crl(5, 7).der)
        for damaged in (b"", b"garbage", bytes(MAX_CRL * 2), self.state.read_bytes()[:-50]):
            self.state.write_bytes(damaged)
            with self.assertRaises(SettingsError) as caught:
                self.make()
            self.assertIn(str(self.state), str(caught.exception))

    def test_damaged_later(self) -> None:
        """A file damaged while the process runs changes nothing, and the state is written again."""
        revocations = self.make(handed_in=True)
        revocations.offer(crl(5, 7).der)
        self.handed_in.write_bytes(b"garbage")
        self.state.write_bytes(b"garbage")
        revocations.look()
        self.assertTrue(revocations.revoked(7))
        self.assertTrue(self.make(state=True).revoked(7))

    def test_two_processes(self) -> None:
        """Processes of one user that share the state learn from each other."""
        one, two = self.make(), self.make()
        one.offer(crl(5, 7).der)
        two.look()
        self.assertTrue(two.revoked(7))
        save_list(self.state, crl(4))
        two.look()
        self.assertEqual(load_list(self.state, SYSTEM_RAW).number, 5)

    def test_cannot_be_kept(self) -> None:
        """Where the state cannot be written, the list counts in memory all the same."""
        blocked = self.directory / "file" / "state.pem"
        (self.directory / "file").write_text("not a directory")
        revocations = Revocations(SYSTEM_RAW, state=blocked)
        revocations.offer(crl(5, 7).der)
        self.assertTrue(revocations.revoked(7))
        revocations.look()
        revocations.offer(crl(6, 8).der)
        self.assertTrue(revocations.revoked(8))

    def test_a_pipe(self) -> None:
        """A named pipe in the place of the file does not hang the process."""
        os.mkfifo(self.handed_in)
        with self.assertRaises(SettingsError):
            self.make(handed_in=True)
