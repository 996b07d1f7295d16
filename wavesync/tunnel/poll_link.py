"""A client's connection for polls: one request at a time, and its answer."""

from typing import Protocol

import h11
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wavesync.tunnel.answers import REASON
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.heads import MAX_HEAD, MAX_INTERIM, HeadError, field_map
from wavesync.tunnel.judging import explain, judge
from wavesync.tunnel.place import Place
from wavesync.tunnel.poll_wire import (
    HEADER,
    MAX_BODY_DOWN,
    PollAnswer,
    PollError,
    read_answer,
)
from wavesync.tunnel.wire import Wire

__all__ = ["ENDED", "Asker", "PollLink"]

ENDED = "ended"
"""The reason with which a server refuses requests for a tunnel that has come to its end in order."""

_SINGLE = frozenset({HEADER.lower(), "content-type", "content-encoding", REASON.lower()})


class Asker(Protocol):
    """Whoever's requests a connection carries."""

    def link_answered(self, link: "PollLink", serial: int, answer: PollAnswer, body: bytes) -> None:
        """A request was answered; the connection is free, or over."""

    def link_progress(self, serial: int) -> None:
        """A part of an answer has come."""

    def link_failed(
        self, link: "PollLink", serial: int, error: TunnelError, *, lost: bool, final: str | None
    ) -> None:
        """A request was not answered; the connection is over.

        :param lost: the connection was closed, not by us.
        :param final: the reason of a refusal that is the server's own; None where it is none.
        """

    def link_lost(self, link: "PollLink") -> None:
        """A connection without a request is over."""


class PollLink:
    """The role of such a connection.

    :param asker: whose requests it carries.
    :param wire: the socket's side.
    :param place: where to.
    :param began: when the connection began.
    :ivar began: when the connection began.
    :ivar idle_since: when the last request was answered.
    """

    def __init__(self, asker: Asker, wire: Wire, place: Place, began: float) -> None:
        self.began = self.idle_since = began
        self._asker = asker
        self._wire = wire
        self._place = place
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._serial: int | None = None
        self._answer: PollAnswer | None = None
        self._body: list[bytes] = []
        self._size = self._interim = 0
        self._over = False

    @property
    def serial(self) -> int | None:
        """The request that is under way; None where there is none."""
        return self._serial

    @property
    def free(self) -> bool:
        """Whether it can take a request."""
        return self._serial is None and not self._over

    def ask(self, serial: int, head: bytes, body: bytes) -> None:
        """Send a request.

        :param serial: its number.
        :param head: its head, for a body of that size.
        """
        self._serial = serial
        # The bytes are ours: this only tells h11 what kind of answer to expect.
        length = [("Host", "poll"), ("Content-Length", "0")]
        self._h11.send(h11.Request(method="POST", target="/", headers=length))
        self._h11.send(h11.EndOfMessage())
        self._wire.write(head + body)

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._over = True
        self._serial = None
        self._wire.abort()

    # Role.

    def received(self, data: bytes) -> None:
        """An answer."""
        if self._over:
            return
        if self._serial is None:
            self.close()  # nobody has asked anything
            self._asker.link_lost(self)
            return
        try:
            self._h11.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            words = str(error).partition(": b")[0]
            self._fail(explain(Failure(HeadError(words)), self._place))
            return
        if self._serial is not None and not self._over:
            self._asker.link_progress(self._serial)

    def lost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._over:
            return
        if self._serial is None:
            self._over = True
            self._asker.link_lost(self)
        else:
            self._fail(explain(reason, self._place), lost=True)

    # Inside.

    def _read(self) -> None:
        while not self._over:
            event = self._h11.next_event()
            match event:
                case h11.InformationalResponse():
                    self._interim += 1
                    if self._interim > MAX_INTERIM:
                        self._fail(judge(event, self._place))
                case h11.Response():
                    self._begin(event)
                case h11.Data():
                    self._size += len(event.data)
                    self._body.append(bytes(event.data))
                    if self._size > MAX_BODY_DOWN:
                        self._fail(self._changed("the answer is too long"))
                case h11.EndOfMessage():
                    self._end()
                    return
                case _:
                    return

    def _begin(self, response: h11.Response) -> None:
        try:
            headers = field_map(response.headers, _SINGLE)
        except HeadError as error:
            self._fail(explain(Failure(error), self._place))
            return
        text = headers.get(HEADER.lower())
        plain = headers.get("content-type", "").startswith("application/octet-stream")
        if response.status_code == 200 and text is not None and plain:
            if headers.get("content-encoding", "identity") != "identity":
                self._fail(self._changed("something on the way changed the answer's encoding"))
                return
            try:
                self._answer = read_answer(text)
            except PollError as error:
                self._fail(self._changed(str(error)))
        else:
            final = headers.get(REASON.lower())
            self._fail(judge(response, self._place), final=final)

    def _changed(self, sentence: str) -> TunnelError:
        return TunnelError(sentence, Why.CHANGED)

    def _end(self) -> None:
        answer, serial = self._answer, self._serial
        assert answer is not None and serial is not None
        body = b"".join(self._body)
        self._answer, self._serial, self._body = None, None, []
        self._size = self._interim = 0
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self._over = True
            self._wire.finish(b"")
        self._asker.link_answered(self, serial, answer, body)

    def _fail(self, error: TunnelError, *, lost: bool = False, final: str | None = None) -> None:
        serial = self._serial
        assert serial is not None
        self.close()
        self._asker.link_failed(self, serial, error, lost=lost, final=final)
