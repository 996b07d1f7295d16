"""What carries a tunnel's bytes in every method but short polls: one connection, or one each way."""

from typing import Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.tunnel.wire import Wire

__all__ = ["LINGER", "Channel", "Codec", "CodecError", "End"]

LINGER = 5.0
"""Seconds that the end of one direction has to come, once the other connection is gone."""


class CodecError(Exception):
    """The peer's bytes are not what they have to be.

    :ivar found: what of the stream came before.
    """

    def __init__(self, sentence: str, found: bytes = b"") -> None:
        super().__init__(sentence)
        self.found = found


class Codec(Protocol):
    """Turns a stream's bytes into those of a connection and back.

    :ivar ended: the peer has said that its stream ends.
    :ivar reply: bytes to send that nobody wrote; they may be left out.
    """

    ended: bool
    reply: bytes

    def encode(self, data: bytes) -> bytes:
        """Return what to send for *data*."""

    def decode(self, data: bytes) -> bytes:
        """Return what of the stream came with *data*.

        :raises CodecError: this is no such stream.
        """

    def end(self) -> bytes:
        """Return what tells the peer that our stream ends."""


class End(Protocol):
    """Who gets a channel's bytes: first whoever waits for the hello, then the tunnel's transport."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def full(self) -> None:
        """No more bytes are taken for now."""

    def free(self) -> None:
        """Bytes are taken again."""

    def lost(self, reason: Failure) -> None:
        """It is over."""


class _Outward:
    """The role of a connection that only sends: its end matters, not what it brings."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel

    def received(self, data: bytes) -> None:
        """Ignore it: the answer to a body that has ended, mostly."""

    def lost(self, reason: Failure = connectionDone) -> None:
        self._channel.outward_lost()


