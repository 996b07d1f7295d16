"""A server's connection that brings polls: one request at a time, each with a body that is whole."""

from typing import Protocol

import h11
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.tunnel.answers import Refused, body_head, refusal
from wavesync.tunnel.heads import MAX_HEAD, Headers
from wavesync.tunnel.poll_wire import (
    HEADER,
    MAX_BODY_UP,
    PollAnswer,
    PollError,
    PollRequest,
    read_request,
)
from wavesync.tunnel.requests import fields_of, id_of, method_of
from wavesync.tunnel.wire import Wire

__all__ = ["MAX_AHEAD", "Desk", "PollRole"]

MAX_AHEAD = 16_384
"""Bytes that may come behind a request before it is answered; proxies send none."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Desk(Protocol):
    """Whoever takes the requests."""

    def came(self, role: "PollRole", tunnel: str, request: PollRequest, body: bytes) -> None:
        """A request is whole.

        :raises Refused: it cannot be.
        """

    def answered(self, role: "PollRole") -> None:
        """A request was answered: the next one may come."""

    def refused(self, reason: str) -> None:
        """A request was refused."""

    def left(self, role: "PollRole") -> None:
        """The connection is over."""


class PollRole:
    """The role of such a connection.

    :param desk: takes the requests.
    :param wire: the socket's side.
    """

    def __init__(self, desk: Desk, wire: Wire) -> None:
        self.wire = wire
        self._desk = desk
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._tunnel = ""
        self._request: PollRequest | None = None
        self._body: list[bytes] = []
        self._size = self._ahead = 0
        self._waits = False  # for its answer
        self._reading = self._over = False

    @property
    def over(self) -> bool:
        """Whether nothing comes on it any more."""
        return self._over

    # Role.

    def received(self, data: bytes) -> None:
        """A part of a request."""
        if self._over:
            return
        if self._waits:
            self._ahead += len(data)
            if self._ahead > MAX_AHEAD:
                self.abort()
                return
        self._h11.receive_data(data)
        self._read()

    def lost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if not self._over:
            self._over = True
            self._desk.left(self)

    # What the desk wants.

    def answer(self, answer: PollAnswer, body: bytes) -> None:
        """Answer the request."""
        if self._over or not self._waits:
            return
        self._waits = False
        self._ahead = 0
        # h11 keeps the rules of connections that stay open; the bytes are our own.
        self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        self._h11.send(h11.EndOfMessage())
        stays = self._h11.our_state is h11.DONE
        head = body_head(size=len(body), close=not stays, headers=((HEADER, answer.encode()),))
        if stays:
            self._h11.start_next_cycle()
            self.wire.write(head + body)
            self._desk.answered(self)
            self._read()
        else:
            self._end()
            self.wire.finish(head + body)

    def refuse(self, refused: Refused) -> None:
        """Refuse the request; the connection ends."""
        if not self._over:
            self._end()
            self.wire.finish(refusal(refused))

    def abort(self) -> None:
        """Close at once."""
        if not self._over:
            self._end()
            self.wire.abort()

    # Inside.

    def _end(self) -> None:
        self._over = True
        self._desk.left(self)

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while not (self._over or self._waits) and self._next():
                pass
        except h11.RemoteProtocolError as error:
            words = str(error).partition(": b")[0]
            self._refuse(Refused(error.error_status_hint, "head", f"not HTTP/1.1: {words}."))
        except Refused as refused:
            self._refuse(refused)
        finally:
            self._reading = False

    def _refuse(self, refused: Refused) -> None:
        self._desk.refused(refused.reason)
        self.refuse(refused)

    def _next(self) -> bool:
        """Take the next part; tell whether there may be another."""
        event = self._h11.next_event()
        match event:
            case h11.Request():
                self._begin(event)
            case h11.Data():
                self._size += len(event.data)
                if self._size > MAX_BODY_UP:
                    raise _too_long()
                self._body.append(bytes(event.data))
            case h11.EndOfMessage():
                self._whole()
            case h11.ConnectionClosed():
                self.abort()
            case _:
                if event is h11.NEED_DATA and self._h11.they_are_waiting_for_100_continue:
                    self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))
                    self.wire.write(_CONTINUE)
                return False
        return True

    def _begin(self, event: h11.Request) -> None:
        method, _ = method_of(event)
        if method != "poll":
            raise Refused(404, "path", "polls only, on this connection.")
        headers = fields_of(event)
        self._tunnel = id_of(headers)
        self._request = _request_of(headers)
        length = headers.get("content-length")
        if length is not None and int(length) > MAX_BODY_UP:
            raise _too_long()

    def _whole(self) -> None:
        request, body = self._request, b"".join(self._body)
        assert request is not None
        self._request, self._body, self._size = None, [], 0
        self._waits = True
        self._desk.came(self, self._tunnel, request, body)


def _request_of(headers: Headers) -> PollRequest:
    try:
        return read_request(headers.get(HEADER.lower(), ""))
    except PollError as error:
        raise Refused(400, "poll", f"{error}.") from None


def _too_long() -> Refused:
    return Refused(413, "length", f"a request may have {MAX_BODY_UP} bytes.")
