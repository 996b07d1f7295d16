"""One session that watches a path for all: hundreds over one hole need not all ask whether it lives.

A control session and the sessions beside it, between the same two ends over the same UDP addresses,
live and die together.  As long as the control session stands, it alone asks every two seconds, and
the others leave their silence to it; if it finds the path dead, all are told at once.
"""

from collections.abc import Hashable
from typing import Protocol

__all__ = ["Guard", "Guarded", "Guards"]


class Guarded(Protocol):
    """What a guard tells a session (:class:`wavesync.session.shell.SessionShell`)."""

    def guard(self, on: bool) -> None:
        """Leave silence to the control session, or not any more."""

    def watch(self, on: bool) -> None:
        """To a control session: look closely, since others rely on it, or not any more."""

    def fell_silent(self) -> None:
        """The path is dead."""


class Guard:
    """The sessions over one path."""

    def __init__(self) -> None:
        self._keeper: Guarded | None = None
        self._sessions: dict[Guarded, None] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody is left."""
        return self._keeper is None and not self._sessions

    def hold(self, keeper: Guarded) -> None:
        """There is a control session now, or a newer one."""
        self._keeper = keeper
        keeper.watch(bool(self._sessions))
        for session in list(self._sessions):
            session.guard(True)

    def join(self, session: Guarded) -> None:
        """There is one more session."""
        self._sessions[session] = None
        if self._keeper is not None:
            session.guard(True)
            self._keeper.watch(True)

    def leave(self, session: Guarded) -> None:
        """A session is over."""
        self._sessions.pop(session, None)
        if self._keeper is not None and not self._sessions:
            self._keeper.watch(False)

    def release(self, keeper: Guarded, *, silent: bool) -> None:
        """A control session is over.

        :param silent: because nothing came any more: nothing comes for the others either.
        """
        if keeper is not self._keeper:
            return
        self._keeper = None
        for session in list(self._sessions):
            if silent:
                session.fell_silent()
            else:
                session.guard(False)


class Guards:
    """A guard for each path that has sessions; a server's, which sees paths only by their sessions."""

    def __init__(self) -> None:
        self._guards: dict[Hashable, Guard] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._guards)

    def get(self, path: Hashable) -> Guard:
        """Find or make the one of a path."""
        return self._guards.setdefault(path, Guard())

    def tidy(self, path: Hashable) -> None:
        """Drop the one of a path if nobody is left there."""
        guard = self._guards.get(path)
        if guard is not None and guard.empty:
            del self._guards[path]
