"""Tests for :mod:`wavesync.client.lan_path`: a server on the client's own network, in memory."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
from twisted.trial.unittest import SynchronousTestCase

from tests.client.lan_world import HERE, MemoryLAN
from tests.client.test_revoking import revocation_list
from tests.client.world import Talker
from tests.signalling.provers import server
from wavesync.client.memory import Memory, Remembered
from wavesync.client.report import Candidate, Timeline
from wavesync.errors import ConnectFailed, NotAllowed
from wavesync.identity.ids import Target
from wavesync.identity.revocations import Revocations
from wavesync.interfaces import Address
from wavesync.lan.asking import SEARCH_TIME
from wavesync.lan.sockets import GROUP, PORT
from wavesync.session.server import NamedServices, ServerSessionFactory
from wavesync.signalling.messages import Refusal
from wavesync.signalling.numbers import ConnectType, ErrorCode

SERVER = server().target
SEARCHED = f"{GROUP}:{PORT}"
WRONG: Address = ("10.0.0.66", 7001)


class LANCase(SynchronousTestCase):
    """A client and a server on one network, and a mediator elsewhere."""

    def begin(self, **options: Any) -> None:
        """Make the world."""
        self.lan = MemoryLAN()
        self.memory = Memory(wall_clock=lambda: 1e9, network=lambda: "here")
        self.world = self.lan.world(memory=self.memory, **options)

    def open(self, target: Target = SERVER) -> tuple[Talker, Deferred[Any]]:
        """Begin to connect."""
        talker = Talker()
        return talker, self.world.connector.connect(target, "echo", talker)

    def connect(self, seconds: float = 0.3, target: Target = SERVER) -> Timeline:
        """Connect, say something and have it echoed."""
        talker, opening = self.open(target)
        self.world.run(seconds)
        self.assertIs(self.successResultOf(opening), talker)
        self.assertEqual(talker.heard, b"hello")
        return self.world.connector.timelines[-1]

    def failed(self, *kinds: type[BaseException], target: Target = SERVER) -> tuple[float, str]:
        """Connect in vain; seconds until that is told, and the sentence."""
        began = self.world.reactor.seconds()
        _, opening = self.open(target)
        while not opening.called and self.world.reactor.seconds() < began + 20:
            self.world.run(0.005)
        failure = self.failureResultOf(opening, *(kinds or (ConnectFailed,)))
        return self.world.reactor.seconds() - began, failure.getErrorMessage()

    def entries(self) -> list[tuple[str, str, str]]:
        """What the last report says of this network: address, result, why."""
        timeline = self.world.connector.timelines[-1]
        found: list[Candidate] = [each for each in timeline.candidates if each.kind == "lan"]
        return [(each.address, each.result, each.why) for each in found]

    def end(self) -> None:
        """Close; nothing is left."""
        self.world.connector.close()
        self.world.run(0.1)
        self.lan.crash()
        self.assertEqual(self.world.shut(), [])


class ConnectTests(LANCase):
    """Whoever is on one network with the server needs nobody else."""

    def test_first(self) -> None:
        """The server answers, is verified, and has won long before a mediator could have helped."""
        self.begin()
        timeline = self.connect()
        self.assertEqual((timeline.path, timeline.server), ("lan", str(SERVER)))
        self.assertLess(timeline.ms["authenticated"], 20)
        self.assertEqual(self.entries(), [(SEARCHED, "lost", "another path was faster"), ("10.0.0.5:7001", "won", "")])  # fmt: skip
        self.assertEqual((self.lan.searches, self.lan.cancelled), ([SERVER.server], 1))
        self.end()

    def test_no_mediator(self) -> None:
        """The mediator is down: that is not even noticed."""
        self.begin()
        self.world.answering = False
        timeline = self.connect(0.05)
        self.assertEqual(timeline.path, "lan")
        self.end()

    def test_system(self) -> None:
        """Asked for the system, whichever server answers is taken, by its own name."""
        self.begin()
        self.world.answering = False
        timeline = self.connect(0.05, Target(SERVER.system))
        self.assertEqual((timeline.path, timeline.server), ("lan", str(SERVER)))
        self.assertEqual(self.lan.searches, [None])
        self.end()

    def test_reused(self) -> None:
        """Further connections go to the same place without a search, by whatever name."""
        self.begin()
        self.connect(target=Target(SERVER.system))
        for target in (SERVER, Target(SERVER.system)):
            timeline = self.connect(target=target)
            self.assertEqual((timeline.path, timeline.reused), ("lan", True))
        self.assertEqual(len(self.lan.searches), 1)
        self.end()

    def test_link_local(self) -> None:
        """A place that needs its scope is remembered with it."""
        self.begin()
        place = ("fe80::5%eth0", 7001)
        self.lan.answers = [(0.002, SERVER.server or "", place)]
        self.lan.serve(place, self.world.sessions)
        self.connect()
        self.assertEqual(self.entries()[1], ("[fe80::5%eth0]:7001", "won", ""))
        timeline = Timeline("again", self.world.reactor.seconds)
        getting = self.world.connector.session(SERVER, timeline)
        self.world.run(0.1)
        session = self.successResultOf(getting)
        self.assertEqual((session.path_kind, session.path_address), ("lan", place))
        session.close()
        hosts = [host for host, *_ in self.world.reactor.tcpClients]
        self.assertEqual(hosts, [place[0]] * 2)
        known = self.memory.recall(str(SERVER))
        assert known is not None
        self.assertEqual(known.lan, place)
        self.end()

    def test_reported(self) -> None:
        """The mediator is told by which path, if it was there in time."""
        self.begin()
        self.lan.answers = [(0.021, SERVER.server or "", HERE)]
        self.world.punching = False
        self.connect(1)
        self.assertEqual([each.connect_type for each in self.world.results], [ConnectType.LAN])
        self.end()

    def test_not_wanted(self) -> None:
        """Without the kind of path nobody searches."""
        self.begin(paths={"udp"})
        self.assertEqual(self.connect().path, "udp")
        self.assertEqual(self.lan.searches, [])
        self.end()


class MemoryTests(LANCase):
    """What worked on this network is tried at once."""

    def test_at_once(self) -> None:
        """The next program does not wait for the search."""
        self.begin()
        self.memory.note(str(SERVER), Remembered(server=str(SERVER), lan=HERE, direct="lan"))
        self.lan.answers = []
        self.world.answering = False
        self.assertEqual(self.connect(0.05).path, "lan")
        self.end()

    def test_once(self) -> None:
        """A place that is being tried already is not tried again because it answers."""
        self.begin()
        self.memory.note(str(SERVER), Remembered(server=str(SERVER), lan=HERE, direct="lan"))
        self.connect()
        self.assertEqual(len(self.world.reactor.tcpClients), 1)
        self.end()

    def test_moved(self) -> None:
        """Nobody is there any more: the search finds the new place, which is kept instead."""
        self.begin()
        self.memory.note(str(SERVER), Remembered(server=str(SERVER), lan=WRONG, direct="lan"))
        self.assertEqual(self.connect().path, "lan")
        known = self.memory.recall(str(SERVER))
        assert known is not None
        self.assertEqual((known.lan, known.tcp, known.direct), (HERE, ("", 0), "lan"))
        self.end()


class NobodyTests(LANCase):
    """Where nobody answers, everything is as if nobody had been asked."""

    def begin(self, **options: Any) -> None:
        """Nobody answers."""
        super().begin(**options)
        self.lan.answers = []

    def test_no_delay(self) -> None:
        """Another path wins as soon as ever; only the report tells of the search."""
        self.begin()
        timeline = self.connect()
        self.assertEqual(timeline.path, "udp")
        self.assertLess(timeline.ms["authenticated"], 100)
        self.assertEqual(self.entries(), [(SEARCHED, "lost", "another path was faster")])
        self.end()

    def test_silent(self) -> None:
        """When everything fails, the sentence tells of what could have worked."""
        self.begin()
        self.world.punching = False
        _, told = self.failed()
        self.assertNotIn("lan", told)
        self.assertIn("udp: the other side was never heard", told)
        why = "the server does not answer on this network"
        self.assertEqual(self.entries(), [(SEARCHED, "failed", why)])
        self.end()

    def test_refused(self) -> None:
        """A mediator's refusal is told when the search is over, and not changed by it."""
        self.begin()
        self.world.refusal = Refusal(ErrorCode.FORBIDDEN, "not today")
        seconds, told = self.failed(NotAllowed)
        self.assertIn("not today", told)
        self.assertLess(seconds, SEARCH_TIME + 0.02)
        self.end()

    def test_only(self) -> None:
        """With nothing else to try, that is told after half a second, whatever the mediator does."""
        for target, links, words in (
            (SERVER, 1, "no path works: lan: the server does not answer on this network"),
            (
                Target(SERVER.system),
                1,
                "no path works: lan: a server of the system does not answer",
            ),
            (SERVER, 0, "no path works: lan: this host is on no network"),
        ):
            for answering in (True, False):
                self.begin(paths={"lan"})
                self.world.answering, self.lan.links = answering, links
                seconds, told = self.failed(target=target)
                self.assertTrue(told.startswith(words), told)
                self.assertNotIn("allow UDP", told)
                self.assertApproximates(seconds, SEARCH_TIME, 0.02)
                self.end()

    def test_given_up(self) -> None:
        """Giving up ends the search."""
        self.begin()
        _, opening = self.open()
        self.world.run(0.005)
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertEqual(self.lan.cancelled, 1)
        self.end()


