"""The connection id in OPEN: what both ends, the mediator and the relay know one connect by.

It is an option that readers may skip, so older servers serve as before (docs/session).
"""

import re

from wavesync.session.frames import Options

__all__ = ["CONNECTION_ID", "connection_of", "connection_options"]

CONNECTION_ID = 0x82
"""The type of the option: 16 bytes."""

_TEXT = re.compile(r"[0-9a-f]{32}")


def connection_options(connection_id: str) -> Options:
    """Return the options of OPEN that tell a connection id.

    :param connection_id: 32 hex digits; empty for none.
    :raises ValueError: it is something else.
    """
    if not connection_id:
        return ()
    if not _TEXT.fullmatch(connection_id):
        raise ValueError("a connection id has 32 hex digits")
    return ((CONNECTION_ID, bytes.fromhex(connection_id)),)


def connection_of(options: Options) -> str:
    """Return the connection id that the options of OPEN tell; empty where there is no sound one."""
    for kind, value in options:
        if kind == CONNECTION_ID:
            return value.hex() if len(value) == 16 else ""
    return ""
