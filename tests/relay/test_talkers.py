"""Little messages beside much: whoever talks is looked after between others' moves."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.relay.join_support import receive, send
from tests.relay.test_kernel_join import Pairs
from wavesync.relay.plumbing import ATTENDED, MAX_TALKERS, SHARED_FOR, Plumbing
from wavesync.watch import READS


class Talking:
    """A flow that only notes when it is looked at."""

    def __init__(self, plumbing: Plumbing) -> None:
        self.talked = float("-inf")
        self.listed = False
        self.looks = 0
        self._plumbing = plumbing

    def attend(self) -> None:
        """Note it; and what it had to say was much."""
        self.looks += 1
        self._plumbing.attend(self.talked)


class TalkerTests(SynchronousTestCase):
    """Who is looked after."""

    def setUp(self) -> None:
        """Nobody yet."""
        self.plumbing = Plumbing(kernel=False)

    def talking(self, count: int, now: float = 100.0) -> list[Talking]:
        """So many who talk."""
        made = [Talking(self.plumbing) for _ in range(count)]
        for each in made:
            self.plumbing.talk(each, now)
            self.plumbing.talk(each, now)
        return made

    def test_in_turn(self) -> None:
        """All of them, a few at a time, the one that was not looked at longest first."""
        made = self.talking(3 * ATTENDED)
        for looks in (1, 2):
            for _ in range(3):
                self.plumbing.attend(100.0)
            self.assertEqual([each.looks for each in made], [looks] * len(made))

    def test_while_they_talk(self) -> None:
        """Who has said nothing for a while waits for his turn, until he talks again."""
        (quiet,) = self.talking(1)
        self.plumbing.attend(100.0 + 2 * SHARED_FOR)
        self.assertEqual((quiet.looks, self.plumbing.talkers), (0, 0))
        self.plumbing.talk(quiet, 101.0)
        self.plumbing.attend(101.0)
        self.assertEqual(quiet.looks, 1)

    def test_most(self) -> None:
        """As many as the limit are looked after; one more is not, until there is room."""
        made = self.talking(MAX_TALKERS)
        self.assertEqual(self.plumbing.talkers, MAX_TALKERS)
        (late,) = self.talking(1, 101.0)
        self.assertEqual((self.plumbing.talkers, late.listed), (MAX_TALKERS, False))
        for _ in range(MAX_TALKERS):
            self.plumbing.attend(101.0)
        self.assertEqual((self.plumbing.talkers, sum(each.looks for each in made)), (0, 0))
        self.plumbing.talk(late, 101.0)
        self.plumbing.attend(101.0)
        self.assertEqual(late.looks, 1)

    def test_one_fails(self) -> None:
        """Whatever goes wrong for one who talks, the others are looked after as before."""
        (broken,) = self.talking(1)

        def fail() -> None:
            raise OSError

        broken.attend = fail  # type: ignore[method-assign]
        with self.assertRaises(OSError):
            self.plumbing.attend(100.0)
        (other,) = self.talking(1)
        for looks in (0, 1):
            with self.assertRaises(OSError):
                self.plumbing.attend(100.0)
            self.assertEqual(other.looks, looks)

    def test_nobody(self) -> None:
        """Where nobody talks there is nothing to do."""
        self.plumbing.attend(100.0)
        self.assertEqual(self.plumbing.talkers, 0)


class BesideTests(Pairs):
    """What a conversation beside a stream gets."""

    def test_between(self) -> Deferred[None]:
        """A message comes through with the next move of a stream, not after all the streams'."""
        return Deferred.fromCoroutine(self._between())

    async def _between(self) -> None:
        talk, client, server = await self.pair()
        for _ in range(2):
            await send(client, b"?")
            await receive(server, 1)
        bulk, source, sink = await self.pair()
        source.send(bytes(50_000))
        client.send(b"now")
        bulk._client.ready(READS)
        self.assertEqual(server.recv(10), b"now")
        self.assertEqual(talk.up, 5)
        # A stream that ends while it is looked at, and one that has nothing to say.
        source.send(bytes(50_000))
        bulk._client.ready(READS)
        client.close()
        source.send(bytes(50_000))
        bulk._client.ready(READS)
        self.assertEqual(len(await receive(sink, 150_000)), 150_000)
        self.assertEqual(await receive(server, 1), b"")
        server.close()
        await talk.over
        self.assertEqual(self.plumbing.talkers, 0)
        self.assertEqual(await bulk_over(bulk, source, sink), "done")
        bulk.plumbing.attend(bulk.last_moved)


async def bulk_over(pair: object, *ends: object) -> str:
    """Close the far ends, and wait for the end of a pair."""
    for end in ends:
        end.close()  # type: ignore[attr-defined]
    return str(await pair.over)  # type: ignore[attr-defined]