class WrongHostTests(LANCase):
    """An answer proves nothing."""

    def impostor(self, of: int = 1) -> ServerSessionFactory:
        """A server that is not the one it says."""
        return ServerSessionFactory(
            server(2, of),
            NamedServices({"echo": Factory.forProtocol(Echo)}),
            self.world.reactor,
            wall_clock=self.world.wall_clock,
        )

    def test_race_goes_on(self) -> None:
        """Another server of the system, or of another one, answers first: the right one wins."""
        for of in (1, 2):
            self.begin()
            self.lan.serve(WRONG, self.impostor(of))
            self.lan.answers.insert(0, (0.001, SERVER.server or "", WRONG))
            self.lan.answers[1] = (0.1, SERVER.server or "", HERE)
            self.world.answering = False
            self.assertEqual(self.connect().path, "lan")
            by_address = {address: (result, why) for address, result, why in self.entries()}
            self.assertEqual(by_address["10.0.0.66:7001"][0], "failed")
            self.assertEqual(by_address["10.0.0.5:7001"][0], "won")
            self.end()

    def test_elsewhere(self) -> None:
        """Only the wrong one answers: the right one is reached by another way."""
        self.begin()
        self.lan.serve(WRONG, self.impostor())
        self.lan.answers = [(0.001, SERVER.server or "", WRONG)]
        self.assertEqual(self.connect(1).path, "udp")
        self.end()

    def test_bare(self) -> None:
        """Asked for the system, who answers for one server and is another one is refused, too."""
        self.begin(paths={"lan"})
        self.lan.serve(WRONG, self.impostor())
        self.lan.answers = [(0.001, SERVER.server or "", WRONG)]
        _, told = self.failed(target=Target(SERVER.system))
        self.assertIn("lan: ", told)
        self.assertNotIn("does not answer", told)
        self.end()


