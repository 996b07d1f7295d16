"""What a session tells the transport of its path, where that wants to know it."""

from twisted.internet.interfaces import ITransport

from wavesync.interfaces import ISparingTransport, IWaryTransport
from wavesync.stun.pace import LONGEST_PAUSE

__all__ = ["peer_is_known"]


def peer_is_known(path: ITransport | None) -> None:
    """Tell that the other end was authenticated, and that a session goes over the path now.

    :param path: the transport below TLS.
    """
    wary = IWaryTransport(path, None)
    if wary is not None:
        wary.trust()
    sparing = ISparingTransport(path, None)
    if sparing is not None:
        # A session has PINGs of its own, and knows when they are needed.
        sparing.keep_alive_every(LONGEST_PAUSE)
