"""Tests for :mod:`wavesync.mediator.keeping`: what a mediator knows of revocation after a restart."""

import os
import sqlite3
from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.agent.support import LogListener
from tests.mediator.driver import Server, World
from tests.mediator.sockets import MediatorCase, reactor
from tests.mediator.test_revoking import BOB, push, revocation_list
from tests.signalling.provers import client, prover, server, system
from wavesync.errors import SettingsError
from wavesync.mediator.keeping import FILE_NAME, MAX_WITHOUT, KeptLists
from wavesync.mediator.metrics import MediatorMetrics
from wavesync.mediator.service import MediatorService
from wavesync.mediator.settings import Limits, MediatorSettings
from wavesync.signalling.messages import CrlFetch, CrlPiece, Refusal
from wavesync.signalling.revoking import NEVER
from wavesync.stun.message import MessageClass, decode

T = bytes(range(12))
KEY = client().system_key_bytes


class KeepingCase(SynchronousTestCase):
    """A directory, and mediators that are started in it one after the other."""

    def setUp(self) -> None:
        """Nothing is there yet."""
        self.directory = Path(self.mktemp()) / "below"
        self._open: KeptLists | None = None
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Whoever has the file open closes it."""
        kept, self._open = self._open, None
        if kept is not None:
            kept.close()

    def kept(self) -> KeptLists:
        """Open it anew."""
        self.stop()
        self._open = KeptLists(self.directory)
        return self._open

    def mediator(self, limits: Limits | None = None) -> World:
        """Start a mediator; the one before is gone."""
        return World(kept=self.kept(), limits=limits)


class MediatorTests(KeepingCase):
    """What is different for servers and clients."""

    def fetch(self, world: World) -> tuple[int, str]:
        """Ask as a client does; the number of the list, 0 for none, and the reason of the refusal."""
        leg, channel = world.leg(("203.0.113.1", 5200))
        leg.receive(decode(CrlFetch(0).encode(T, prover(client(), now=world.now))), world.now)
        (answer,) = channel.sent
        if answer.message_class is MessageClass.ERROR:
            refusal = Refusal.decode(answer)
            self.assertEqual(refusal.code, 404)
            return 0, refusal.reason
        return CrlPiece.decode(answer).number, ""

    def test_list(self) -> None:
        """A list is there again after a restart, and a revoked server is not let in for a moment."""
        revoked = server(2)
        push(Server(self.mediator()).ready(), revocation_list(BOB, revoked, number=7))
        world = self.mediator()
        self.assertEqual(self.fetch(world), (7, ""))
        comes = Server(world, revoked)
        refusal = Refusal.decode(comes.listen(Refusal.decode(comes.listen()).nonce))
        self.assertEqual((refusal.code, refusal.reason), (403, "revoked"))

    def test_newer_list(self) -> None:
        """The newest is kept."""
        for number in (1, 5):
            push(Server(self.mediator()).ready(), revocation_list(BOB, number=number))
        self.assertEqual(self.fetch(self.mediator()), (5, ""))

    def test_never(self) -> None:
        """Whether there never was a list, or none is here, is told apart, after a restart too."""
        world = self.mediator()
        self.assertEqual(self.fetch(world), (0, ""))
        Server(world).ready()
        self.assertEqual(self.fetch(world), (0, NEVER))
        self.assertEqual(self.fetch(self.mediator()), (0, NEVER))
        push(Server(self.mediator()).ready(), revocation_list(BOB))
        self.assertEqual(self.fetch(self.mediator()), (1, ""))

    def test_without_store(self) -> None:
        """A mediator that keeps nothing never says so."""
        world = World()
        Server(world).ready()
        self.assertEqual(self.fetch(world), (0, ""))

    def test_heard_of(self) -> None:
        """A server that has a list, even if it has not brought it yet, ends it for good."""
        Server(self.mediator()).ready()
        world = self.mediator()
        Server(world, crl_number=3).ready()
        self.assertEqual(self.fetch(world), (0, ""))
        self.assertEqual(self.fetch(self.mediator()), (0, ""))

    def test_other_server_without(self) -> None:
        """A server that has missed the list changes nothing."""
        push(Server(self.mediator()).ready(), revocation_list(BOB))
        world = self.mediator()
        Server(world, server(2)).ready()
        self.assertEqual(self.fetch(world), (1, ""))

    def test_no_room(self) -> None:
        """A list that there was no room for is not taken for none."""
        world = self.mediator(Limits(crl_bytes=100))
        holder = Server(world).ready()
        self.assertEqual(self.fetch(world), (0, NEVER))
        push(holder, revocation_list(BOB))
        self.assertEqual(self.fetch(world), (0, ""))
        self.assertEqual(self.fetch(self.mediator()), (0, ""))

    def test_less_room(self) -> None:
        """Nor is one for which there is none any more."""
        push(Server(self.mediator()).ready(), revocation_list(BOB))
        self.assertEqual(self.fetch(self.mediator(Limits(crl_bytes=100))), (0, ""))
        self.assertEqual(self.fetch(self.mediator()), (0, ""))

    def test_dropped(self) -> None:
        """Nor is one that was dropped to make room for another."""
        crl = revocation_list(BOB)
        limits = Limits(crl_bytes=len(crl.der))
        world = self.mediator(limits)
        comes = Server(world).ready()
        push(comes, crl)
        comes.leg.lost()
        other = Server(world, server(of=2)).ready()
        push(other, revocation_list(client("bob", of=2), of=2))
        self.assertEqual(self.fetch(world), (0, ""))
        self.assertEqual(self.fetch(self.mediator()), (0, ""))


class FileTests(KeepingCase):
    """The file itself."""

    def systems(self, number: int) -> list[str]:
        """Ids that no system has."""
        return [f"{each:032x}" for each in range(number)]

    def test_secret(self) -> None:
        """Nobody else reads which systems there are."""
        kept = self.kept()
        self.assertEqual(kept.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)

    def test_killed(self) -> None:
        """What was kept is there after a mediator that had no time to say goodbye."""
        kept = self.kept()
        kept.keep(revocation_list(BOB), KEY)
        kept.there_is_none("ab" * 16)
        copied = Path(self.mktemp())
        copied.mkdir()
        for path in self.directory.iterdir():
            (copied / path.name).write_bytes(path.read_bytes())
        copy = KeptLists(copied)
        self.addCleanup(copy.close)
        self.assertEqual([each.number for each in copy.load()], [1])
        self.assertTrue(copy.never("ab" * 16))

    def test_order(self) -> None:
        """Lists come back in the order in which they came."""
        kept = self.kept()
        for of in (3, 1, 2):
            kept.keep(revocation_list(of=of), client(of=of).system_key_bytes)
        kept.keep(revocation_list(of=3, number=2), client(of=3).system_key_bytes)
        found = [each.system for each in self.kept().load()]
        self.assertEqual(found, [str(system(of).system) for of in (1, 2, 3)])

    def test_limit(self) -> None:
        """So many systems without a list are known, and not one more."""
        kept = self.kept()
        first, second, *_ = systems = self.systems(MAX_WITHOUT + 1)
        kept._file.execute("BEGIN")  # an fsync each would take a minute
        for each in systems[:-1]:
            kept.there_is_none(each)
        self.assertTrue(kept.never(first))
        kept.there_is_none(systems[-1])
        kept._file.execute("COMMIT")
        kept = self.kept()
        self.assertFalse(kept.never(first))
        self.assertTrue(kept.never(second) and kept.never(systems[-1]))

    def test_two(self) -> None:
        """Two mediators cannot have one file: each would take the other's lists for forgotten."""
        self.kept()
        error = self.assertRaises(SettingsError, KeptLists, self.directory)
        self.assertIn(
            f"{self.directory / FILE_NAME} cannot be used: database is locked", str(error)
        )

    def test_damaged(self) -> None:
        """A file that is damaged is told of, never taken for an empty one."""
        self.kept().keep(revocation_list(BOB), KEY)
        self.stop()
        with sqlite3.connect(self.directory / FILE_NAME) as file:
            file.execute("UPDATE list SET der = x'3000'")
        file.close()
        error = self.assertRaises(SettingsError, self.mediator)
        self.assertIn("is damaged", str(error))
        self.stop()
        with sqlite3.connect(self.directory / FILE_NAME) as file:
            file.execute("PRAGMA user_version = 2")
        file.close()
        error = self.assertRaises(SettingsError, self.mediator)
        self.assertIn("was written by another version", str(error))
        (self.directory / FILE_NAME).write_bytes(b"no database at all" * 100)
        error = self.assertRaises(SettingsError, self.mediator)
        self.assertIn("cannot be used", str(error))

    def test_no_directory(self) -> None:
        """Nor is a place where nothing can be."""
        (Path(self.directory).parent).write_text("a file")
        error = self.assertRaises(SettingsError, self.mediator)
        self.assertIn("cannot be opened", str(error))

    def test_full_disk(self) -> None:
        """When nothing can be written any more, what is in the file is not believed after a restart:
        it would be out of date.  The log says so once; what came is known as long as this one runs."""
        world = self.mediator()
        kept = self._open
        assert kept is not None
        kept.keep(revocation_list(number=1), KEY)
        Server(world, server(of=2)).ready()
        kept._file.execute("PRAGMA query_only = ON")  # as a file system does that has had enough
        said = LogListener("wavesync.mediator")
        self.addCleanup(said.stop)
        holder = Server(world).ready()
        push(holder, revocation_list(BOB, number=2))
        push(holder, revocation_list(BOB, number=3))
        self.assertEqual(world.mediator.revoking.lists.number(holder.target.system), 3)
        self.assertEqual(len(said.said), 1, said.said)
        self.assertIn("revocation lists are not kept any more", said.said[0])
        self.assertFalse(kept.never(server(of=2).system))
        self.assertEqual(list(self.directory.iterdir()), [])