class RevokedTests(LANCase):
    """What is known of revoked servers counts on one's own network, too."""

    def revocations(self) -> Revocations:
        """A list that names the server."""
        revocations = Revocations(server().system_key_bytes)
        revocations.offer(revocation_list(server()).der)
        return revocations

    def test_known(self) -> None:
        """The client has the list: the server is refused in the handshake."""
        self.begin(paths={"lan"}, revocations=self.revocations())
        _, told = self.failed()
        self.assertIn("revoked", told)
        self.end()

    def test_not_online(self) -> None:
        """A mediator that does not know the server: a session that comes later waits for its list."""
        self.begin()
        self.world.refusal = Refusal(ErrorCode.NOT_FOUND)
        self.lan.answers = [(0.1, SERVER.server or "", HERE)]
        _, told = self.failed()
        self.assertIn("is not online", told)
        self.assertIn("it can be reached, but the mediator", told)
        self.end()

    def test_not_the_client(self) -> None:
        """What a mediator thinks of the client does not count here: the server judges it."""
        for refusal in (
            Refusal(ErrorCode.FORBIDDEN, "not today"),
            Refusal(ErrorCode.INSUFFICIENT_CAPACITY),
        ):
            self.begin()
            self.world.refusal = refusal
            self.lan.answers = [(0.1, SERVER.server or "", HERE)]
            self.assertEqual(self.connect().path, "lan")
            self.end()
