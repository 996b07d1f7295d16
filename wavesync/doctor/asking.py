"""The client's end of ``.wavesync``: asks a server over an accepted session (docs/doctor)."""

from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.doctor.answering import MAX_ANSWER, SERVICE, Question
from wavesync.doctor.findings import Findings, FindingsError, decode_findings
from wavesync.doctor.flights import Flight
from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.session.client import ClientSession
from wavesync.session.errors import Refusal, Refused, SessionLost

__all__ = ["ANSWER_WITHIN", "Asking", "ask_server"]

ANSWER_WITHIN = 10.0
"""Seconds that a server has for one answer."""

_OLD = "the server does not answer questions: it is of an older version, or its settings forbid it"


class Asking(Protocol):
    """Asks one question after the other.

    :param clock: for the time limit.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._held: list[bytes] = []
        self._size = 0
        self._waiting: Deferred[dict[str, Any]] | None = None
        self._why: WavesyncError | None = None

    async def version(self) -> dict[str, str]:
        """What runs there.

        :raises ConnectFailed: no sound answer came, as for all of these.
        """
        try:
            return msgspec.convert(
                (await self._ask(Question("version")))["version"], dict[str, str]
            )
        except (KeyError, msgspec.MsgspecError):
            raise ConnectFailed("the server's answer makes no sense") from None

    async def findings(self) -> Findings:
        """What the server finds out about its network."""
        answer = await self._ask(Question("findings"))
        try:
            return decode_findings(msgspec.json.encode(answer["findings"]))
        except (KeyError, FindingsError) as error:
            raise ConnectFailed(f"the server's findings make no sense: {error}") from None

    async def flight(self, connection: str) -> tuple[Flight | None, float]:
        """What the server saw of a connect, if it knows it, and the server's clock."""
        answer = await self._ask(Question("flight", connection))
        try:
            flight = msgspec.convert(answer["flight"], Flight | None)
            now = float(answer["now"])
        except (KeyError, TypeError, ValueError):
            flight, now = None, -1.0
        if now < 0 or (flight is not None and not flight.sound()):
            raise ConnectFailed("the server's record makes no sense")
        return flight, now

    def dataReceived(self, data: bytes) -> None:
        """Take an answer (IProtocol)."""
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._end(ConnectFailed("the server's answer is too long"))
        elif b"\n" in data:
            line, _, rest = b"".join(self._held).partition(b"\n")
            self._held, self._size = [rest], len(rest)
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                _fire(waiting, line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No answer can come any more (IProtocol)."""
        error = reason.value
        if not isinstance(error, WavesyncError):
            error = ConnectFailed("the server ended the session")
        self._end(error)

    def close(self) -> None:
        """Ask nothing more."""
        if self.transport is not None:
            self.transport.loseConnection()

    def _ask(self, question: Question) -> Deferred[dict[str, Any]]:
        if self._why is not None:
            return fail(self._why)
        assert self._waiting is None and self.transport is not None
        waiting: Deferred[dict[str, Any]] = Deferred(self._forget)
        self._waiting = waiting
        self.transport.write(msgspec.json.encode(question) + b"\n")
        return waiting.addTimeout(
            ANSWER_WITHIN, self._clock, lambda _, __: Failure(ConnectFailed("no answer came"))
        )

    def _forget(self, _: object) -> None:
        self._waiting = None
        self.close()

    def _end(self, error: WavesyncError) -> None:
        self._why = self._why or error
        waiting, self._waiting = self._waiting, None
        self.close()
        if waiting is not None:
            waiting.errback(error)


def _fire(waiting: Deferred[dict[str, Any]], line: bytes) -> None:
    """Tell an answer, or what is wrong with it."""
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except (ValueError, RecursionError):
        waiting.errback(ConnectFailed("the server's answer makes no sense"))
        return
    error = answer.get("error")
    if error is None:
        waiting.callback(answer)
        return
    sentence = str(error)[:240]
    sentence = "".join(each if each.isprintable() else "?" for each in sentence)
    waiting.errback(ConnectFailed(f"the server says: {sentence}"))


async def ask_server(
    session: ClientSession, clock: IReactorTime, *, connection: str = ""
) -> Asking:
    """Open the service over a verified session.

    :param connection: the connection id that the server is to record it by; empty for none.
    :raises WavesyncError: the server has none; it is an older one, or its settings forbid it.
    """
    asking = Asking(clock)
    try:
        await session.open(SERVICE, cast(IProtocol, asking), connection=connection)
    except (Refused, SessionLost) as error:
        if error.code in (Refusal.NO_SERVICE, Refusal.BAD_FRAME):
            raise ConnectFailed(_OLD) from None
        raise
    return asking
