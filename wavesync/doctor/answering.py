"""``.wavesync``: the service that every agent has by itself, for clients of its system only.

One JSON question a line, one JSON answer a line (docs/doctor).
"""

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from wavesync.doctor.findings import Findings
from wavesync.doctor.flights import Flight
from wavesync.identity.verify import Peer
from wavesync.stun.buckets import SourceBuckets

__all__ = [
    "IDLE",
    "MAX_ANSWER",
    "MAX_HELD",
    "MAX_QUESTION",
    "MAX_QUESTIONS",
    "QUESTIONS_AT_ONCE",
    "QUESTIONS_A_SECOND",
    "SERVICE",
    "Doctor",
    "Question",
    "versions",
]

SERVICE = ".wavesync"
"""The name of the service."""

MAX_QUESTION = 1024
"""Bytes of the longest question, its end included."""

MAX_HELD = 4096
"""Bytes of questions that are held while one is being answered."""

MAX_ANSWER = 1 << 18
"""Bytes of the longest answer, its end included."""

QUESTIONS_A_SECOND, QUESTIONS_AT_ONCE = 1.0, 16.0
"""Questions of one client that are answered, on average and at once."""

MAX_QUESTIONS = 64
"""Questions of one session."""

IDLE = 60.0
"""Seconds without a question after which the session is ended."""

_MAX_CLIENTS = 1024


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question.

    :ivar ask: ``version``, ``findings`` or ``flight``.
    :ivar id: of the connect that ``flight`` asks for.
    """

    ask: str
    id: str = ""


def versions() -> dict[str, str]:
    """Tell what runs here."""
    return {
        "wavesync": version("wavesync"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


class Doctor:
    """Answers questions.

    :param clock: gives the time and timers.
    :param findings: examines this end's network.
    :param find: finds a connect by its id and the SHA-256 of its client's certificate.
    :param wall_clock: seconds since the epoch.
    """

    def __init__(
        self,
        clock: IReactorTime,
        findings: Callable[[], Deferred[Findings]],
        find: Callable[[str, str], Flight | None],
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._findings = findings
        self._find = find
        self._wall_clock = wall_clock
        self._buckets = SourceBuckets(QUESTIONS_A_SECOND, QUESTIONS_AT_ONCE, _MAX_CLIENTS)

    def service(self, peer: Peer) -> Factory:
        """Make what serves one client."""
        return _Sessions(self, peer)

    def answer(self, line: bytes, peer: Peer) -> Deferred[bytes]:
        """Answer one question of a client; never fails."""
        answer: Deferred[dict[str, Any]] = Deferred.fromCoroutine(self._answer(line, peer))
        answer.addErrback(_broken)
        return answer.addCallback(self._encode)

    async def _answer(self, line: bytes, peer: Peer) -> dict[str, Any]:
        if not self._buckets.allow(peer.fingerprint.hex(), self.clock.seconds()):
            return {"error": "too many questions: ask again in a while"}
        try:
            question = msgspec.json.decode(line, type=Question)
        except ValueError:
            return {"error": "this is no question"}
        match question.ask:
            case "version":
                return {"version": versions()}
            case "flight":
                return {"flight": self._find(question.id, peer.fingerprint.hex())}
            case "findings":
                return {"findings": await self._findings()}
        return {"error": "this server does not know that question"}

    def _encode(self, answer: dict[str, Any]) -> bytes:
        answer["now"] = round(self._wall_clock(), 3)
        line = msgspec.json.encode(answer) + b"\n"
        if len(line) > MAX_ANSWER:
            line = msgspec.json.encode({"error": "the answer is too long"}) + b"\n"
        return line


def _broken(failure: Failure) -> dict[str, Any]:
    if not failure.check(CancelledError):  # then the client is gone
        _log.failure("a question could not be answered", failure)
    return {"error": "this server could not find out"}


_log = Logger()


class _Sessions(Factory):
    """Makes the protocol of one client's session."""

    noisy = False

    def __init__(self, doctor: Doctor, peer: Peer) -> None:
        self._doctor = doctor
        self._peer = peer

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Make it (IProtocolFactory)."""
        return _Answering(self._doctor, self._peer)


class _Answering(Protocol):
    """One session: a question after the other."""

    transport: ITransport

    def __init__(self, doctor: Doctor, peer: Peer) -> None:
        self._doctor = doctor
        self._peer = peer
        self._held = b""
        self._asked: Deferred[None] | None = None
        self._idle: IDelayedCall | None = None
        self._over = False
        self._count = 0

    def connectionMade(self) -> None:
        """Wait for questions (IProtocol)."""
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        """Take questions (IProtocol)."""
        self._held += data
        self._turn()
        beginning = self._held.partition(b"\n")[0]
        if len(beginning) >= MAX_QUESTION or len(self._held) > MAX_HELD:
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone (IProtocol)."""
        self._over = True
        self._stop_waiting()
        if self._asked is not None:
            self._asked.cancel()

    def _turn(self) -> None:
        while self._asked is None and not self._over and b"\n" in self._held:
            line, _, self._held = self._held.partition(b"\n")
            if len(line) >= MAX_QUESTION:
                self._close()
                return
            self._stop_waiting()
            self._count += 1
            if self._count > MAX_QUESTIONS:
                self._close()
                return
            asked = self._doctor.answer(line, self._peer).addCallback(self._answered)
            if asked.called:
                self._wait()
            else:
                self._asked = asked.addCallback(self._next)

    def _answered(self, line: bytes) -> None:
        if not self._over:
            self.transport.write(line)

    def _next(self, _: None) -> None:
        self._asked = None
        if not self._over:
            self._wait()
            self._turn()

    def _wait(self) -> None:
        self._stop_waiting()
        self._idle = self._doctor.clock.callLater(IDLE, self._close)

    def _stop_waiting(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._idle = None

    def _close(self) -> None:
        self._over = True
        self._stop_waiting()
        self.transport.loseConnection()
