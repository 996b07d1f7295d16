"""STUN messages on a byte stream: back to back, each as long as its header says.

RFC 8489 section 6.2.2.
"""

from wavesync.stun.message import HEADER_SIZE, MAX_MESSAGE, Message, StunError, decode

__all__ = ["DEFAULT_MAX_SIZE", "StreamDecoder", "StreamError"]

DEFAULT_MAX_SIZE = 4096
"""Longest message taken from a stream unless said otherwise, in bytes with its header."""

_COOKIE = b"\x21\x12\xa4\x42"


class StreamError(StunError):
    """A stream's bytes are not STUN; nothing after this point of it can be read.

    :ivar messages: the messages that were complete before the fault, in the same call.
    """

    def __init__(self, sentence: str, messages: list[Message]) -> None:
        super().__init__(sentence)
        self.messages = messages


class StreamDecoder:
    """Cuts a byte stream into messages.

    Keeps less than *max_size* bytes between calls.  A header that cannot be right is refused as
    soon as the bytes that show it are there.

    :param max_size: longest message taken, in bytes with its header, 20..65535.
    """

    __slots__ = ("_buffer", "_failure", "_max_size")

    def __init__(self, max_size: int = DEFAULT_MAX_SIZE) -> None:
        if not HEADER_SIZE <= max_size <= MAX_MESSAGE:
            raise ValueError(f"A stream's longest message is {HEADER_SIZE}..{MAX_MESSAGE} bytes.")
        self._max_size = max_size
        self._buffer = bytearray()
        self._failure: str | None = None

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished message that are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes of the stream and give the messages that they complete.

        :raises StreamError: they are not STUN, or a message is longer than *max_size*.  Every
            later call raises it again.
        """
        messages: list[Message] = []
        if self._failure is not None:
            raise StreamError(self._failure, messages)
        self._buffer += data
        begin = 0
        try:
            while (size := self._message_size(begin)) is not None:
                if len(self._buffer) - begin < size:
                    break
                messages.append(decode(self._buffer[begin : begin + size]))
                begin += size
        except StunError as error:
            self._failure = str(error)
            self._buffer.clear()
            raise StreamError(self._failure, messages) from None
        del self._buffer[:begin]
        return messages

    def _message_size(self, begin: int) -> int | None:
        """Bytes of the message at *begin*, or None where too little of its header is there."""
        head = self._buffer[begin : begin + 8]
        if head and head[0] & 0xC0:
            raise StunError("The stream does not go on with a STUN message.")
        if not _COOKIE.startswith(head[4:]):
            raise StunError("The stream does not go on with a STUN message.")
        if len(head) < 4:
            return None
        length = int.from_bytes(head[2:4], "big")
        if length % 4:
            raise StunError("A message's length is not a multiple of 4.")
        if HEADER_SIZE + length > self._max_size:
            raise StunError(f"A message is longer than {self._max_size} bytes.")
        return HEADER_SIZE + length
