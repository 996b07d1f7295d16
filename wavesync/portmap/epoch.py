"""Whether a router has forgotten what it gave: its clock tells (RFC 6887 section 8.5, RFC 6886 section 3.6)."""

__all__ = ["Epoch"]

_BACKWARD = 1.0
_SLACK = 2.0
_DRIFT = 16.0


class Epoch:
    """Follows the seconds since a router's start that are in each of its answers."""

    def __init__(self) -> None:
        self._server = 0.0
        self._client: float | None = None

    def consistent(self, told: int, now: float) -> bool:
        """Take the next answer's time.

        :param told: seconds since the router's state was last lost, as it says.
        :param now: our own seconds.
        :returns: False when its state was lost since the answer before; the answer counts anyway.
        """
        client, server = self._client, self._server
        self._client, self._server = now, float(told)
        if client is None:
            return True
        if told + _BACKWARD < server:
            return False
        ours, theirs = now - client, told - server
        return ours + _SLACK >= theirs - theirs / _DRIFT and theirs + _SLACK >= ours - ours / _DRIFT

    def forget(self) -> None:
        """The next answer is the first one."""
        self._client = None
