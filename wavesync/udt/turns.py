"""Whose turn it is in a port: who was touched, who is due, and the one timer for both."""

import math

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wavesync.udt.fine_timer import fine_timer
from wavesync.udt.link import Member
from wavesync.udt.timetable import Timetable

__all__ = ["Turns"]

CLOSE_ENOUGH = 1e-4
"""Seconds by which the timer may be off before it is set again."""

LATE = 0.005
"""Seconds of delay after which the timer lets the reactor read first: what is waited for may have come
while this process had no time, and must not be called lost."""

FINE = 0.002
"""Seconds below which a deadline takes a finer timer than the reactor's, which is up to a millisecond late."""

RETRY = 1.0
"""Seconds after which a member whose turn failed gets another."""


class Turns:
    """Gives members their turns.

    What fails in one member's turn is logged, and takes nothing from the others.

    :param clock: the reactor, or a virtual clock.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timetable = Timetable()
        self._touched: dict[Member, None] = {}
        self._busy = False
        self._timer: IDelayedCall | None = None
        self._changed = False  # somebody's deadline, since the timer was set
        self._stopped = False
        self._has_read = False
        self._fine = fine_timer(clock, self._fine_alarm)
        self._fine_due = math.inf

    def touch(self, member: Member) -> None:
        """Give *member* its turn: in the one that is running, or in the reactor's next."""
        self._touched[member] = None
        if not self._busy:
            self._arm()

    def drop(self, member: Member) -> None:
        """*member* needs no more turns."""
        self._touched.pop(member, None)
        self._schedule(member, None)
        if not self._busy:
            self._arm()

    def _schedule(self, member: Member, deadline: float | None) -> None:
        self._timetable.schedule(member, deadline)
        self._changed = True

    def hold(self) -> None:
        """Let touched members wait until :meth:`run`: more is coming."""
        self._busy = True

    def run(self, now: float | None = None) -> None:
        """Give everybody a turn who was touched, then set the timer.

        Whoever is due has it from the timer, when more has been read.

        :param now: the time, if it has just been asked for.
        """
        if now is None:
            now = self._clock.seconds()
        touched = self._touched
        self._busy = True
        try:
            while touched:
                member = next(iter(touched))
                del touched[member]
                try:
                    member.turn(now)
                    deadline = member.deadline(now)
                except Exception:
                    self.log.failure("A turn in a UDT port failed.")
                    deadline = now + RETRY
                if deadline != member.scheduled:
                    self._schedule(member, deadline)
        finally:
            self._busy = False
        if self._changed:
            self._arm()

    def stop(self) -> None:
        """Give no more turns."""
        self._stopped = True
        self._touched.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._fine is not None:
            self._fine.stop()

    def _set_finely(self, due: float, now: float) -> bool:
        """:return: whether the finer timer will do for this deadline."""
        if self._fine is None:
            return False
        # One that is early only costs a look; it is set anew then.
        if not now < self._fine_due <= due:
            self._fine.set(due - now)
            self._fine_due = due
        return True

    def _fine_alarm(self) -> None:
        self._fine_due = math.inf
        due = self._timetable.next()
        if due is not None and due <= self._clock.seconds():
            self._serve_due()
        else:
            self._arm()

    def _alarm(self) -> None:
        self._timer = None
        due = self._timetable.next()
        late = due is not None and self._clock.seconds() > due + LATE
        if late and not self._has_read:
            self._has_read = True
            self._timer = self._clock.callLater(0, self._alarm)
            return
        self._has_read = False
        self._serve_due()

    def _serve_due(self) -> None:
        self._changed = True
        now = self._clock.seconds()
        for member in self._timetable.due(now):
            self._touched[member] = None
        self.run(now)

    def _arm(self) -> None:
        """Set the timer for the earliest deadline, or for now if somebody was touched."""
        if self._stopped:
            return
        self._changed = False
        now = self._clock.seconds()
        due = now if self._touched else self._timetable.next()
        if due is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif now < due < now + FINE and self._set_finely(due, now):
            return
        elif self._timer is None:
            self._timer = self._clock.callLater(max(0.0, due - now), self._alarm)
        else:
            # A timer that is early only costs a turn; one that is late costs time.
            late = self._timer.getTime() - due
            if late > CLOSE_ENOUGH or (late > 0 and due <= now) or late < -0.01:
                self._timer.reset(max(0.0, due - now))
