"""NONCEs that need no memory: each carries its time, and a code that only its maker can make."""

import hmac
from collections.abc import Callable

__all__ = ["NONCE_LIFE", "NONCE_SIZE", "Nonces"]

NONCE_LIFE = 60.0
"""Seconds for which a nonce is good."""

NONCE_SIZE = 24
"""Bytes of a nonce: 8 of time (ms), 16 of code."""

_KEY_SIZE = 32
_CODE_SIZE = 16


class Nonces:
    """Makes and recognises the nonces of one process.

    :param random: gives that many random bytes; called once, for the key.
    """

    __slots__ = ("_key",)

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._key = random(_KEY_SIZE)

    def make(self, purpose: str, holder: str, now: float) -> bytes:
        """Return a nonce for *holder* to use for *purpose*.

        :param holder: whom it is good for: a source host, or one leg.
        :param now: seconds since the epoch.
        """
        time = round(now * 1000).to_bytes(8, "big")
        return time + self._code(purpose, holder, time)

    def good(self, nonce: bytes, purpose: str, holder: str, now: float) -> bool:
        """Tell whether *nonce* was made for this use and is not older than :data:`NONCE_LIFE`."""
        if len(nonce) != NONCE_SIZE:
            return False
        time, code = nonce[:8], nonce[8:]
        if not hmac.compare_digest(code, self._code(purpose, holder, time)):
            return False
        age = now - int.from_bytes(time, "big") / 1000
        # Ours may seem to lie in the future when the host's clock is set back.
        return abs(age) <= NONCE_LIFE

    def _code(self, purpose: str, holder: str, time: bytes) -> bytes:
        text = f"{purpose}\0{holder}\0".encode()
        return hmac.digest(self._key, text + time, "sha256")[:_CODE_SIZE]
