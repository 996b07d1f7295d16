"""How many connections the process may have: each is an open file, and systems limit those.

Where none is left a connection cannot even be refused.  So the limit is raised as far as it goes, and
what it does not allow is closed as it comes, like what the settings do not allow.
"""

import resource

from twisted.logger import Logger

from wavesync.relay.pipes import MAX_PIPES

__all__ = ["PIPES_SHARE", "SPARE", "Descriptors"]

SPARE = 48
"""Open files that are neither connections nor pipes: listening sockets, logs, what the reactor has."""

PIPES_SHARE = 0.25
"""The part that pipes may take at most where there are few."""


class Descriptors:
    """The process's open files (RLIMIT_NOFILE)."""

    log = Logger()

    def connections(self, wanted: int) -> int:
        """Make room for *wanted* connections.

        :return: for how many there is room; a line in the log says so where that is less.
        """
        needed = wanted + 2 * MAX_PIPES + SPARE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < needed:
            most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
                soft = most
            except (OSError, ValueError):
                pass  # what there is has to do
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return wanted
        left = soft - SPARE
        room = max(1, min(wanted, left - min(2 * MAX_PIPES, int(left * PIPES_SHARE))))
        if room < wanted:
            self.log.warn(
                "the system allows this process {files} open files, enough for {room} connections"
                " instead of {wanted}: allow it more (LimitNOFILE of systemd, ulimit -n)",
                files=soft,
                room=room,
                wanted=wanted,
            )
        return room
