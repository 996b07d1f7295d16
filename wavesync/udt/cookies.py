"""Cookies that let a listener keep no state for a client that may not be where it says.

libudt's cookie has no secret: anybody can compute it and complete handshakes from addresses that
are not his.  This one is an HMAC with a key of this process.
"""

import hmac

from wavesync.interfaces import Address

__all__ = ["KEY_SIZE", "SLOT", "CookieJar"]

KEY_SIZE = 32
"""Bytes of the key."""
SLOT = 30.0
"""Seconds for which one cookie is given out; it is accepted for as long again."""


class CookieJar:
    """Bakes and checks cookies.

    :param key: :data:`KEY_SIZE` random bytes, this process's own.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a cookie key has {KEY_SIZE} bytes")
        self._key = key

    def bake(self, source: Address, now: float) -> int:
        """:return: the cookie of *source* at *now* (seconds), 1 .. 2**32 - 1."""
        return self._of_slot(source, int(now // SLOT))

    def check(self, cookie: int, source: Address, now: float) -> bool:
        """:return: whether *cookie* was baked for *source* in this slot or the one before."""
        slot = int(now // SLOT)
        # Both are always computed, so that the time taken tells nothing.
        matches = [
            hmac.compare_digest(
                cookie.to_bytes(4, "big"), self._of_slot(source, each).to_bytes(4, "big")
            )
            for each in (slot, slot - 1)
        ]
        return any(matches)

    def _of_slot(self, source: Address, slot: int) -> int:
        text = f"{source[0]} {source[1]} {slot}".encode()
        return int.from_bytes(hmac.digest(self._key, text, "sha256")[:4], "big") or 1
