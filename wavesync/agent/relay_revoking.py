"""Hands this system's revocation list to a relay that has an older one (docs/relay)."""

import hashlib
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from wavesync.errors import ConnectFailed
from wavesync.identity.credentials import Credentials
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_answers import AnswerReader, RelayAnswer
from wavesync.signalling.relay_heads import HeadError
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["MAX_REPEATS", "UPLOAD_TIMEOUT", "upload_list"]

UPLOAD_TIMEOUT = 30.0
"""Seconds for one attempt to hand a list over."""

MAX_REPEATS = 2
"""Times that the request is signed again over a relay's nonce."""


class _Upload(Protocol):
    """One request with a body, and its answer."""

    def __init__(self, request: bytes) -> None:
        self.answer: Deferred[RelayAnswer] = Deferred(lambda _: self._close())
        self._request = request
        self._reader = AnswerReader()

    def connectionMade(self) -> None:
        """Send all of it (IProtocol)."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Take the answer (IProtocol)."""
        if self.answer.called:
            return
        try:
            answer = self._reader.feed(data)
        except HeadError as error:
            self.answer.errback(ConnectFailed(str(error)))
            self._close()
            return
        if answer is not None:
            self.answer.callback(answer)
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """There will be no answer (IProtocol)."""
        if not self.answer.called:
            self.answer.errback(ConnectFailed("the relay closed the connection"))

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


async def upload_list(
    clock: IReactorTime,
    relay: Relay,
    endpoint: IStreamClientEndpoint,
    credentials: Credentials,
    der: bytes,
    *,
    wall_clock: Callable[[], float],
) -> None:
    """Hand the list over.

    :param der: the whole list.
    :raises ConnectFailed: the relay did not take it; other errors come from the endpoint.
    """
    request = RelayRequest(
        RequestKind.REVOKE, digest=hashlib.sha256(der).hexdigest(), size=len(der)
    )
    nonce = b""
    for _ in range(1 + MAX_REPEATS):
        prover = Prover(credentials, relay.audience, wall_clock(), nonce)
        answer = await _attempt(clock, endpoint, _Upload(request.encode(relay, prover) + der))
        challenge = answer.challenge
        if answer.status == 204:
            return
        if challenge is None or challenge.name != relay.audience:
            break
        nonce = challenge.nonce
    why = f": {answer.reason}" if answer.reason else ""
    raise ConnectFailed(f"it answers with status {answer.status}{why}")


async def _attempt(
    clock: IReactorTime, endpoint: IStreamClientEndpoint, upload: _Upload
) -> RelayAnswer:
    factory = Factory.forProtocol(lambda: upload)
    factory.noisy = False
    await endpoint.connect(factory)
    return await upload.answer.addTimeout(UPLOAD_TIMEOUT, clock)
