"""When better ways than the one in use are tried again, and ready probes for streams without a tunnel."""

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.stun.framing import StreamDecoder
from wavesync.stun.message import BINDING, Message, MessageClass, StunError, encode
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.urls import TunnelURL

__all__ = [
    "FIRST_PROBE",
    "JITTER",
    "LATEST_PROBE",
    "PROBE_TIMEOUT",
    "Probe",
    "Schedule",
    "probe_mediator",
    "probe_relay",
]

FIRST_PROBE = 60.0
"""Seconds after which better ways than the one in use are tried first."""

LATEST_PROBE = 900.0
"""Seconds between two rounds at most; the pause doubles until then."""

JITTER = 0.25
"""By which part of it a pause is shorter or longer, at random: many hosts wake up together."""

PROBE_TIMEOUT = 6.0
"""Seconds that one way has to show that bytes pass."""

Probe: TypeAlias = Callable[[IStreamClientEndpoint], Deferred[object]]
"""Connects, and fires once bytes have come back that only the right other end can send; closes then."""

_MAX_MESSAGE = 2048
_MAX_HEAD = 8192
_CHALLENGE = b"\r\nwww-authenticate: wavesync "


class Schedule:
    """When the next round of probes is due; sans-I/O.

    :param random: gives a number from 0 to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._pause = FIRST_PROBE

    def restart(self) -> None:
        """Another way is used, or another network: begin anew."""
        self._pause = FIRST_PROBE

    def next(self) -> float:
        """Give the seconds until the next round; the one after it comes later."""
        pause, self._pause = self._pause, min(LATEST_PROBE, 2 * self._pause)
        return pause * (1 + JITTER * (2 * self._random() - 1))


class _Probing(Protocol):
    """Sends a few bytes, and looks at what comes back."""

    def __init__(self, send: bytes, check: Callable[[bytes], bool]) -> None:
        self.done: Deferred[object] = Deferred(lambda _: self._end())
        self._send = send
        self._check = check
        self._over = self._lost = False

    def connectionMade(self) -> None:
        """Send (IProtocol)."""
        assert self.transport is not None
        self.transport.write(self._send)

    def dataReceived(self, data: bytes) -> None:
        """Judge (IProtocol)."""
        if self._over:
            return
        try:
            good = self._check(data)
        except (StunError, ValueError):
            self._end()
            self.done.errback(TunnelError("something else answers there", Why.CHANGED))
            return
        if good:
            self._end()
            self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No answer (IProtocol)."""
        self._lost = True
        if not self._over:
            self._over = True
            self.done.errback(TunnelError("closed before an answer had come", Why.CLOSED))

    def _end(self) -> None:
        self._over = True
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]


async def _probe(
    endpoint: IStreamClientEndpoint, send: bytes, check: Callable[[bytes], bool]
) -> object:
    probing = _Probing(send, check)
    factory = Factory.forProtocol(lambda: probing)
    factory.noisy = False
    await endpoint.connect(factory)
    return await probing.done


def probe_mediator(random: Callable[[int], bytes]) -> Probe:
    """Make the probe of a mediator's TCP port: a Binding request (RFC 8489), answered.

    :param random: gives that many unpredictable bytes.
    """

    def probe(endpoint: IStreamClientEndpoint) -> Deferred[object]:
        asked = random(12)
        decoder = StreamDecoder(_MAX_MESSAGE)

        def check(data: bytes) -> bool:
            return any(
                message.transaction_id == asked
                and message.method == BINDING
                and message.message_class is MessageClass.SUCCESS
                for message in decoder.feed(data)
            )

        request = encode(Message(BINDING, MessageClass.REQUEST, asked, ()))
        return Deferred.fromCoroutine(_probe(endpoint, request, check))

    return probe


def probe_relay(url: TunnelURL, random: Callable[[int], bytes]) -> Probe:
    """Make the probe of a relay: a request without a proof, which it answers with a challenge.

    :param url: the relay's.
    :param random: gives that many unpredictable bytes.
    """

    def probe(endpoint: IStreamClientEndpoint) -> Deferred[object]:
        head = bytearray()

        def check(data: bytes) -> bool:
            head.extend(data)
            text = bytes(head).lower()
            if not b"http/1.1 ".startswith(text[:9]):
                raise ValueError("no HTTP")
            if _CHALLENGE in text:
                return True
            if b"\r\n\r\n" in text or len(text) > _MAX_HEAD:
                raise ValueError("no relay")
            return False

        target = f"{random(16).hex()}.{random(16).hex()}"
        lines = [
            "GET /wavesync/1/connect HTTP/1.1",
            f"Host: {url.authority}",
            "Connection: Upgrade",
            "Upgrade: wavesync-relay/1",
            f"Wavesync-Target: {target}",
            f"Wavesync-Connection: {random(16).hex()}",
        ]
        request = "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
        return Deferred.fromCoroutine(_probe(endpoint, request, check))

    return probe