class ServiceTests(MediatorCase):
    """The service, with a file."""

    def test_restart(self) -> Deferred[None]:
        """The file is open while the service runs, and a restart finds what was in it."""
        return Deferred.fromCoroutine(self._restart())

    async def _restart(self) -> None:
        directory = Path(self.mktemp())
        settings = MediatorSettings(listen=("127.0.0.1:0",), state=str(directory))
        service = MediatorService(settings, reactor)
        counts = []
        for number in (0, 4):
            service.startService()
            try:
                lists = service.mediator.revoking.lists
                self.assertEqual(lists.number(client().system), number)
                self.assertRaises(SettingsError, MediatorService(settings, reactor).startService)
                kept = service._kept
                assert kept is not None
                kept.keep(revocation_list(BOB, number=4), KEY)
                self.assertEqual(MediatorMetrics(service).ailments(), [])
                kept.broken = "disk full"
                self.assertEqual(
                    MediatorMetrics(service).ailments(),
                    ["revocation lists are not kept across restarts (state)"],
                )
            finally:
                await maybeDeferred(service.stopService)
            await deferLater(reactor, 0)
            self.assertIsNone(service._kept)
            counts.append(len(os.listdir("/proc/self/fd")))
        self.assertEqual(counts[0], counts[1])


class SettingsTests(SynchronousTestCase):
    """Where the file is."""

    def test_place(self) -> None:
        """As the settings say, else as systemd does, else nowhere."""
        before = os.environ.pop("STATE_DIRECTORY", None)
        try:
            self.assertIsNone(MediatorSettings().state_directory)
            os.environ["STATE_DIRECTORY"] = "/var/lib/x:/var/lib/y"
            self.assertEqual(MediatorSettings().state_directory, Path("/var/lib/x"))
            self.assertEqual(MediatorSettings(state="/z").state_directory, Path("/z"))
        finally:
            os.environ.pop("STATE_DIRECTORY", None)
            if before is not None:
                os.environ["STATE_DIRECTORY"] = before
