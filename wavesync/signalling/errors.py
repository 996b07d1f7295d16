"""The one exception of this package's decoders."""

from wavesync.stun.attributes import StunError

__all__ = ["SignallingError"]


class SignallingError(StunError):
    """A peer's message is not what it claims to be; the text is a short sentence for a log."""
