"""The first bytes of a tunnel, each way: they show that bytes pass both ways."""

from collections.abc import Callable

__all__ = ["HELLO_SIZE", "MAGIC", "HelloError", "HelloReader", "make_hello"]

MAGIC = b"WST1"
"""What a hello begins with; 12 random bytes of the client's follow, which the server sends back."""

HELLO_SIZE = 16
"""Bytes of a hello."""


class HelloError(Exception):
    """The first bytes are no hello, or not the one that was sent."""


def make_hello(random: Callable[[int], bytes]) -> bytes:
    """Make a client's hello.

    :param random: gives that many unpredictable bytes.
    """
    return MAGIC + random(HELLO_SIZE - len(MAGIC))


class HelloReader:
    """Reads a hello.

    :param expected: the one that has to come; any where None.
    :ivar rest: what was fed behind it.
    """

    __slots__ = ("_expected", "_found", "rest")

    def __init__(self, expected: bytes | None = None) -> None:
        self._expected = MAGIC if expected is None else expected
        self._found = b""
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take more bytes; give the hello once it is whole.  Feed no more after that.

        :raises HelloError: it is not what it has to be; told as soon as that is known.
        """
        found = self._found + data[: HELLO_SIZE - len(self._found)]
        size = min(len(found), len(self._expected))
        if found[:size] != self._expected[:size]:
            raise HelloError("the tunnel does not begin with a hello")
        self.rest = data[len(found) - len(self._found) :]
        self._found = found
        return found if len(found) == HELLO_SIZE else None
