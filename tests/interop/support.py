"""Peers made of the real libudt, and our side of the conversation with them."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from wavesync.interfaces import Address, Burst
from wavesync.udt.carrier import Arrival, ICarrier, Receiver, SocketCarrier, slices

SOURCE = Path(__file__).with_name("peer.cpp")
HEADER = Path("/usr/include/udt/udt.h")


def peer_program() -> str:
    """Build the C++ peer if it is not there or older than its source.

    :return: its path.
    :raises SkipTest: libudt-dev or g++ is not installed.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise SkipTest("g++ is not installed")
    if not HEADER.exists():
        raise SkipTest("libudt-dev is not installed")
    program = SOURCE.parent / "build" / "peer"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        fresh = program.with_suffix(".new")
        subprocess.run(
            [compiler, "-std=c++17", "-O1", "-o", fresh, SOURCE, "-ludt", "-lpthread"],
            check=True,
        )
        fresh.rename(program)
    return str(program)


def pattern(seed: int, size: int) -> bytes:
    """:return: *size* bytes that no other seed gives."""
    return Random(seed).randbytes(size)


class Peer(ProcessProtocol):
    """A running C++ peer.

    :ivar received: what came on its stdout: the bytes it received.
    :ivar lines: what it told on stderr.
    :ivar ended: fires with the exit status.
    """

    def __init__(self, *arguments: object, send: bytes = b"") -> None:
        self.digest = hashlib.sha256()
        self.received = 0
        self.lines: list[str] = []
        self.ended: Deferred[int | None] = Deferred()
        self._text = ""
        self._send = send
        self._waiting: list[tuple[str, Deferred[str]]] = []
        program = peer_program()
        self._process = reactor.spawnProcess(
            self, program, [program, *(str(argument) for argument in arguments)]
        )

    def connectionMade(self) -> None:
        """Feed stdin."""
        assert self.transport is not None
        self.transport.write(self._send)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Note what the peer received."""
        self.digest.update(data)
        self.received += len(data)

    def errReceived(self, data: bytes) -> None:
        """Note what the peer told."""
        self._text += data.decode()
        *lines, self._text = self._text.split("\n")
        for line in lines:
            self.lines.append(line)
            for word, waiting in list(self._waiting):
                if line.startswith(word):
                    self._waiting.remove((word, waiting))
                    waiting.callback(line)

    def told(self, word: str) -> "Deferred[str]":
        """:return: fires with the first line that begins with *word*; fails if the peer ends without."""
        for line in self.lines:
            if line.startswith(word):
                done: Deferred[str] = Deferred()
                done.callback(line)
                return done
        waiting: Deferred[str] = Deferred()
        self._waiting.append((word, waiting))
        return waiting

    def processEnded(self, reason: Failure) -> None:
        """Note the exit status."""
        self.ended.callback(getattr(reason.value, "exitCode", None))
        waiting, self._waiting = self._waiting, []
        for word, each in waiting:
            each.errback(AssertionError(f"the peer ended before it told {word!r}: {self.lines}"))

    def stop(self) -> "Deferred[int | None]":
        """Kill the peer if it still runs."""
        if not self.ended.called:
            with contextlib.suppress(error.ProcessExitedAlready):
                self._process.signalProcess("KILL")
        return self.ended


class Stream(Protocol):
    """Our end: sends, receives, and closes when told to.

    :ivar finished: fires with the reason of ``connectionLost``.
    """

    transport: ITransport

    def __init__(self, send: bytes, expect: int, *, close_first: bool) -> None:
        self.digest = hashlib.sha256()
        self.received = 0
        self.finished: Deferred[BaseException | None] = Deferred()
        self._send = send
        self._expect = expect
        self._close_first = close_first

    def connectionMade(self) -> None:
        """Send everything."""
        self.transport.write(self._send)
        self._close_if_done()

    def dataReceived(self, data: bytes) -> None:
        """Count and hash."""
        self.digest.update(data)
        self.received += len(data)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._close_first and self.received >= self._expect:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        self.finished.callback(reason.value)


class Echo(Protocol):
    """Sends back what comes."""

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class _Built(Factory):
    noisy = False

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Build."""
        return self._build()


def factory_of(build: Callable[[], Any]) -> Factory:
    """:return: a factory whose protocols *build* makes."""
    return _Built(build)


@implementer(ICarrier)
class LossyCarrier:
    """A socket carrier that loses datagrams in both directions by a seeded chance."""

    def __init__(self, carrier: SocketCarrier, loss: float, seed: int) -> None:
        self._carrier = carrier
        self._random = Random(seed)
        self._loss = loss
        self._receiver: Receiver | None = None
        self.lost = 0

    @property
    def address(self) -> Address:
        """The local address."""
        return self._carrier.address

    @property
    def room(self) -> int:
        """Packets that the system keeps."""
        return self._carrier.room

    @property
    def congested(self) -> bool:
        """Whether bursts had better wait."""
        return self._carrier.congested

    def _loses(self) -> bool:
        lost = self._random.random() < self._loss
        self.lost += lost
        return lost

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        self._receiver = receiver
        self._carrier.start(self)

    def stop(self) -> None:
        """Stop."""
        self._carrier.stop()

    def send(self, burst: Burst, destination: Address) -> None:
        """Send what is not lost, in bursts as far as they are whole."""
        run: list[bytes] = []
        for datagram in [*slices(burst), b""]:
            if datagram and not self._loses():
                run.append(datagram)
            elif run:
                self._carrier.send(Burst(b"".join(run), burst.segment_size), destination)
                run = []

    def bursts_received(self, arrivals: Iterable[Arrival]) -> None:
        """Hand on what is not lost."""
        kept = []
        for data, segment_size, source, _ in arrivals:
            burst = Burst(bytes(data), segment_size)
            pieces = [p for p in slices(burst) if not self._loses()]
            if pieces:
                kept.append(Arrival(b"".join(pieces), segment_size, source))
        if kept and self._receiver is not None:
            self._receiver.bursts_received(kept)

    def carrier_ready(self) -> None:
        """Hand on."""
        if self._receiver is not None:
            self._receiver.carrier_ready()

    def too_large(self, datagram: bytes, destination: Address) -> bool:
        """Hand on."""
        return self._receiver is not None and self._receiver.too_large(datagram, destination)


def sleep(seconds: float) -> "Deferred[None]":
    """:return: fires after *seconds* of real time: libudt lives in that."""
    return deferLater(reactor, seconds)


if sys.platform != "linux":
    raise SkipTest("the C++ peer is built on Linux only")