@implementer(IPushProducer)
class Channel:
    """One direction comes in, one goes out (:class:`~.transport.Carrier`).

    It is the role of the connection that comes in; :attr:`outward` is the other one's.

    :param clock: gives timers.
    :param end: who gets what comes.
    :param inward: brings the peer's bytes.
    :param outward: takes ours; None where it is the same connection.
    :param codec: how the bytes are written; as they are where None.
    :param farewell: where the two connections differ: sent on the inward one when we end; None where
        the peer ends it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        end: End,
        inward: Wire,
        outward: Wire | None = None,
        *,
        codec: Codec | None = None,
        farewell: bytes | None = None,
    ) -> None:
        self.outward = _Outward(self)
        self._clock = clock
        self._end = end
        self._in = inward
        self._out = inward if outward is None else outward
        self._codec = codec
        self._farewell = farewell
        self._full = self._closing = self._over = False
        self._mute = False  # nothing that is written can be sent any more
        self._out_lost = False
        self._linger: IDelayedCall | None = None
        self._consumer.registerProducer(self, True)

    @property
    def _consumer(self) -> IConsumer:
        return self._out.stream  # type: ignore[return-value]

    # Carrier.

    def write(self, data: bytes) -> None:
        """Send."""
        if not (self._mute or self._closing):
            self._out.write(data if self._codec is None else self._codec.encode(data))

    def close(self) -> None:
        """Send what was written, then end."""
        if not (self._closing or self._over):
            self._closing = True
            if self._codec is not None and self._codec.ended:
                return  # the peer's end is being told
            if self._mute:
                self._finish_inward()
            elif not self._full:
                self._finish()

    def abort(self) -> None:
        """End at once."""
        if not self._over:
            self._stop(keep_producer=False)
            self._in.abort()
            if self._out is not self._in:
                self._abort_outward()
            self._lose_later(ConnectionAborted())

    def pause(self) -> None:
        """Read nothing more for now."""
        self._in.pause()

    def resume(self) -> None:
        """Read on."""
        self._in.resume()

    # The role of the inward connection.

    def received(self, data: bytes) -> None:
        """The peer sent this; behind our own end it is of no interest."""
        if self._over or (self._closing and self._mute):
            return
        if self._codec is None:
            self._end.received(data)
        else:
            self._decode(self._codec, data)

    def lost(self, reason: Failure = connectionDone) -> None:
        """The inward connection is gone: so is the tunnel."""
        if self._over:
            return
        single = self._in is self._out
        self._stop(keep_producer=single)
        orderly = reason.check(ConnectionDone) is not None
        if not single:
            if orderly:
                self._out.finish(b"")
            else:
                self._abort_outward()
        if orderly and self._codec is not None:
            reason = Failure(ConnectionLost("the stream broke off"))
        self._end.lost(reason)

    # The outward connection, where it is another one.

    def outward_lost(self) -> None:
        """It is gone: the end of the inward one should come as well."""
        self._out_lost = True
        if not (self._over or self._mute):
            self._mute = True
            self._wait(Failure(ConnectionLost("one of the two connections was lost")))
            if self._closing:
                self._finish_inward()

    # IPushProducer: called as the outward connection takes bytes, or does not.

    def pauseProducing(self) -> None:
        """It takes no more for now (IPushProducer)."""
        self._full = True
        if not self._closing:
            self._end.full()

    def resumeProducing(self) -> None:
        """It takes bytes again (IPushProducer)."""
        self._full = False
        if self._over or self._mute:
            return
        if self._closing:
            self._finish()
        else:
            self._end.free()

    def stopProducing(self) -> None:
        """It is gone; its role hears of it (IPushProducer)."""

    # Inside.

    def _decode(self, codec: Codec, data: bytes) -> None:
        try:
            plain = codec.decode(data)
        except CodecError as error:
            if error.found:
                self._end.received(error.found)
            if not self._over:
                self._end_by_peer(codec, Failure(ConnectionLost(str(error))))
            return
        if codec.reply:
            reply, codec.reply = codec.reply, b""
            if not (self._full or self._closing):
                self._out.write(reply)
        if codec.ended:
            # Nothing can be sent behind the peer's end, even in answer to what came before it.
            self._consumer.unregisterProducer()
            self._mute = True
        if plain:
            self._end.received(plain)
        if codec.ended and not self._over:
            self._end_by_peer(codec, Failure(ConnectionDone()))

    def _end_by_peer(self, codec: Codec, reason: Failure) -> None:
        self._stop(keep_producer=False)
        self._out.finish(codec.end())
        self._end.lost(reason)

    def _finish(self) -> None:
        """Everything written has left, or soon will have."""
        self._consumer.unregisterProducer()
        self._mute = True
        last = b"" if self._codec is None else self._codec.end()
        self._out.finish(last)
        self._finish_inward()

    def _finish_inward(self) -> None:
        if self._in is self._out:
            self._stop(keep_producer=True)
            self._lose_later(ConnectionDone())
        elif self._farewell is not None:
            self._stop(keep_producer=True)
            self._in.finish(self._farewell)
            self._lose_later(ConnectionDone())
        else:
            # The peer answers our end by its own, behind what it had under way.
            self._in.resume()
            self._wait(Failure(ConnectionDone()))

    def _wait(self, reason: Failure) -> None:
        """Give the inward connection a while to end, then end it."""

        def over() -> None:
            self._linger = None
            self._stop(keep_producer=True)
            self._in.abort()
            self._end.lost(reason)

        if self._linger is None:
            self._linger = self._clock.callLater(LINGER, over)

    def _abort_outward(self) -> None:
        if not self._out_lost:
            self._out.abort()

    def _lose_later(self, error: BaseException) -> None:
        self._clock.callLater(0, self._end.lost, Failure(error))

    def _stop(self, *, keep_producer: bool) -> None:
        """Nothing is received or sent any more.

        :param keep_producer: the outward connection is gone, or has no producer any more.
        """
        self._over = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if not keep_producer and not self._mute:
            self._consumer.unregisterProducer()
        self._mute = True
