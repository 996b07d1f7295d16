"""Tests for wavesync.doctor.answering and asking: ``.wavesync``, over a session in memory."""

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory

from tests.session.cases import SessionCase
from tests.session.support import NOW, Path, Recorder
from wavesync.agent.built_in import WithDoctor
from wavesync.doctor.answering import (
    IDLE,
    MAX_ANSWER,
    MAX_HELD,
    MAX_QUESTION,
    MAX_QUESTIONS,
    QUESTIONS_AT_ONCE,
    SERVICE,
    Doctor,
)
from wavesync.doctor.asking import ANSWER_WITHIN, Asking, ask_server
from wavesync.doctor.findings import Family, Findings
from wavesync.doctor.flights import Flight, FlightEvent
from wavesync.errors import ConnectFailed
from wavesync.session.client import ClientSession
from wavesync.session.services import NamedServices

ID = "c0" * 16


class AnsweringTests(SessionCase):
    """Clients of the system can ask every server; the server bounds what that costs."""

    def setUp(self) -> None:
        """Make a server that answers."""
        super().setUp()
        self.examining: Deferred[Findings] | None = None
        self.flight = Flight(ID, NOW, "alice", [FlightEvent(1.0, "introduced")])
        self.asked_for: list[tuple[str, str]] = []
        self.doctor = Doctor(self.clock, self.findings, self.find, wall_clock=lambda: NOW)
        table = NamedServices({"web": Factory.forProtocol(Recorder)})
        services = self.factory.services = WithDoctor(table, self.doctor)
        self.factory._names = services.names

    def findings(self) -> Deferred[Findings]:
        """Examine."""
        return self.examining or succeed(Findings(at=NOW, ipv4=Family(udp=True)))

    def find(self, connection: str, owner: str) -> Flight | None:
        """Note who asks."""
        self.asked_for.append((connection, owner))
        return self.flight if connection == ID else None

    def asking(self) -> tuple[Path, ClientSession, Asking]:
        """Open the service as a client does."""
        path, session = self.session()
        opening = Deferred.fromCoroutine(ask_server(session, self.clock))
        path.pump()
        return path, session, self.successResultOf(opening)

    def raw(self) -> tuple[Path, Recorder]:
        """Open the service as a client that does what it wants."""
        path, session = self.session()
        recorder = Recorder()
        session.open(SERVICE, recorder)
        path.pump()
        return path, recorder

    def ask(self, path: Path, recorder: Recorder, data: bytes) -> list[dict[str, Any]]:
        """Send bytes; give the answers."""
        recorder.received.clear()
        recorder.transport.write(data)
        path.pump()
        return [json.loads(line) for line in bytes(recorder.received).splitlines()]

    def test_questions(self) -> None:
        """Version, findings and flight are answered; the flight is that of the client that asks."""
        path, _, asking = self.asking()
        version = Deferred.fromCoroutine(asking.version())
        path.pump()
        self.assertIn("wavesync", self.successResultOf(version))
        findings = Deferred.fromCoroutine(asking.findings())
        path.pump()
        self.assertEqual(self.successResultOf(findings).ipv4, Family(udp=True))
        for connection, expected in ((ID, self.flight), ("00" * 16, None)):
            flight = Deferred.fromCoroutine(asking.flight(connection))
            path.pump()
            self.assertEqual(self.successResultOf(flight), (expected, NOW))
        (peer,) = self.factory.serving.values()
        self.assertEqual(self.asked_for[0], (ID, peer.fingerprint.hex()))
        asking.close()
        path.pump()
        path.advance(10)
        self.assertEqual(len(self.factory.serving), 0)

    def test_not_listed(self) -> None:
        """The service is not among those that a client is told of."""
        path, session = self.session()
        opening = session.open("nothing", Recorder())
        path.pump()
        sentence = self.failureResultOf(opening, ConnectFailed).getErrorMessage()
        self.assertIn("known: web", sentence)
        self.assertNotIn(SERVICE, sentence)

    def test_older_server(self) -> None:
        """A server that has no such service is said to be older."""
        self.factory.services = NamedServices({})
        path, session = self.session()
        opening = Deferred.fromCoroutine(ask_server(session, self.clock))
        path.pump()
        failure = self.failureResultOf(opening, ConnectFailed)
        self.assertIn("older version", failure.getErrorMessage())

    def test_nonsense(self) -> None:
        """What is no question is answered so, and the session goes on."""
        path, recorder = self.raw()
        answers = self.ask(path, recorder, b'{]\n{"ask":"more"}\n{"ask":3}\n\n{"ask":"version"}\n')
        self.assertEqual(len(answers), 5)
        self.assertEqual(["error" in each for each in answers], [True] * 4 + [False])

    def test_rate(self) -> None:
        """A client that asks too often is told so, over whatever sessions it asks."""
        path, recorder = self.raw()
        many = b'{"ask":"version"}\n' * int(QUESTIONS_AT_ONCE)
        self.assertFalse(any("error" in each for each in self.ask(path, recorder, many)))
        other, second = self.raw()
        (answer,) = self.ask(other, second, b'{"ask":"version"}\n')
        self.assertIn("too many questions", answer["error"])
        other.advance(2)
        self.assertIn("version", self.ask(other, second, b'{"ask":"version"}\n')[0])

    def test_limits(self) -> None:
        """A long question, many at once or many in all end the session; one below each does not."""
        fitting = b'{"ask":"version"}'.ljust(MAX_QUESTION - 1) + b"\n"
        path, recorder = self.raw()
        self.assertEqual(len(self.ask(path, recorder, fitting)), 1)
        self.assertIsNone(recorder.lost)
        self.ask(path, recorder, b" " + fitting)
        path.advance(12)
        self.assertIsNotNone(recorder.lost)
        path, recorder = self.raw()
        self.ask(path, recorder, b"x" * MAX_QUESTION)
        path.advance(12)
        self.assertIsNotNone(recorder.lost)
        path, recorder = self.raw()
        self.assertEqual(len(self.ask(path, recorder, b"\n" * MAX_QUESTIONS)), MAX_QUESTIONS)
        self.assertEqual(self.ask(path, recorder, b"\n"), [])
        path.advance(12)
        self.assertIsNotNone(recorder.lost)

    def test_busy(self) -> None:
        """While findings are under way further questions wait, in their order, up to a limit."""
        self.examining = Deferred()
        path, recorder = self.raw()
        self.assertEqual(self.ask(path, recorder, b'{"ask":"findings"}\n{"ask":"version"}\n'), [])
        self.examining.callback(Findings())
        path.pump()
        first, second = map(json.loads, bytes(recorder.received).splitlines())
        self.assertIn("findings", first)
        self.assertIn("version", second)
        self.examining = Deferred()
        self.ask(path, recorder, b'{"ask":"findings"}\n')
        self.ask(path, recorder, b"\n" * MAX_HELD)
        self.assertIsNone(recorder.lost)
        self.ask(path, recorder, b"\n")
        path.advance(12)
        self.assertIsNotNone(recorder.lost)

    def test_idle(self) -> None:
        """A client that asks nothing does not keep the session for ever."""
        path, recorder = self.raw()
        path.advance(IDLE - 1)
        self.assertIsNone(recorder.lost)
        path.advance(15)
        self.assertIsNotNone(recorder.lost)

    def test_broken(self) -> None:
        """When the examination breaks, the client is told, and the operator."""
        self.examining = Deferred()
        self.examining.errback(RuntimeError("broken"))
        path, recorder = self.raw()
        (answer,) = self.ask(path, recorder, b'{"ask":"findings"}\n')
        self.assertIn("could not find out", answer["error"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_long_answer(self) -> None:
        """An answer that is too long is not sent."""
        self.flight.events = [FlightEvent(0.0, "x" * MAX_ANSWER)]
        path, recorder = self.raw()
        (answer,) = self.ask(path, recorder, b'{"ask":"flight","id":"%s"}\n' % ID.encode())
        self.assertEqual(answer, {"error": "the answer is too long"})


class AskingTests(SessionCase):
    """A server that lies can tell nonsense, and no more."""

    def answered(self, line: bytes) -> ConnectFailed:
        """Ask a server that answers with a line; give the error."""
        asking = Asking(self.clock)
        asking.makeConnection(_Nowhere())
        flight = Deferred.fromCoroutine(asking.flight(ID))
        asking.dataReceived(line)
        error = self.failureResultOf(flight, ConnectFailed).value
        assert isinstance(error, ConnectFailed)
        return error

    def test_nonsense(self) -> None:
        """Whatever comes is a sentence."""
        for line in (
            b"\n", b"[]\n", b"{}\n", b'{"flight":3,"now":1}\n', b'{"flight":null}\n',
            b'{"flight":null,"now":"x"}\n', b"[" * 5000 + b"\n",
            b'{"flight":{"id":"x","at":1},"now":1}\n',
            b'{"flight":{"id":"%s","at":1,"client":"\\u001b[2J"},"now":1}\n' % ID.encode(),
        ):  # fmt: skip
            self.assertIn("no sense", str(self.answered(line)), line)
        self.assertIn("says: no?", str(self.answered(b'{"error":"no\\u0007"}\n')))
        self.assertIn("too long", str(self.answered(b"x" * (MAX_ANSWER + 1))))

    def test_silence(self) -> None:
        """A server that says nothing is given up."""
        asking = Asking(self.clock)
        asking.makeConnection(_Nowhere())
        version = Deferred.fromCoroutine(asking.version())
        self.clock.advance(ANSWER_WITHIN)
        self.failureResultOf(version, ConnectFailed)


class _Nowhere:
    """A transport that leads nowhere."""

    def write(self, data: bytes) -> None:
        """Drop it."""

    def loseConnection(self) -> None:
        """It is closed."""
