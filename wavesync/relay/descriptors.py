"""How many connections the process may have: each is an open file, and systems limit those.

Where none is left a connection cannot even be refused.  So the limit is raised as far as it goes, and
what it does not allow is closed as it comes, like what the settings do not allow.
"""

import resource

from twisted.logger import Logger

from wavesync.relay.pipes import MAX_PIPES
from wavesync.tcp.doors import MAX_WAITING

__all__ = ["PIPES_SHARE", "SPARE", "WAITING_SHARE", "Descriptors"]

SPARE = 48
"""Open files that are neither connections nor pipes: listening sockets, logs, what the reactor has."""

PIPES_SHARE = 0.25
"""The part that pipes may take at most where there are few."""


WAITING_SHARE = 0.2
"""The part that connections may take at most, where there are few, while nobody has looked at them."""


class Descriptors:
    """The process's open files (RLIMIT_NOFILE); room is made, and a line in the log tells of too little.

    :param wanted: connections that there shall be.
    :ivar connections: for how many there is room.
    :ivar waiting: how many more may wait to be looked at.
    """

    log = Logger()

    def __init__(self, wanted: int) -> None:
        self.connections = wanted
        self.waiting = MAX_WAITING
        needed = wanted + self.waiting + 2 * MAX_PIPES + SPARE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < needed:
            most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                soft = most
            except (OSError, ValueError):
                pass  # what there is has to do
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return
        left = max(1, soft - SPARE)
        self.waiting = max(1, min(MAX_WAITING, int(left * WAITING_SHARE)))
        left -= self.waiting + min(2 * MAX_PIPES, int(left * PIPES_SHARE))
        self.connections = max(1, min(wanted, left))
        if self.connections < wanted:
            self.log.warn(
                "the system allows this process {files} open files, enough for {room} connections"
                " instead of {wanted}: allow it more (LimitNOFILE of systemd, ulimit -n)",
                files=soft,
                room=self.connections,
                wanted=wanted,
            )
