"""Several TLS records at a time through OpenSSL, with no more calls and copies than it takes.

pyOpenSSL copies each record once more and makes a buffer, a dozen calls and an exception around it.  What
it is made of does without, where it is there; elsewhere its public calls do the same.
"""

from contextlib import suppress
from typing import Any

from OpenSSL import SSL

__all__ = ["FULL_RECORD", "TOGETHER", "Opener", "PlainOpener", "make_opener", "seal"]

FULL_RECORD = 16384
"""Bytes that a record has room for (RFC 8446, section 5.1)."""

TOGETHER = 4 * FULL_RECORD
"""Bytes that are sealed at a time: what OpenSSL and we hold of them stays in a processor's cache, and
paths move about as much at a time."""

_ROOM = TOGETHER + FULL_RECORD
_OVERHEAD = 64 * _ROOM // FULL_RECORD  # more than records add to what they seal

_lib = getattr(SSL, "_lib", None)
_ffi = getattr(SSL, "_ffi", None)
_NAMES = ("SSL_read", "SSL_get_error", "SSL_ERROR_WANT_READ", "BIO_get_mem_data")
_INNER = ("_ssl", "_from_ssl", "_raise_ssl_error")


class PlainOpener:
    """A buffer for what connections' records hold.

    :ivar view: the buffer.
    :ivar size: bytes in it.
    """

    __slots__ = ("_buffer", "size", "view")

    def __init__(self) -> None:
        self._buffer = bytearray(_ROOM)
        self.view = memoryview(self._buffer)
        self.size = 0

    def fill(self, connection: SSL.Connection) -> bool:
        """Open what records have come, as far as there is room.

        :returns: whether there may be more.
        :raises OpenSSL.SSL.Error: the records end here; :attr:`size` tells what came before.
        """
        self.size = 0
        try:
            while self.size <= TOGETHER:
                self.size += connection.recv_into(self.view[self.size :], FULL_RECORD)
        except SSL.WantReadError:
            return False
        return True

    def has_to_answer(self, connection: SSL.Connection) -> bool:
        """Whether OpenSSL has, or may have, something to send for what was opened."""
        return True


class Opener(PlainOpener):
    """The same with OpenSSL's own calls."""

    __slots__ = ("_data", "_pointer")

    def __init__(self) -> None:
        super().__init__()
        ffi: Any = _ffi
        self._data = ffi.from_buffer("char[]", self._buffer)
        self._pointer = ffi.new("char **")

    def fill(self, connection: SSL.Connection) -> bool:
        """Open what records have come; see :meth:`PlainOpener.fill`."""
        self.size = 0
        lib: Any = _lib
        read, data = lib.SSL_read, self._data
        inner: Any = connection
        tls = inner._ssl
        while self.size <= TOGETHER:
            got = read(tls, data + self.size, FULL_RECORD)
            if got > 0:
                self.size += got
            elif lib.SSL_get_error(tls, got) == lib.SSL_ERROR_WANT_READ:
                return False
            else:
                inner._raise_ssl_error(tls, got)
                return False
        return True

    def has_to_answer(self, connection: SSL.Connection) -> bool:
        """Whether OpenSSL has something to send for what was opened."""
        lib: Any = _lib
        inner: Any = connection
        return bool(lib.BIO_get_mem_data(inner._from_ssl, self._pointer))


def make_opener(connection: SSL.Connection) -> PlainOpener:
    """Make the best that there is for connections like this one."""
    there = all(hasattr(_lib, name) for name in _NAMES) and _ffi is not None
    return (
        Opener() if there and all(hasattr(connection, name) for name in _INNER) else PlainOpener()
    )


def seal(connection: SSL.Connection, view: memoryview) -> tuple[int, bytes]:
    """Seal up to :data:`TOGETHER` bytes.

    :returns: how many were sealed, less than all of these when a handshake has to go on first, and the records.
    :raises OpenSSL.SSL.Error: nothing can be sealed any more.
    """
    size, sealed = min(len(view), TOGETHER), 0
    try:
        while sealed < size:
            sealed += connection.send(view[sealed : min(size, sealed + FULL_RECORD)])
    except SSL.WantReadError:
        if not sealed:
            return 0, b""
    room = sealed + _OVERHEAD
    records = connection.bio_read(room)
    if len(records) == room:  # more was waiting than these, as a server's tickets do
        with suppress(SSL.WantReadError):
            while True:
                records += connection.bio_read(room)
    return sealed, records
