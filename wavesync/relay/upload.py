"""A revocation list on its way from a server: as many bytes as were proved, then one answer."""

import hashlib
from typing import TYPE_CHECKING

from wavesync.relay.role import Wire
from wavesync.signalling.relay_answers import RelayAnswer
from wavesync.signalling.relay_wire import RelayRequest

if TYPE_CHECKING:
    from wavesync.relay.house import House

__all__ = ["MAX_UPLOADS", "Upload"]

MAX_UPLOADS = 16
"""Lists on their way at one time."""


class Upload:
    """One of them.

    :param house: what all connections share.
    :param wire: the socket's side.
    :param request: the request, whose proof holds.
    :param system_key: the key of the server's system.
    """

    __slots__ = ("_body", "_house", "_request", "_system_key", "_wire")

    def __init__(
        self, house: "House", wire: Wire, request: RelayRequest, system_key: bytes
    ) -> None:
        self._house = house
        self._wire = wire
        self._request = request
        self._system_key = system_key
        self._body = bytearray()

    def received(self, data: bytes) -> None:
        """More of the list (Role)."""
        self._body += data
        size = self._request.size
        if len(self._body) < size:
            return
        self._house.uploads.end(self)
        body = bytes(self._body[:size])
        if hashlib.sha256(body).hexdigest() != self._request.digest:
            sentence = "the list is not the one that the request is for."
            answer = RelayAnswer(400, sentence=sentence)
        else:
            answer = self._house.take_list(body, self._system_key)
        self._wire.finish(answer.encode())

    def lost(self) -> None:
        """The connection is gone (Role)."""
        self._house.uploads.end(self)

    def expired(self) -> None:
        """It takes too long."""
        self._wire.abort()
